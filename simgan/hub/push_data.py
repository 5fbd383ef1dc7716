"""A refined data set on the Hub, whatever `simgan refine` made of it: Parquet shards and a card, in one commit.

Image files are stored byte by byte, NumPy files as PNG of the same bits. A folder's or archive's labels are those of
its `metadata.jsonl` or `metadata.csv`, and the text of a JSON file beside an image, as UnityEyes writes them; its
splits are folders at the top named so.
"""

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyarrow as pa
from datasets import Dataset, Features, Value, load_from_disk
from datasets import Image as ImageColumn

from simgan.errors import SourceError
from simgan.hub.cards.dataset import Made, render_dataset_card
from simgan.hub.cards.terms import shown
from simgan.hub.loading import SHIPPED
from simgan.hub.uploading import CARD, Pushed, upload
from simgan.images.files import ARRAYS, decode, encode_png, pictures
from simgan.images.files import SUFFIXES as IMAGES
from simgan.refining.archives import listing
from simgan.refining.datasets import is_dataset
from simgan.refining.engine import RefinerLike
from simgan.refining.job import RECORD, record

SHARD = 2**28  # bytes of images in a Parquet file
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
logger = logging.getLogger(__name__)
METADATA = ("metadata.jsonl", "metadata.csv")


def made_by(refiner: RefinerLike, strength: float) -> Made:
    """Say what refines: the id and commit on the Hub, or the name of a shipped refiner or of a folder."""
    name, revision = refiner.origin or "a refiner in memory", refiner.revision
    if revision is None:
        told = refiner.metadata or {}
        step = f", step {told['step']}" if "step" in told else ""
        revision = f"simgan {told['simgan_version']}, commit {told['commit']}{step}" if "commit" in told else None
        name = name if "/" not in name and (SHIPPED / name).is_dir() else shown(name)
    return Made(name, revision, json.loads(record(refiner, strength))["refiner"], strength)


def is_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> bool:
    """Whether an archive or data set is there that is noted to be made so; a folder of files goes on by itself."""
    note = _note_of(output)
    if note is None or not note.is_file() or (output.is_file() and output.stat().st_mtime > note.stat().st_mtime):
        return False
    return note.read_text() == record(refiner, strength, copy)


def note_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> None:
    """Note beside an archive or in a data set what it was made with, so that it can be pushed again later."""
    note = _note_of(output)
    if note is not None:
        aside = note.with_name(f"{note.name}.part")
        aside.write_text(record(refiner, strength, copy))
        aside.replace(note)


def _note_of(output: Path) -> Path | None:
    if output.is_file():
        return output.parent / f".{output.name}{RECORD}"
    return output / RECORD if (output / "dataset_dict.json").is_file() or is_dataset(output) else None


def push_data(output: Path, repo_id: str, made: Made, *, leave_out: Sequence[str] = (), **options: Any) -> Pushed:
    """Push what was refined into `output`: a folder or archive of images, a `datasets` folder or a `.parquet` file.

    `load_dataset(repo_id)` gives it back. Pushing the same again sends nothing. `leave_out`: patterns of images that
    are labels, as for `refine_path`; like all other files of a folder they are not pushed. `options` are those of
    `simgan.hub.uploading.upload`.
    `SourceError` where there is nothing to push, `PublishError` where the Hub refuses it or is out of reach.
    """
    with TemporaryDirectory() as place:
        folder, cache = Path(place) / "set", Path(place) / "cache"
        (folder / "data").mkdir(parents=True)
        counts: dict[str, int] = {}
        features = Features()
        for split, shards in _splits(output, cache, leave_out).items():
            files: list[Path] = []
            for shard in shards:
                files.append(folder / "data" / f"{split}-{len(files):05}")
                shard.to_parquet(str(files[-1]))
                counts[split] = counts.get(split, 0) + len(shard)
                features = shard.features
            for number, file in enumerate(files):
                file.rename(folder / "data" / f"{split}-{number:05}-of-{len(files):05}.parquet")
        card = render_dataset_card(
            repo_id,
            made,
            splits=counts,
            columns={name: _type(kind) for name, kind in features.items()},
            column=_image_column(features, output),
        )
        (folder / CARD).write_text(card)
        message = f"{sum(counts.values())} images refined by {made.refiner}"
        return upload(folder, repo_id, message=message, repo_type="dataset", owned=["data/"], **options)


def _splits(output: Path, cache: Path, leave_out: Sequence[str]) -> dict[str, Iterator[Dataset]]:
    """Give the shards of each split."""
    listed = output / "dataset_dict.json"
    if listed.is_file():
        names = json.loads(listed.read_text())["splits"]
        return {name: _shards(load_from_disk(str(output / name)), output) for name in names}
    if is_dataset(output):
        return {"train": _shards(load_from_disk(str(output)), output)}
    if output.suffix == ".parquet":
        return {"train": _shards(Dataset.from_parquet(str(output), cache_dir=str(cache)), output)}
    if output.is_file() and output.suffix.lower() in IMAGES | {ARRAYS}:
        raise SourceError(f"{output} is one image: push a folder, an archive or a data set")
    names, opened = listing(output)
    seen = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    images = pictures(name for name in seen if not any(fnmatchcase(name, pattern) for pattern in leave_out))
    if not images:
        raise SourceError(f"{output} holds no images to push")
    labels, columns = _labels(names, opened)
    beside = {_beside(name) for name in images} & set(names) if "json" not in columns else set()
    if beside:
        columns["json"] = Value("string")
    others = [name for name in names if PurePosixPath(name).name not in METADATA and not name.startswith(".")]
    others = sorted(set(others) - set(images) - beside)
    if others:
        logger.warning("%d files are not pushed, as they are neither images nor labels: %s", len(others), others[0])
    features = Features({"image": ImageColumn(), "file_name": Value("string"), **columns})
    tops = {name: PurePosixPath(name).parts[0] for name in images}
    known = all("/" in name and tops[name] in SPLITS for name in images)
    split_of = {name: SPLITS[tops[name]] if known else "train" for name in images}
    return {
        split: _rows([name for name in images if split_of[name] == split], opened, labels, features, beside)
        for split in dict.fromkeys(split_of.values())
    }


def _shards(data: Dataset, output: Path) -> Iterator[Dataset]:
    data = data.cast_column(_image_column(data.features, output), ImageColumn())
    number = max(1, -(-data.data.nbytes // SHARD))
    return (data.shard(number, index, contiguous=True) for index in range(number))


def _rows(
    names: list[str],
    opened: Callable[[str], bytes],
    labels: dict[str, dict[str, Any]],
    features: Features,
    beside: set[str],
) -> Iterator[Dataset]:
    """Read images and put up to `SHARD` bytes of them into a data set at a time."""
    rows: list[dict[str, Any]] = []
    size = 0
    for name in names:
        cell = _cell(name, opened(name))
        rows.append({**labels.get(name, {}), "image": cell, "file_name": name})
        if _beside(name) in beside:
            rows[-1]["json"] = _text(opened(_beside(name)), name)
        size += len(cell["bytes"])
        if size >= SHARD:
            yield Dataset(pa.Table.from_pylist(rows, schema=features.arrow_schema))
            rows, size = [], 0
    if rows:
        yield Dataset(pa.Table.from_pylist(rows, schema=features.arrow_schema))


def _cell(name: str, data: bytes) -> dict[str, Any]:
    """Give what a column of images holds of a file: its bytes, those of a PNG where it is a NumPy file."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ARRAYS:
        return {"bytes": data, "path": path.name}
    array = decode(data, name)
    try:
        return {"bytes": encode_png(array), "path": path.with_suffix(".png").name}
    except TypeError as error:
        raise SourceError(
            f"{name} is {array.dtype} of shape {array.shape}, which no PNG holds here: save uint8, or uint16 of (H, W)"
        ) from error


def _labels(names: list[str], opened: Callable[[str], bytes]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Read the metadata beside the images: labels by image, and the type of each column, to the last digit."""
    rows: list[dict[str, Any]] = []
    for name in names:
        path = PurePosixPath(name)
        if path.name in METADATA:
            for row in _table(path, opened(name)):
                rows.append(row | {"file_name": (path.parent / str(row["file_name"])).as_posix()})
    columns = {key: None for row in rows for key in row if key not in ("file_name", "image")}
    try:
        types = {key: pa.array([row.get(key) for row in rows]).type for key in columns}
    except pa.ArrowException as error:
        raise SourceError(f"the metadata have a column of mixed types: {error}") from error
    found = Features.from_arrow_schema(pa.schema(types)) if types else {}
    return {row.pop("file_name"): row for row in rows}, dict(found)


def _table(path: PurePosixPath, data: bytes) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(BytesIO(data), float_precision="round_trip")
            rows = table.astype(object).where(table.notna(), None).to_dict("records")
        else:
            rows = [json.loads(line) for line in data.decode().splitlines() if line.strip()]
        return [{str(key): value for key, value in row.items()} | {"file_name": row["file_name"]} for row in rows]
    except (ValueError, KeyError, AttributeError) as error:
        raise SourceError(f"{path} cannot be read as labels by file_name: {error!r}") from error


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"the JSON file beside {name} is no UTF-8: {error}") from error


def _beside(name: str) -> str:
    return PurePosixPath(name).with_suffix(".json").as_posix()


def _image_column(features: Features, output: Path) -> str:
    columns = [name for name, kind in features.items() if name == "image" or isinstance(kind, ImageColumn)]
    if len(columns) != 1:
        raise SourceError(f"{output} has not one column of images: it has {', '.join(features)}")
    return columns[0]


def _type(kind: Any) -> str:
    if isinstance(kind, ImageColumn):
        return "image"
    return re.sub(r"Value\('(\w+)'\)", r"\1", str(kind))
