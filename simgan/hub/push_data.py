"""A refined data set on the Hub, in one commit: Parquet shards and a card.

Image files are stored byte by byte, NumPy files as PNG of the same values. The labels of a folder or an archive are
those of its `metadata.jsonl` or `metadata.csv`, and the text of a JSON file beside an image, as UnityEyes writes it.
Folders at the top that are called train, validation or test become splits.
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

from huggingface_hub import DatasetCardData

from simgan.errors import SourceError
from simgan.hub import VERSION
from simgan.hub.cards.model import environment
from simgan.hub.cards.terms import name_source
from simgan.hub.uploading import CARD, Pushed, upload
from simgan.images.files import ARRAYS, SUFFIXES, decode, encode_png, pictures
from simgan.refining.datasets import image_column, is_dataset, open_dataset
from simgan.refining.engine import RefinerLike
from simgan.refining.files import listing
from simgan.refining.job import RECORD, is_of_record, record, write

SHARD = 2**28  # bytes of images in a Parquet file
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
METADATA = ("metadata.jsonl", "metadata.csv")
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
logger = logging.getLogger(__name__)

Facts = dict[str, Any]
Read = Callable[[str], bytes]


def describe(refiner: RefinerLike, strength: float) -> Facts:
    """Return by what images are refined: name, revision and SHA-256 of a refiner, the strength, simgan's version.

    The name is an id on the Hub, with its commit, or that of a shipped model or a folder.
    """
    name, revision, header = refiner.origin or "a refiner in memory", refiner.revision, refiner.metadata or {}
    if revision is None:
        name = name_source(name)
        if "commit" in header:
            step = f", step {header['step']}" if "step" in header else ""
            revision = f"simgan {header['simgan_version']}, commit {header['commit']}{step}"
    digest = record(refiner, strength)["refiner"]
    return {"refiner": name, "revision": revision, "digest": digest, "strength": strength, "version": VERSION}


def is_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> bool:
    """Return whether an archive or a data set was already refined with these settings, by the note beside it."""
    note = _note_of(output)
    is_newer = output.exists() and note.is_file() and note.stat().st_mtime >= output.stat().st_mtime
    return is_newer and is_of_record(note, record(refiner, strength, copy))


def note_refined(output: Path, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> None:
    """Write a note beside an archive or a data set of the settings that it was refined with.

    A folder of files needs none: refining it again skips what is done.
    """
    if not (output / RECORD).is_file():
        write(_note_of(output), json.dumps(record(refiner, strength, copy)).encode())


def _note_of(output: Path) -> Path:
    return output.parent / f".{output.name}{RECORD}"


def push_data(output: Path, repo_id: str, by: Facts, *, leave_out: Sequence[str] = (), **options: Any) -> Pushed:
    """Push what was refined into `output`: a folder or archive of images, a `datasets` folder or a `.parquet` file.

    `load_dataset(repo_id)` returns it. Pushing the same again sends nothing. `leave_out`: patterns of images that are
    labels, as for `refine_path`; like all other files of a folder they are not pushed. `options` are those of
    `simgan.hub.uploading.upload`. `SourceError` where there is nothing to push, `PublishError` where the Hub refuses
    it or is out of reach.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / "set"
        (folder / "data").mkdir(parents=True)
        counts: dict[str, int] = {}
        features: Facts = {}
        for split, shards in _splits(output, Path(place), leave_out).items():
            files: list[Path] = []
            for shard in shards:
                files.append(folder / "data" / f"{split}-{len(files):05}")
                shard.to_parquet(str(files[-1]))
                counts[split] = counts.get(split, 0) + len(shard)
                features = shard.features
            for number, file in enumerate(files):
                file.rename(folder / "data" / f"{split}-{number:05}-of-{len(files):05}.parquet")
        (folder / CARD).write_text(_card(repo_id, by, counts, features, image_column(features, output)))
        message = f"{sum(counts.values())} images refined by {by['refiner']}"
        return upload(folder, repo_id, message=message, repo_type="dataset", owned=["data/"], **options)


def _card(name: str, by: Facts, splits: dict[str, int], features: Facts, column: str) -> str:
    count = sum(splits.values())
    files = [{"split": split, "path": f"data/{split}-*.parquet"} for split in splits]
    data = DatasetCardData(
        license="unknown",
        pretty_name=name.rsplit("/", 1)[-1],
        task_categories=["image-to-image"],
        size_categories=next((name for most, name in SIZES if count < most), "n>10M"),
        tags=["simgan", "simulated-unsupervised-learning", "synthetic-data"],
        configs=[{"config_name": "default", "data_files": files}],
        refined_by=by,
    )
    columns = {name: re.sub(r"Value\('(\w+)'\)", r"\1", str(kind)) for name, kind in features.items()}
    facts = {"by": by, "count": count, "splits": splits, "columns": columns | {column: "image"}, "column": column}
    return environment().get_template("dataset.md.jinja").render(card_data=data.to_yaml(), name=name, **facts)


def _splits(output: Path, place: Path, leave_out: Sequence[str]) -> dict[str, Iterator[Any]]:
    """Return the shards (`datasets.Dataset`) of each split; `place` is a folder for what Parquet is unpacked to."""
    if output.suffix == ".parquet" or is_dataset(output):
        data = open_dataset(output, place)
        splits = data if isinstance(data, dict) else {"train": data}
        return {split: _shards(rows, output) for split, rows in splits.items()}
    if output.is_file() and output.suffix.lower() in SUFFIXES | {ARRAYS}:
        raise SourceError(f"{output} is one image: push a folder, an archive or a data set")
    return _splits_of_files(output, leave_out)


def _shards(data: Any, output: Path) -> Iterator[Any]:
    from datasets import Image

    data = data.cast_column(image_column(data.features, output), Image())
    number = max(1, -(-data.data.nbytes // SHARD))
    return (data.shard(number, index, contiguous=True) for index in range(number))


def _splits_of_files(output: Path, leave_out: Sequence[str]) -> dict[str, Iterator[Any]]:
    """Return the shards of each split of a folder or an archive."""
    from datasets import Features, Image, Value

    names, read = listing(output)
    visible = [name for name in names if not any(part.startswith(".") for part in PurePosixPath(name).parts)]
    images = pictures(name for name in visible if not any(fnmatchcase(name, pattern) for pattern in leave_out))
    if not images:
        raise SourceError(f"{output} holds no images to push")
    labels, columns = _labels([name for name in names if PurePosixPath(name).name in METADATA], read)
    json_of = {name: PurePosixPath(name).with_suffix(".json").as_posix() for name in images}
    texts = set(json_of.values()) & set(names) if "json" not in columns else set()
    if texts:
        columns["json"] = Value("string")
    others = sorted(name for name in set(visible) - set(images) - texts if PurePosixPath(name).name not in METADATA)
    if others:
        logger.warning("%d files are not pushed, as they are neither images nor labels: %s", len(others), others[0])
    features = Features({"image": Image(), "file_name": Value("string"), **columns})
    tops = {name: PurePosixPath(name).parts[0] if "/" in name else "" for name in images}
    has_splits = set(tops.values()) <= SPLITS.keys()
    splits: dict[str, list[str]] = {}
    for name, top in tops.items():
        splits.setdefault(SPLITS[top] if has_splits else "train", []).append(name)

    def row(name: str) -> Facts:
        text = {"json": _text(read(json_of[name]), name)} if json_of[name] in texts else {}
        return {**labels.get(name, {}), **text, "image": _cell(name, read(name)), "file_name": name}

    return {split: _shards_of_rows(map(row, own), features) for split, own in splits.items()}


def _shards_of_rows(rows: Iterator[Facts], features: Any) -> Iterator[Any]:
    """Put rows into data sets of about `SHARD` bytes of images."""
    import pyarrow as pa
    from datasets import Dataset

    shard: list[Facts] = []
    size = 0
    for row in rows:
        shard.append(row)
        size += len(row["image"]["bytes"])
        if size >= SHARD:
            yield Dataset(pa.Table.from_pylist(shard, schema=features.arrow_schema))
            shard, size = [], 0
    if shard:
        yield Dataset(pa.Table.from_pylist(shard, schema=features.arrow_schema))


def _cell(name: str, data: bytes) -> Facts:
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


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"the JSON file beside {name} is not UTF-8: {error}") from error


def _labels(files: list[str], read: Read) -> tuple[dict[str, Facts], Facts]:
    """Read metadata files: the labels of each image by its name, and the type of each column."""
    import pandas as pd
    import pyarrow as pa
    from datasets import Features

    labels: dict[str, Facts] = {}
    for file in map(PurePosixPath, files):
        try:
            if file.suffix == ".csv":
                table = pd.read_csv(BytesIO(read(str(file))), float_precision="round_trip")
                rows: list[Any] = table.astype(object).where(table.notna(), None).to_dict("records")
            else:
                rows = [json.loads(line) for line in read(str(file)).decode().splitlines() if line.strip()]
            for row in rows:
                labels[(file.parent / str(row.pop("file_name"))).as_posix()] = row
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SourceError(f"{file} cannot be read as labels by file_name: {error!r}") from error
    columns = {key: None for row in labels.values() for key in row if key != "image"}
    try:
        types = {key: pa.array([row.get(key) for row in labels.values()]).type for key in columns}
    except pa.ArrowException as error:
        raise SourceError(f"the metadata have a column of mixed types: {error}") from error
    return labels, dict(Features.from_arrow_schema(pa.schema(types))) if types else {}
