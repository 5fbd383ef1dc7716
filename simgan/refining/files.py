"""Refine what lies on disk: an image, a folder, an archive or a `datasets` data set; labels and names pass untouched.

Work is done into a folder beside the output (a folder of files: into the output itself), one whole file at a time,
each written aside and renamed. So a run that was killed goes on where it was, and no half file is ever seen. A JPEG
file keeps its own quantization tables and subsampling; all other formats are written without loss.
"""

import errno
import hashlib
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from simgan.errors import ImageError, SourceError, Stopped, reason
from simgan.images.arrays import Array
from simgan.images.files import ARRAYS, decode, encode_like, encode_png, pictures, read
from simgan.images.files import SUFFIXES as IMAGES
from simgan.refiner import Refiner
from simgan.refining.engine import ShouldStop, checked, refine

ARCHIVES = {".zip": "zip", ".tar": "w", ".tgz": "w:gz", ".tar.gz": "w:gz"}  # else tarfile's mode
RECORD = ".simgan-refine.json"
AHEAD = 256  # files, or rows of a data set, that are read before they are refined together
PIXELS = 2**24  # of them at most, so that large images do not fill the memory
SHARD = 4096  # rows of a data set that are written at a time


@dataclass
class Refined:
    """What was done: images refined now, images that an earlier run had done, other files copied, broken images."""

    images: int = 0
    already: int = 0
    copied: int = 0
    broken: list[str] = field(default_factory=list)


def refine_path(
    refiner: Refiner,
    source: Path,
    output: Path,
    *,
    strength: float = 1.0,
    batch_size: int | None = None,
    skip_bad: bool = False,
    copy: Sequence[str] = (),
    check: Callable[[Refiner, Any, str], object] = checked,
    progress: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop = None,
) -> Refined:
    """Refine an image file, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay; files that are no images, such as labels, are copied, and so are
    images whose relative names match a pattern of `copy`, such as "masks/*". An archive becomes a folder where `output`
    has no archive's suffix. Called again after an interruption, it does the rest.
    `check` is called with the refiner, an image (PIL or array) and its name, and raises `ImageError` where that is not
    to be refined, which must include what `checked` refuses.
    `progress` is called with the images done and the images of a folder or an archive; what it raises ends the run.
    `should_stop` is called before each image, and between the pieces that go through the network.

    Raises:
        SourceError: nothing to refine, or an output that is the input, or was begun with another model or strength.
        ImageError: an image is broken (with `skip_bad` it is left out and listed).
        Stopped: `should_stop` returned True.
    """
    source, output = Path(source).expanduser(), Path(output).expanduser()
    if not source.exists():
        raise SourceError(f"{source} does not exist: give an image, a folder, an archive or a data set")
    if source.resolve() == output.resolve() or source.resolve() in output.resolve().parents:
        raise SourceError(f"the output {output} is (in) the input: give another place")
    job = _Job(refiner, strength, batch_size, skip_bad, tuple(copy), check, progress, should_stop)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if (source / "dataset_dict.json").is_file():
            return _refine_splits(job, source, output)
        if source.suffix == ".parquet" or is_dataset(source):
            return _refine_dataset(job, source, output)
        if source.is_file() and _archive(source) is None:
            return _refine_file(job, source, output)
        return _refine_files(job, source, output)
    except OSError as error:
        raise SourceError(
            f"{output} cannot be written ({reason(error)}); what is there is whole: call it again to go on"
        ) from error


def record(refiner: Refiner, strength: float, copy: Sequence[str] = ()) -> str:
    """Name what an output is made with: weights and settings, strength, and what is copied; one line of JSON."""
    digest = hashlib.sha256(repr(refiner.config).encode())
    for value in refiner.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return json.dumps({"refiner": digest.hexdigest(), "strength": strength, "copy": tuple(copy)}) + "\n"


@dataclass
class _Job:
    refiner: Refiner
    strength: float
    batch_size: int | None
    skip_bad: bool
    copy: tuple[str, ...]
    check: Callable[[Refiner, Any, str], object]
    progress: Callable[[int, int], None] | None
    should_stop: ShouldStop
    done: Refined = field(default_factory=Refined)

    def record(self) -> str:
        return record(self.refiner, self.strength, self.copy)

    def refined(self, names: Sequence[str]) -> list[str]:
        """Give those of relative names that are images and are not to be copied as they are."""
        return pictures(name for name in names if not any(fnmatchcase(name, pattern) for pattern in self.copy))

    def begin(self, folder: Path) -> None:
        """Take up a folder that is new, or was begun with the same refiner and strength."""
        note = folder / RECORD
        if note.is_file() and note.read_text() != self.record():
            raise SourceError(
                f"{folder} was begun with another model or strength, or other files to copy: give another output, or "
                "delete it"
            )
        if not note.is_file() and folder.is_dir() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty and was not begun by this command: give another output")
        folder.mkdir(parents=True, exist_ok=True)
        _write(note, self.record().encode())

    def read(self, read: Callable[[], Any]) -> Any:
        """Give what `read` gives; None for a broken image that is skipped."""
        if self.should_stop and self.should_stop():
            raise Stopped("refining was stopped before it was done")
        try:
            return read()
        except ImageError as error:
            if not self.skip_bad:
                raise
            self.done.broken.append(str(error))
            return None

    def image(self, source: Path | bytes | str, name: str) -> Image.Image | Array:
        """Read an image and make sure that it can be refined, so that what cannot is told by its name."""
        image = read(source, name)
        self.check(self.refiner, image, name)
        return image

    def array(self, source: bytes | str, name: str) -> Array:
        """Read an image as it is stored and make sure that it can be refined."""
        array = decode(source, name)
        self.check(self.refiner, array, name)
        return array

    def refine(self, images: list[Any]) -> list[Any]:
        self.done.images += len(images)
        refined: list[Any] = refine(self.refiner, images, self.strength, self.batch_size, self.should_stop)
        return refined


def _refine_file(job: _Job, source: Path, output: Path) -> Refined:
    place = output / source.name if output.is_dir() else output
    suffixes = {ARRAYS} if source.suffix.lower() == ARRAYS else IMAGES
    if place.suffix.lower() not in suffixes:
        raise SourceError(f"{place} has no image's suffix: give a name that ends in {', '.join(sorted(suffixes))}")
    if place.resolve() == source.resolve():
        raise SourceError(f"the output {place} is the input: give another place")
    image = job.image(source, str(source))
    kind = Image.registered_extensions().get(place.suffix.lower())
    _write(place, encode_like(job.refine([image])[0], image, kind))
    return job.done


# Folders and archives


def _refine_files(job: _Job, source: Path, output: Path) -> Refined:
    packed = _archive(output)
    if packed and output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    parts = output.parent / f".{output.name}.parts"
    folder = parts / "files" if packed else output
    names, opened = listing(source)
    images = job.refined(names)
    if not images:
        raise SourceError(f"{source} holds no images; their names end in {', '.join(sorted(IMAGES))}")
    job.begin(parts if packed else folder)
    wanted = set(images)
    for name in names:
        if name not in wanted and not (folder / name).is_file():
            _write(folder / name, opened(name))
            job.done.copied += 1
    left = [name for name in images if not (folder / name).is_file()]
    job.done.already = len(images) - len(left)
    with tqdm(total=len(images), initial=job.done.already, desc="refining", unit=" images") as bar:

        def read_one(name: str) -> tuple[str, Image.Image | Array] | None:
            image = job.read(lambda: job.image(opened(name), name))
            bar.update(image is None)
            return None if image is None else (name, image)

        for batch in _batches(map(read_one, left), lambda pair: _pixels(pair[1])):
            for (name, image), refined in zip(batch, job.refine([image for _, image in batch]), strict=True):
                _write(folder / name, encode_like(refined, image))
            bar.update(len(batch))
            if job.progress:
                job.progress(job.done.already + job.done.images + len(job.done.broken), len(images))
    if packed:
        aside = output.parent / f".{output.name}.part"
        _pack(packed, aside, folder, [name for name in names if (folder / name).is_file()])
        aside.replace(output)
        shutil.rmtree(parts)
    return job.done


def listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Give the names of all files below a folder or in an archive, and the function that reads one of them."""
    read: Callable[[str], bytes]
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        read = lambda name: (source / name).read_bytes()  # noqa: E731
    else:
        try:
            names, read = _zip(source) if _archive(source) == "zip" else _tar(source)
        except Exception as error:  # broken archives raise any: IndexError, UnicodeDecodeError, NotImplementedError, …
            raise SourceError(f"{source} cannot be read as an archive: {error}") from error
    for name in names:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise SourceError(f"{source} holds {name!r}, a name that leads out of it: pack it again")

    def opened(name: str) -> bytes:
        try:
            return read(name)
        except Exception as error:
            raise ImageError(f"{name} in {source} cannot be read: {error}") from error

    return [name for name in names if name != RECORD], opened


def _zip(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    packed = zipfile.ZipFile(source)
    return list(dict.fromkeys(info.filename for info in packed.infolist() if not info.is_dir())), packed.read


def _tar(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    tape = tarfile.open(source)  # noqa: SIM115  (read from until the end)
    members = {member.name: member for member in tape.getmembers() if member.isfile()}

    def read(name: str) -> bytes:
        file = tape.extractfile(members[name])
        assert file is not None  # only files are listed
        return file.read()

    return list(members), read


def _pack(kind: str, output: Path, folder: Path, names: list[str]) -> None:
    """Put files of a folder into an archive, under the same names and in their order."""
    if kind == "zip":
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in names:
                packed.write(folder / name, name)
    else:
        with tarfile.open(output, kind) as tape:  # type: ignore[call-overload]
            for name in names:
                tape.add(folder / name, name)


def _archive(path: Path) -> str | None:
    """How an archive is packed, by its name; None where it is none."""
    name = path.name.lower()
    return next((kind for suffix, kind in ARCHIVES.items() if name.endswith(suffix)), None)


def _pixels(image: Image.Image | Array) -> int:
    return image.width * image.height if isinstance(image, Image.Image) else image.shape[0] * image.shape[1]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _batches(values: Iterable[Any], pixels: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Up to `AHEAD` of the values that are not None, or up to `PIXELS` (and one more image)."""
    batch: list[Any] = []
    seen = 0
    for value in values:
        if value is None:
            continue
        batch.append(value)
        seen += pixels(value)
        if len(batch) == AHEAD or seen >= PIXELS:
            yield batch
            batch, seen = [], 0
    if batch:
        yield batch


# Data sets


def is_dataset(source: Path) -> bool:
    """Whether a folder is a data set that was saved to disk."""
    return (source / "state.json").is_file() and (source / "dataset_info.json").is_file()


def _refine_splits(job: _Job, source: Path, output: Path) -> Refined:
    """Refine each split of a `DatasetDict` that was saved to disk."""
    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    parts = output.parent / f".{output.name}.parts"
    job.begin(parts)
    listed = (source / "dataset_dict.json").read_bytes()
    for split in json.loads(listed)["splits"]:
        if not (parts / "splits" / split).exists():
            _refine_dataset(job, source / split, parts / "splits" / split)
    _write(parts / "splits" / "dataset_dict.json", listed)
    (parts / "splits").replace(output)
    shutil.rmtree(parts)
    return job.done


def _refine_dataset(job: _Job, source: Path, output: Path) -> Refined:
    """Refine the column of images, a shard of rows at a time; all other columns pass as they are."""
    from datasets import Dataset, concatenate_datasets, load_from_disk
    from datasets import Image as ImageColumn

    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    parts = output.parent / f".{output.name}.parts"
    job.begin(parts)
    cache = str(parts / "cache")  # where datasets puts the Arrow files that it makes of Parquet

    def opened(place: Path) -> Any:
        try:
            return load_from_disk(str(place)) if place.is_dir() else Dataset.from_parquet(str(place), cache_dir=cache)
        except Exception as error:  # datasets and Arrow raise all kinds for a broken file
            cause = error.__cause__ or error
            if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
                raise cause from error
            raise SourceError(f"{place} cannot be read as a data set: {cause}") from error

    dataset = opened(source)
    columns = [name for name, kind in dataset.features.items() if name == "image" or isinstance(kind, ImageColumn)]
    if len(columns) != 1 or not len(dataset):
        raise SourceError(f"{source} has no rows with one column of images: it has {', '.join(dataset.column_names)}")
    (column,) = columns
    dataset = dataset.cast_column(column, ImageColumn(decode=False))
    files = []
    with tqdm(total=len(dataset), desc="refining", unit=" images") as bar:
        for start in range(0, len(dataset), SHARD):
            rows = range(start, min(start + SHARD, len(dataset)))
            files.append(parts / f"{start:09}.parquet")
            left_out = files[-1].with_suffix(".txt")
            if files[-1].is_file():
                broken = left_out.read_text().splitlines()
                job.done.already += len(rows) - len(broken)
                job.done.broken += broken
            else:
                before = len(job.done.broken)
                shard = _refine_rows(job, dataset.select(rows), column, source, start)
                _write(left_out, "\n".join(job.done.broken[before:]).encode())
                aside = files[-1].with_suffix(".part")
                shard.to_parquet(str(aside))
                aside.replace(files[-1])
            bar.update(len(rows))
    whole = concatenate_datasets([opened(file) for file in files])
    aside = output.parent / f".{output.name}.part"
    if output.suffix == ".parquet":
        whole.to_parquet(str(aside))
    else:
        shutil.rmtree(aside, ignore_errors=True)
        whole.save_to_disk(str(aside))
    aside.replace(output)
    shutil.rmtree(parts)
    return job.done


def _refine_rows(job: _Job, rows: Any, column: str, source: Path, start: int) -> Any:
    from datasets import Image as ImageColumn

    cells: dict[int, dict[str, Any]] = {}

    def read_one(place: int) -> tuple[int, str | None, Array] | None:
        cell, name = rows[place][column] or {"bytes": b"", "path": None}, f"row {start + place} of {source}"
        if cell["bytes"] is None:
            name = f"{cell['path']} ({name})"
        array = job.read(lambda: job.array(cell["path"] if cell["bytes"] is None else cell["bytes"], name))
        return None if array is None else (place, cell["path"], array)

    for batch in _batches(map(read_one, range(len(rows))), lambda found: found[2].size):
        for (place, path, _), refined in zip(batch, job.refine([array for *_, array in batch]), strict=True):
            kept = Path(path).with_suffix(".png").name if path else None
            cells[place] = {"bytes": encode_png(refined), "path": kept}
    whole = rows.select(sorted(cells)).remove_columns(column)
    whole = whole.add_column(column, [cells[place] for place in sorted(cells)], feature=ImageColumn())
    return whole.select_columns(rows.column_names)
