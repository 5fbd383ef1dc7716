"""A refined data set on the Hub, in one commit: Parquet shards and a card.

Image files are stored byte by byte, NumPy files as PNG of the same values. The labels of a folder or an archive are
those of its metadata, as `simgan.images.metadata` reads them, with masks as images, and the text of a JSON file beside
an image, as UnityEyes writes it. Folders at the top that are called train, validation or test become splits.
"""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
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
from simgan.images.metadata import finder, is_metadata, read_metadata
from simgan.images.names import as_text, decode_text, is_stray
from simgan.refining.archives import listing
from simgan.refining.data_sets import TABLE, image_column, is_dataset, open_dataset
from simgan.refining.job import RECORD, is_of_record
from simgan.refining.places import write

SHARD = 2**28  # bytes of images in a Parquet file
SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
logger = logging.getLogger(__name__)

Facts = dict[str, Any]


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


def push_data(
    output: Path,
    repo_id: str,
    by: Facts,
    *,
    leave_out: Sequence[str] = (),
    skip_bad: bool = False,
    image: str | None = None,
    **options: Any,
) -> Pushed:
    """Push what was refined into `output`: a folder or archive of images, a `datasets` folder, `.parquet` files.

    `load_dataset(repo_id)` returns it. `leave_out`: patterns of images that are labels, as for `refine_path`; like all
    other files of a folder they are not pushed. `skip_bad`: rows of metadata whose image is not there, as it was
    broken, are left out with a warning. `image`: the refined column of a data set with several. `options` are those of
    `simgan.hub.uploading.upload`. `SourceError` where there is nothing to push, or the metadata are not those of the
    images.
    """
    with TemporaryDirectory() as place:
        folder = Path(place) / "set"
        (folder / "data").mkdir(parents=True)
        counts: dict[str, int] = {}
        files: dict[str, list[Path]] = {}
        features: Facts = {}
        for split, shard in _shards(output, Path(place), leave_out, skip_bad, image):
            own = files.setdefault(split, [])
            own.append(folder / "data" / f"{split}-{len(own):05}")
            shard.to_parquet(str(own[-1]))
            counts[split] = counts.get(split, 0) + len(shard)
            features = shard.features
        for own in files.values():
            for file in own:
                file.rename(file.with_name(f"{file.name}-of-{len(own):05}.parquet"))
        column, count = image_column(features, output, image), sum(counts.values())
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


def _shards(
    output: Path, place: Path, leave_out: Sequence[str], skip_bad: bool, image: str | None = None
) -> Iterator[tuple[str, Any]]:
    """Yield splits with their shards (`datasets.Dataset`); `place` is a folder for what Parquet is unpacked to."""
    from datasets import Image

    if output.suffix.lower() == TABLE or is_dataset(output):
        data = open_dataset(output, place)
        for split, rows in (data if isinstance(data, dict) else {"train": data}).items():
            rows = rows.cast_column(image_column(rows.features, output, image), Image())
            number = max(1, -(-rows.data.nbytes // SHARD))
            yield from ((split, rows.shard(number, index, contiguous=True)) for index in range(number))
    elif output.is_file() and output.suffix.lower() in SUFFIXES | {ARRAYS}:
        raise SourceError(f"{output} is one image: push a folder, an archive or a data set")
    elif tables := _tables(output, leave_out):
        for table in tables:
            words = re.split(r"[^a-z]+", table.relative_to(output).as_posix())
            split = next((SPLITS[word] for word in words if word in SPLITS), "train")
            yield from ((split, shard) for _, shard in _shards(table, place, (), skip_bad, image))
    else:
        yield from _shards_of_files(output, leave_out, skip_bad)


def _tables(output: Path, leave_out: Sequence[str]) -> list[Path]:
    """Return the Parquet files of a folder that holds no images, and warn of its other files."""
    names = listing(output)[0] if output.is_dir() else []
    names = [name for name in names if not is_stray(name) and not any(fnmatchcase(name, k) for k in leave_out)]
    tables = [] if pictures(names) else sorted(name for name in names if name.lower().endswith(TABLE))
    if tables and (others := sorted({*names} - {*tables})):
        logger.warning("%d files are not pushed, as they are no tables: %s", len(others), others[0])
    return [output / name for name in tables]


def _shards_of_files(output: Path, leave_out: Sequence[str], skip_bad: bool) -> Iterator[tuple[str, Any]]:
    """Yield splits of a folder or an archive with their shards."""
    import pyarrow as pa
    from datasets import Dataset, Features, Image, Value

    names, read = listing(output)
    visible = {name for name in names if not is_stray(name) and not is_metadata(name)}
    folder = output if output.is_dir() else None
    found = read_metadata(names, pictures(visible), read, folder, skip_bad=skip_bad)
    labels, columns = found.rows, found.columns | ({"mask": Image()} if found.masks else {})
    left_out = {name for name in visible if any(fnmatchcase(name, pattern) for pattern in leave_out)} | found.masks
    kept = visible - left_out
    images = pictures(name for name in names if name in kept)
    if not images:
        raise SourceError(f"{output} holds no images to push")
    find = finder([name for name in visible if name.lower().endswith(".json")])
    json_of = {name: find(PurePosixPath(name).with_suffix(".json").as_posix()) for name in images}
    texts = {name for name in json_of.values() if name and "json" not in columns}
    if texts:
        columns["json"] = Value("string")
    others = sorted(visible - set(images) - texts - found.masks)
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
            row = labels.get(name, {}) | {"image": _cell(name, read(name)), "file_name": as_text(name)}
            if isinstance(mask := row.get("mask"), str):
                row["mask"] = _cell(mask, read(mask))
            if (beside := json_of[name]) and beside in texts:
                row["json"] = _text(read(beside), name)
            shard.append(row)
            size += len(shard[-1]["image"]["bytes"])
            if size >= SHARD or name == own[-1]:
                yield split, Dataset(pa.Table.from_pylist(shard, schema=schema))
                shard, size = [], 0


def _cell(name: str, data: bytes) -> Facts:
    """Return the cell of a column of images: the bytes of the file, or of a PNG where it is a NumPy file."""
    path = PurePosixPath(name)
    if path.suffix.lower() != ARRAYS:
        return {"bytes": data, "path": as_text(path.name)}
    array = decode(data, name)
    try:
        return {"bytes": encode_png(array), "path": as_text(path.with_suffix(".png").name)}
    except TypeError as error:
        raise SourceError(
            f"{name} is {array.dtype} of shape {array.shape}, which PNG cannot hold: save uint8, or uint16 of (H, W)"
        ) from error


def _text(data: bytes, name: str) -> str:
    try:
        return decode_text(data)
    except UnicodeDecodeError as error:
        raise SourceError(f"the JSON file beside {name} is neither UTF-8 nor UTF-16: {error}") from error
