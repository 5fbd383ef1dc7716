"""Refine an image, a folder, an archive or a `datasets` data set on disk; labels and names stay as they are.

The work is done in a folder beside the output (for a folder of files in the output itself), one whole file at a time,
so that a run that was killed continues where it was.
"""

import csv
import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image
from tqdm import tqdm

from simgan.errors import ImageError, SourceError, reason
from simgan.images.arrays import Array
from simgan.images.files import ARRAYS, decode, encode_like, encode_png, pictures
from simgan.images.files import SUFFIXES as IMAGES
from simgan.images.marks import COLUMNS
from simgan.refining.engine import RefinerLike
from simgan.refining.job import RECORD, Job, Refined, write

ARCHIVES = {".zip": "zip", ".tar": "w", ".tgz": "w:gz", ".tar.gz": "w:gz"}  # else tarfile's mode
SHARD = 4096  # rows of a data set that are written at a time
METADATA = ("metadata.csv", "metadata.jsonl")  # of a folder, with labels of its images
BROKEN = "broken.json"  # of a shard: what was wrong with each row that was left out


def refine_path(refiner: RefinerLike, source: Path, output: Path, **settings: Any) -> Refined:
    """Refine an image file, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay. Files that are no images, and images that metadata name as a
    `mask`, are labels and are copied. An archive becomes a folder where `output` has no archive's suffix. Called again
    after an interruption, it does the rest.
    `settings` are those of `simgan.refining.job.Job`. What cannot be refined or written raises `SourceError`, a broken
    image `ImageError`.
    """
    source, output = Path(source).expanduser(), Path(output).expanduser()
    if not source.exists():
        raise SourceError(f"{source} does not exist: give an image, a folder, an archive or a data set")
    if source.resolve() == output.resolve() or source.resolve() in output.resolve().parents:
        raise SourceError(f"the output {output} is (in) the input: give another place")
    job = Job(refiner, **settings)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".parquet" or is_dataset(source):
            _refine_dataset(job, source, output)
        elif source.is_file() and _kind_of(source) is None:
            _refine_file(job, source, output)
        else:
            _refine_files(job, source, output)
    except OSError as error:
        raise SourceError(
            f"{output} cannot be written ({reason(error)}); what is there is whole: call it again to go on"
        ) from error
    return job.done


def _refine_file(job: Job, source: Path, output: Path) -> None:
    place = output / source.name if output.is_dir() else output
    suffixes = {ARRAYS} if source.suffix.lower() == ARRAYS else IMAGES
    if place.suffix.lower() not in suffixes:
        raise SourceError(f"{place} has no image's suffix: give a name that ends in {', '.join(sorted(suffixes))}")
    if place.resolve() == source.resolve():
        raise SourceError(f"the output {place} is the input: give another place")
    for _, image, refined in job.refine_all([str(source)], lambda name: (job.read_image(source, name), name)):
        write(place, encode_like(refined, image, Image.registered_extensions().get(place.suffix.lower())))


def _refine_files(job: Job, source: Path, output: Path) -> None:
    names, read_member = listing(source)
    masks = _masks(names, read_member)
    copied = {name for name in names if name in masks or any(fnmatchcase(name, pattern) for pattern in job.copy)}
    images = pictures(name for name in names if name not in copied)
    if not images:
        raise SourceError(f"{source} holds no images; their names end in {', '.join(sorted(IMAGES))}")
    packed = _kind_of(output)
    parts = job.begin(output, beside=bool(packed))
    folder, done = parts / "files" if packed else output, job.done
    for name in sorted(set(names) - set(images)):
        if not (folder / name).is_file():
            write(folder / name, read_member(name))
            done.copied += 1
    left = [name for name in images if not (folder / name).is_file()]
    done.already = len(images) - len(left)
    with tqdm(total=len(images), initial=done.already, desc="refining", unit=" images") as bar:
        for name, image, refined in job.refine_all(left, lambda name: (job.read_image(read_member(name), name), name)):
            write(folder / name, encode_like(refined, image))
            seen = done.already + done.images + len(done.broken)
            bar.update(seen - bar.n)
            if job.progress:
                job.progress(seen, len(images))
    if packed:
        aside = output.parent / f".{output.name}.part"
        mode: Any = packed
        with zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) if mode == "zip" else tarfile.open(aside, mode) as file:
            add = file.write if isinstance(file, zipfile.ZipFile) else file.add
            for name in names:
                if (folder / name).is_file():  # not of an image that was broken
                    add(folder / name, name)
        aside.replace(output)
        shutil.rmtree(parts)


def _masks(names: Sequence[str], read_member: Callable[[str], bytes]) -> set[str]:
    """Return the names of images that files of metadata call masks: labels, which are copied."""
    found = set()
    for name in names:
        place = PurePosixPath(name)
        if place.name in METADATA:
            text = read_member(name).decode("utf-8-sig", errors="replace")
            csv_rows = csv.DictReader(io.StringIO(text)) if place.suffix == ".csv" else ()
            for row in csv_rows or map(_as_row, text.split("\n")):
                if isinstance(mask := row.get("mask"), str):
                    found.add((place.parent / mask).as_posix())
    return found


def _as_row(line: str) -> dict[str, Any]:
    """Return a line of JSON; nothing where it is broken, which whoever reads the labels finds."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _kind_of(path: Path) -> Any:
    """Return how an archive is packed, by its name: "zip" or a mode of `tarfile`; None where it is no archive."""
    return next((kind for suffix, kind in ARCHIVES.items() if path.name.lower().endswith(suffix)), None)


def listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files in a folder or an archive, and the function that reads one of them.

    `SourceError`: a broken archive, or a name that leads out of it. Reading a broken member raises `ImageError`.
    """
    try:
        names, read = _open(source)
    except Exception as error:  # broken archives raise any: IndexError, UnicodeDecodeError, NotImplementedError, …
        raise SourceError(f"{source} cannot be read as an archive: {error}") from error
    for name in names:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise SourceError(f"{source} holds {name!r}, a name that leads out of it: pack it again")

    def read_member(name: str) -> bytes:
        try:
            return read(name)
        except Exception as error:
            raise ImageError(f"{name} in {source} cannot be read: {error}") from error

    return [name for name in names if name != RECORD], read_member


def _open(source: Path) -> tuple[Sequence[str], Callable[[str], bytes]]:
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        return names, lambda name: (source / name).read_bytes()
    if _kind_of(source) == "zip":
        packed = zipfile.ZipFile(source)
        return list(dict.fromkeys(info.filename for info in packed.infolist() if not info.is_dir())), packed.read
    tape: Any = tarfile.open(source)  # noqa: SIM115  (read from until the end)
    members = {member.name: member for member in tape.getmembers() if member.isfile()}
    return list(members), lambda name: tape.extractfile(members[name]).read()


def is_dataset(source: Path) -> bool:
    """Return whether a folder is a data set, or one with splits, that was saved to disk."""
    one = (source / "state.json").is_file() and (source / "dataset_info.json").is_file()
    return one or (source / "dataset_dict.json").is_file()


def image_column(features: dict[str, Any], place: Path) -> str:
    """Return the name of the one column of images, besides masks, of a data set; `SourceError` unless there is one."""
    from datasets import Image

    masks = [name for name, kind in COLUMNS.items() if kind == "mask"]  # images too, but labels
    columns = [k for k, kind in features.items() if k not in masks and (k == "image" or isinstance(kind, Image))]
    if len(columns) != 1:
        raise SourceError(f"{place} must have rows with one column of images: it has {', '.join(features)}")
    return columns[0]


def _refine_dataset(job: Job, source: Path, output: Path) -> None:
    from datasets import DatasetDict

    parts = job.begin(output, beside=True)
    data = open_dataset(source, parts)
    aside = output.parent / f".{output.name}.part"
    if isinstance(data, DatasetDict):
        data = DatasetDict({name: _refine_rows(job, rows, source / name, parts / name) for name, rows in data.items()})
    else:
        data = _refine_rows(job, data, source, parts)
    if isinstance(data, DatasetDict) or output.suffix != ".parquet":
        shutil.rmtree(aside, ignore_errors=True)
        data.save_to_disk(str(aside))
    else:
        data.to_parquet(str(aside))
    aside.replace(output)
    shutil.rmtree(parts)


def open_dataset(place: Path, parts: Path) -> Any:
    """Return a saved `Dataset`, `DatasetDict` or Parquet file, unpacked to `parts`; `SourceError` if broken."""
    from datasets import Dataset, load_from_disk

    try:
        if place.is_dir():
            return load_from_disk(str(place))
        return Dataset.from_parquet(str(place), cache_dir=str(parts / "cache"))  # Arrow files are made of Parquet
    except Exception as error:  # datasets and Arrow raise all kinds for a broken file
        raise SourceError(f"{place} cannot be read as a data set: {reason(error.__cause__ or error)}") from error


def _refine_rows(job: Job, rows: Any, source: Path, parts: Path) -> Any:
    """Refine a `Dataset`; each shard becomes a folder in `parts`, which a later call finds."""
    from datasets import Image, concatenate_datasets, load_from_disk

    column = image_column(rows.features, source)
    if not len(rows):
        raise SourceError(f"{source} has no rows")
    rows = rows.cast_column(column, Image(decode=False))
    starts = range(0, len(rows), SHARD)

    def read(row: tuple[int, dict[str, Any] | None]) -> tuple[Array, str]:
        cell, name = row[1] or {"bytes": b""}, f"row {row[0]} of {source}"
        return decode(cell["path"] if cell["bytes"] is None else cell["bytes"], name), name

    for start in tqdm(starts, desc="refining", unit=f" × {SHARD} rows"):
        shard = rows.select(range(start, min(start + SHARD, len(rows))))
        place, aside = parts / f"{start:09}", parts / f".{start:09}"
        if place.is_dir():
            broken = json.loads((place / BROKEN).read_text(encoding="utf-8"))
            job.done.already += len(shard) - len(broken)
            job.done.broken += broken
            continue
        known, cells = len(job.done.broken), {}
        numbered = enumerate((row[column] for row in shard.select_columns(column)), start)
        for (number, cell), _, refined in job.refine_all(numbered, read):
            path = Path(cell["path"]).with_suffix(".png").name if cell["path"] else None
            cells[number - start] = {"bytes": encode_png(refined), "path": path}
        if cells:
            shard = shard.select(list(cells)).remove_columns(column)
            shard = shard.add_column(column, list(cells.values()), feature=Image()).select_columns(rows.column_names)
            shard.save_to_disk(str(aside))
        write(aside / BROKEN, json.dumps(job.done.broken[known:]).encode())
        aside.replace(place)
    shards = [place for start in starts if is_dataset(place := parts / f"{start:09}")]
    if not shards:
        raise SourceError(f"{source} holds no image that can be refined: {job.done.broken[-1]}")
    return concatenate_datasets([load_from_disk(str(place)) for place in shards])
