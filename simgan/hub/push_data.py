"""A refined data set on the Hub, in one commit: Parquet shards and a card.

Image files are stored byte by byte, NumPy files as PNG of the same values. The labels of a folder or an archive are
those of its `metadata.jsonl` or `metadata.csv`, and the text of a JSON file beside an image, as UnityEyes writes it.
Folders at the top that are called train, validation or test become splits.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from simgan.errors import SourceError
from simgan.hub.cards.dataset import Provenance, render_dataset_card
from simgan.hub.cards.terms import name_source
from simgan.hub.loading import SHIPPED
from simgan.hub.uploading import CARD, Pushed, upload
from simgan.images.files import ARRAYS, SUFFIXES, decode, encode_png, pictures
from simgan.refining.archives import listing
from simgan.refining.datasets import is_dataset
from simgan.refining.engine import RefinerLike
from simgan.refining.job import RECORD, is_of_record, record

if TYPE_CHECKING:
    from datasets import Dataset, Features

SHARD = 2**28  # bytes of images in a Parquet file
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
METADATA = ("metadata.jsonl", "metadata.csv")
logger = logging.getLogger(__name__)


def describe(refiner: RefinerLike, strength: float) -> Provenance:
    """Return by what images are refined: an id and a commit on the Hub, or the name of a shipped model or a folder."""
    name, revision = refiner.origin or "a refiner in memory", refiner.revision
    if revision is None:
        header = refiner.metadata or {}
        step = f", step {header['step']}" if "step" in header else ""
        revision = f"simgan {header['simgan_version']}, commit {header['commit']}{step}" if "commit" in header else None
        name = name if "/" not in name and (SHIPPED / name).is_dir() else name_source(name)
    return Provenance(name, revision, json.loads(record(refiner, strength))["refiner"], strength)


def is_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> bool:
    """Return whether an archive or a data set was already refined with these settings, by its note.

    A folder of files has no note: refining it again skips what is done.
    """
    note = _note_of(output)
    if note is None or not note.is_file() or (output.is_file() and output.stat().st_mtime > note.stat().st_mtime):
        return False
    return is_of_record(note.read_text(), refiner, strength, copy)


def note_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> None:
    """Write a note beside an archive, or into a data set, of the settings that it was refined with."""
    note = _note_of(output)
    if note is not None:
        aside = note.with_name(f"{note.name}.part")
        aside.write_text(record(refiner, strength, copy))
        aside.replace(note)


def _note_of(output: Path) -> Path | None:
    if output.is_file():
        return output.parent / f".{output.name}{RECORD}"
    return output / RECORD if (output / "dataset_dict.json").is_file() or is_dataset(output) else None


def push_data(output: Path, repo_id: str, by: Provenance, *, leave_out: Sequence[str] = (), **options: Any) -> Pushed:
    """Push what was refined into `output`: a folder or archive of images, a `datasets` folder or a `.parquet` file.

    `load_dataset(repo_id)` returns it. Pushing the same again sends nothing. `leave_out`: patterns of images that are
    labels, as for `refine_path`; like all other files of a folder they are not pushed. `options` are those of
    `simgan.hub.uploading.upload`. `SourceError` where there is nothing to push, `PublishError` where the Hub refuses
    it or is out of reach.
    """
    with TemporaryDirectory() as place:
        folder, cache = Path(place) / "set", Path(place) / "cache"
        (folder / "data").mkdir(parents=True)
        counts: dict[str, int] = {}
        features: dict[str, Any] = {}
        for split, shards in _splits(output, cache, leave_out).items():
            files: list[Path] = []
            for shard in shards:
                files.append(folder / "data" / f"{split}-{len(files):05}")
                shard.to_parquet(str(files[-1]))
                counts[split] = counts.get(split, 0) + len(shard)
                features = shard.features
            for number, file in enumerate(files):
                file.rename(folder / "data" / f"{split}-{number:05}-of-{len(files):05}.parquet")
        column = _image_column(features, output)
        columns = {name: re.sub(r"Value\('(\w+)'\)", r"\1", str(kind)) for name, kind in features.items()}
        card = render_dataset_card(repo_id, by, splits=counts, columns=columns | {column: "image"}, column=column)
        (folder / CARD).write_text(card)
        message = f"{sum(counts.values())} images refined by {by.refiner}"
        return upload(folder, repo_id, message=message, repo_type="dataset", owned=["data/"], **options)


def _splits(output: Path, cache: Path, leave_out: Sequence[str]) -> dict[str, Iterator[Dataset]]:
    """Return the shards of each split."""
    from datasets import Dataset, load_from_disk

    parts = output / "dataset_dict.json"
    if parts.is_file():
        names = json.loads(parts.read_text())["splits"]
        return {name: _shards(load_from_disk(str(output / name)), output) for name in names}
    if is_dataset(output):
        return {"train": _shards(load_from_disk(str(output)), output)}
    if output.suffix == ".parquet":
        return {"train": _shards(Dataset.from_parquet(str(output), cache_dir=str(cache)), output)}
    if output.is_file() and output.suffix.lower() in SUFFIXES | {ARRAYS}:
        raise SourceError(f"{output} is one image: push a folder, an archive or a data set")
    return _splits_of_files(output, leave_out)


def _shards(data: Dataset, output: Path) -> Iterator[Dataset]:
    from datasets import Image

    data = data.cast_column(_image_column(data.features, output), Image())
    number = max(1, -(-data.data.nbytes // SHARD))
    return (data.shard(number, index, contiguous=True) for index in range(number))


def _splits_of_files(output: Path, leave_out: Sequence[str]) -> dict[str, Iterator[Dataset]]:
    """Return the shards of each split of a folder or an archive."""
    from datasets import Features, Image, Value

    names, open_file = listing(output)
    visible = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    images = pictures(name for name in visible if not any(fnmatchcase(name, pattern) for pattern in leave_out))
    if not images:
        raise SourceError(f"{output} holds no images to push")
    labels, columns = _labels([name for name in names if PurePosixPath(name).name in METADATA], open_file)
    texts = {_json_of(name) for name in images} & set(names) if "json" not in columns else set()
    if texts:
        columns["json"] = Value("string")
    others = sorted(name for name in set(visible) - set(images) - texts if PurePosixPath(name).name not in METADATA)
    if others:
        logger.warning("%d files are not pushed, as they are neither images nor labels: %s", len(others), others[0])
    features = Features({"image": Image(), "file_name": Value("string"), **columns})
    tops = [PurePosixPath(name).parts[0] if "/" in name else "" for name in images]
    splits: dict[str, list[str]] = {}
    for name, top in zip(images, tops, strict=True):
        splits.setdefault(SPLITS[top] if set(tops) <= SPLITS.keys() else "train", []).append(name)

    def rows(own: list[str]) -> Iterator[dict[str, Any]]:
        for name in own:
            text = {"json": _text(open_file(_json_of(name)), name)} if _json_of(name) in texts else {}
            yield {**labels.get(name, {}), **text, "image": _cell(name, open_file(name)), "file_name": name}

    return {split: _shards_of_rows(rows(own), features) for split, own in splits.items()}


def _shards_of_rows(rows: Iterator[dict[str, Any]], features: Features) -> Iterator[Dataset]:
    """Put rows into data sets of about `SHARD` bytes of images."""
    import pyarrow as pa
    from datasets import Dataset

    shard: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        shard.append(row)
        size += len(row["image"]["bytes"])
        if size >= SHARD:
            yield Dataset(pa.Table.from_pylist(shard, schema=features.arrow_schema))
            shard, size = [], 0
    if shard:
        yield Dataset(pa.Table.from_pylist(shard, schema=features.arrow_schema))


def _cell(name: str, data: bytes) -> dict[str, Any]:
    """Return the cell of a column of images: the bytes of the file, or of a PNG where it is a NumPy file."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ARRAYS:
        return {"bytes": data, "path": path.name}
    array = decode(data, name)
    try:
        return {"bytes": encode_png(array), "path": path.with_suffix(".png").name}
    except TypeError as error:
        raise SourceError(
            f"{name} is {array.dtype} of shape {array.shape}, which PNG cannot hold: save uint8, or uint16 of (H, W)"
        ) from error


def _labels(files: list[str], open_file: Callable[[str], bytes]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """Read metadata files: the labels of each image by its name, and the type of each column."""
    import pyarrow as pa
    from datasets import Features

    rows: list[dict[str, Any]] = []
    for path in map(PurePosixPath, files):
        for row in _table(path, open_file(str(path))):
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
            import pandas as pd

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
        raise SourceError(f"the JSON file beside {name} is not UTF-8: {error}") from error


def _json_of(name: str) -> str:
    """Return the name of the JSON file beside an image."""
    return PurePosixPath(name).with_suffix(".json").as_posix()


def _image_column(features: dict[str, Any], output: Path) -> str:
    from datasets import Image

    columns = [name for name, kind in features.items() if name == "image" or isinstance(kind, Image)]
    if len(columns) != 1:
        raise SourceError(f"{output} must have one column of images: it has {', '.join(features)}")
    return columns[0]
