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

from simgan.errors import SourceError
from simgan.hub import VERSION
from simgan.hub.cards.model import environment
from simgan.hub.cards.records import name_source
from simgan.hub.pretrained import Pretrained
from simgan.hub.uploading import CARD, Pushed, upload
from simgan.images.files import ARRAYS, SUFFIXES, decode, encode_png, pictures
from simgan.refining.files import image_column, is_dataset, listing, open_dataset
from simgan.refining.job import RECORD, is_of_record, write

SHARD = 2**28  # bytes of images in a Parquet file
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
METADATA = ("metadata.jsonl", "metadata.csv")
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
logger = logging.getLogger(__name__)

Facts = dict[str, Any]
Read = Callable[[str], bytes]


def describe(refiner: Pretrained, facts: Facts) -> Facts:
    """Return by what images are refined: name and revision of a refiner, and what `record` tells of it.

    The name is an id on the Hub, with its commit, or that of a shipped model or a folder.
    """
    name, revision, header = refiner.origin or "a refiner in memory", refiner.revision, refiner.metadata or {}
    if revision is None:
        name = name_source(name)
        if "commit" in header:
            step = f", step {header['step']}" if "step" in header else ""
            revision = f"simgan {header['simgan_version']}, commit {header['commit']}{step}"
    return {"refiner": name, "revision": revision, "digest": facts["refiner"], "strength": facts["strength"]}


def is_refined(output: Path, facts: Facts) -> bool:
    """Return whether an archive or a data set was already refined as `record` tells, by its note."""
    note = _note_of(output)
    is_newer = output.is_file() and note.is_file() and note.stat().st_mtime >= output.stat().st_mtime
    return (is_newer or is_dataset(output)) and is_of_record(note, facts)


def note_refined(output: Path, facts: Facts) -> None:
    """Write what refined an archive beside it, or a data set into it; a folder of files has its own record."""
    if not (output / RECORD).is_file():
        write(_note_of(output), json.dumps(facts).encode())


def _note_of(output: Path) -> Path:
    return output / RECORD if output.is_dir() else output.parent / f".{output.name}{RECORD}"


def push_data(output: Path, repo_id: str, by: Facts, *, leave_out: Sequence[str] = (), **options: Any) -> Pushed:
    """Push what was refined into `output`: a folder or archive of images, a `datasets` folder or a `.parquet` file.

    `load_dataset(repo_id)` returns it. `leave_out`: patterns of images that are labels, as for `refine_path`; like all
    other files of a folder they are not pushed. `options` are those of `simgan.hub.uploading.upload`. `SourceError`
    where there is nothing to push.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / "set"
        (folder / "data").mkdir(parents=True)
        counts: dict[str, int] = {}
        files: dict[str, list[Path]] = {}
        features: Facts = {}
        for split, shard in _shards(output, Path(place), leave_out):
            own = files.setdefault(split, [])
            own.append(folder / "data" / f"{split}-{len(own):05}")
            shard.to_parquet(str(own[-1]))
            counts[split] = counts.get(split, 0) + len(shard)
            features = shard.features
        for own in files.values():
            for file in own:
                file.rename(file.with_name(f"{file.name}-of-{len(own):05}.parquet"))
        column, count = image_column(features, output), sum(counts.values())
        columns = {name: re.sub(r"Value\('(\w+)'\)", r"\1", str(kind)) for name, kind in features.items()}
        card = environment().get_template("dataset.md.jinja")
        text = card.render(
            name=repo_id,
            by=by | {"version": VERSION},
            count=count,
            size=next((size for most, size in SIZES if count < most), "n>10M"),
            splits=counts,
            columns=columns | {column: "image"},
            column=column,
        )
        (folder / CARD).write_text(text, encoding="utf-8")
        message = f"{count} images refined by {by['refiner']}"
        return upload(folder, repo_id, message=message, repo_type="dataset", owned=["data/"], **options)


def _shards(output: Path, place: Path, leave_out: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield splits with their shards (`datasets.Dataset`); `place` is a folder for what Parquet is unpacked to."""
    from datasets import Image

    if output.suffix == ".parquet" or is_dataset(output):
        data = open_dataset(output, place)
        for split, rows in (data if isinstance(data, dict) else {"train": data}).items():
            rows = rows.cast_column(image_column(rows.features, output), Image())
            number = max(1, -(-rows.data.nbytes // SHARD))
            yield from ((split, rows.shard(number, index, contiguous=True)) for index in range(number))
    elif output.is_file() and output.suffix.lower() in SUFFIXES | {ARRAYS}:
        raise SourceError(f"{output} is one image: push a folder, an archive or a data set")
    else:
        yield from _shards_of_files(output, leave_out)


def _shards_of_files(output: Path, leave_out: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Yield splits of a folder or an archive with their shards."""
    import pyarrow as pa
    from datasets import Dataset, Features, Image, Value

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
    schema = Features({"image": Image(), "file_name": Value("string"), **columns}).arrow_schema
    tops = {name: PurePosixPath(name).parts[0] if "/" in name else "" for name in images}
    has_splits = set(tops.values()) <= SPLITS.keys()
    splits: dict[str, list[str]] = {}
    for name, top in tops.items():
        splits.setdefault(SPLITS[top] if has_splits else "train", []).append(name)
    for split, own in splits.items():
        shard: list[Facts] = []
        size = 0
        for name in own:
            text = {"json": _text(read(json_of[name]), name)} if json_of[name] in texts else {}
            shard.append({**labels.get(name, {}), **text, "image": _cell(name, read(name)), "file_name": name})
            size += len(shard[-1]["image"]["bytes"])
            if size >= SHARD or name == own[-1]:
                yield split, Dataset(pa.Table.from_pylist(shard, schema=schema))
                shard, size = [], 0


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
