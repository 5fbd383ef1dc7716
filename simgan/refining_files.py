"""Refine what lies on disk: an image, a folder, an archive or a `datasets` data set; labels and names pass untouched.

Work is done into a folder beside the output (a folder of files: into the output itself), one whole file at a time,
each written aside and renamed. So a run that was killed goes on where it was, and no half file is ever seen.
"""

import errno
import hashlib
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from simgan.errors import ImageError, SourceError
from simgan.images import decode, encode_png, open_image
from simgan.refiner import Refiner

ARCHIVES = {".zip": "zip", ".tar": "tar", ".tgz": "gztar", ".tar.gz": "gztar"}
IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".pgm"}
RECORD = ".simgan-refine.json"
AHEAD = 256  # files, or rows of a data set, that are read before they are refined together
SHARD = 4096  # rows of a data set that are written at a time
SAVING: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},  # the only format here that loses anything
    "WEBP": {"lossless": True, "exact": True},
}


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
) -> Refined:
    """Refine an image file, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay; files that are no images, such as labels, are copied. An archive
    becomes a folder where `output` has no archive's suffix. Called again after an interruption, it does the rest.

    Raises:
        SourceError: nothing to refine, or an output that is the input, or was begun with another model or strength.
        ImageError: an image is broken (with `skip_bad` it is left out and listed).
    """
    source, output = Path(source).expanduser(), Path(output).expanduser()
    if not source.exists():
        raise SourceError(f"{source} does not exist: give an image, a folder, an archive or a data set")
    if source.resolve() == output.resolve() or source.resolve() in output.resolve().parents:
        raise SourceError(f"the output {output} is (in) the input: give another place")
    job = _Job(refiner, strength, batch_size, skip_bad)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".parquet" or _is_dataset(source):
            return _refine_dataset(job, source, output)
        if source.is_file() and _archive(source) is None:
            return _refine_file(job, source, output)
        return _refine_files(job, source, output)
    except OSError as error:
        reason = "the disk is full: free some space, and call it again" if error.errno == errno.ENOSPC else error
        raise SourceError(f"{output} cannot be written ({reason}); what is there is whole") from error


@dataclass
class _Job:
    refiner: Refiner
    strength: float
    batch_size: int | None
    skip_bad: bool
    done: Refined = field(default_factory=Refined)

    def record(self) -> str:
        """Name what an output was made with: weights, settings and strength."""
        digest = hashlib.sha256(repr(self.refiner.config).encode())
        for value in self.refiner.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        return json.dumps({"refiner": digest.hexdigest(), "strength": self.strength}) + "\n"

    def begin(self, folder: Path) -> None:
        """Take up a folder that is new, or was begun with the same refiner and strength."""
        note = folder / RECORD
        if note.is_file() and note.read_text() != self.record():
            raise SourceError(f"{folder} was begun with another model or strength: give another output, or delete it")
        if not note.is_file() and folder.is_dir() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty and was not begun by this command: give another output")
        folder.mkdir(parents=True, exist_ok=True)
        _write(note, self.record().encode())

    def read(self, name: str, read: Callable[[], Any]) -> Any:
        """Give what `read` gives; None for a broken image that is skipped."""
        try:
            return read()
        except ImageError as error:
            if not self.skip_bad:
                raise
            self.done.broken.append(f"{name}: {error}")
            return None

    def refine(self, images: list[Any]) -> list[Any]:
        self.done.images += len(images)
        refined: list[Any] = self.refiner.refine(images, self.strength, self.batch_size)
        return refined


def _refine_file(job: _Job, source: Path, output: Path) -> Refined:
    image = open_image(source)
    if output.suffix.lower() not in IMAGES:
        raise SourceError(f"{output} has no image's suffix: give a name that ends in {', '.join(sorted(IMAGES))}")
    _save(output, job.refine([image])[0], image.info)
    return job.done


# Folders and archives


def _refine_files(job: _Job, source: Path, output: Path) -> Refined:
    packed = _archive(output)
    if packed and output.is_file():
        raise SourceError(f"{output} exists: give another output, or delete it")
    folder = output.parent / f".{output.name}.parts" if packed else output
    names, opened = _listing(source)
    pictures = [name for name in names if Path(name).suffix.lower() in IMAGES]
    if not pictures:
        raise SourceError(f"{source} holds no images; their names end in {', '.join(sorted(IMAGES))}")
    job.begin(folder)
    wanted = set(pictures)
    for name in names:
        if name not in wanted and not (folder / name).is_file():
            _write(folder / name, opened(name))
            job.done.copied += 1
    left = [name for name in pictures if not (folder / name).is_file()]
    job.done.already = len(pictures) - len(left)
    with tqdm(total=len(pictures), initial=job.done.already, desc="refining", unit=" images") as bar:
        for batch in _chunks(left, AHEAD):
            read = ((name, job.read(name, lambda name=name: _image(opened(name), name))) for name in batch)  # type: ignore[misc]
            found = [(name, image) for name, image in read if image is not None]
            for (name, image), refined in zip(found, job.refine([image for _, image in found]), strict=True):
                _save(folder / name, refined, image.info)
            bar.update(len(batch))
    if packed:
        aside = output.parent / f".{output.name}"
        (folder / RECORD).unlink()
        made = Path(shutil.make_archive(str(aside), packed, folder))
        made.replace(output)
        shutil.rmtree(folder)
    return job.done


def _listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Names of all files below a folder or in an archive, and the function that reads one of them."""
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        return [path.relative_to(source).as_posix() for path in paths], lambda name: (source / name).read_bytes()
    try:
        if _archive(source) == "zip":
            packed = zipfile.ZipFile(source)
            names, read = [info.filename for info in packed.infolist() if not info.is_dir()], packed.read
        else:
            tape = tarfile.open(source)  # noqa: SIM115  (read from until the end)
            names = [member.name for member in tape.getmembers() if member.isfile()]

            def read(name: str) -> bytes:  # type: ignore[misc]
                member = tape.extractfile(name)
                assert member is not None  # only files are listed
                return member.read()
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise SourceError(f"{source} cannot be read as an archive: {error}") from error
    for name in names:
        if name.startswith(("/", "\\")) or ".." in Path(name).parts:
            raise SourceError(f"{source} holds {name!r}, a name that leads out of it: pack it again")
    return names, read


def _archive(path: Path) -> str | None:
    """How an archive is packed, by its name; None where it is none."""
    name = path.name.lower()
    return next((kind for suffix, kind in ARCHIVES.items() if name.endswith(suffix)), None)


def _image(data: bytes, name: str) -> Image.Image:
    return open_image(data, name)


def _save(path: Path, image: Image.Image, info: Mapping[Any, Any]) -> None:
    """Write an image aside and rename; colour profile and EXIF of the input stay."""
    kind = Image.registered_extensions()[path.suffix.lower()]
    kept = {key: info[key] for key in ("icc_profile", "exif", "dpi") if info.get(key)}
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        image.save(aside, kind, **kept, **SAVING.get(kind, {}))
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, size)):
        yield chunk


# Data sets


def _is_dataset(source: Path) -> bool:
    return (source / "state.json").is_file() and (source / "dataset_info.json").is_file()


def _refine_dataset(job: _Job, source: Path, output: Path) -> Refined:
    """Refine the column `image`, a shard of rows at a time; all other columns pass as they are."""
    from datasets import Dataset, concatenate_datasets, load_from_disk
    from datasets import Image as ImageColumn

    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    dataset = Dataset.from_parquet(str(source)) if source.is_file() else load_from_disk(str(source))
    if "image" not in dataset.column_names or not len(dataset):
        raise SourceError(f"{source} has no rows with a column image: it has {', '.join(dataset.column_names)}")
    dataset = dataset.cast_column("image", ImageColumn(decode=False))
    parts = output.parent / f".{output.name}.parts"
    job.begin(parts)
    files = []
    with tqdm(total=len(dataset), desc="refining", unit=" images") as bar:
        for start in range(0, len(dataset), SHARD):
            rows = range(start, min(start + SHARD, len(dataset)))
            files.append(parts / f"{start:09}.parquet")
            if files[-1].is_file():
                job.done.already += len(rows)
            else:
                shard = _refine_rows(job, dataset.select(rows), source, start)
                aside = files[-1].with_suffix(".part")
                shard.to_parquet(str(aside))
                aside.replace(files[-1])
            bar.update(len(rows))
    whole = concatenate_datasets([Dataset.from_parquet(str(file), cache_dir=str(parts / "cache")) for file in files])
    aside = output.parent / f".{output.name}.part"
    if output.suffix == ".parquet":
        whole.to_parquet(str(aside))
    else:
        shutil.rmtree(aside, ignore_errors=True)
        whole.save_to_disk(str(aside))
    aside.replace(output)
    shutil.rmtree(parts)
    return job.done


def _refine_rows(job: _Job, rows: Any, source: Path, start: int) -> Any:
    from datasets import Image as ImageColumn

    cells: dict[int, dict[str, Any]] = {}
    for batch in _chunks(range(len(rows)), AHEAD):
        found = []
        for place in batch:
            cell = rows[place]["image"]
            name = f"row {start + place} of {source}"
            array = job.read(name, lambda cell=cell, name=name: decode(cell["bytes"] or cell["path"], name))  # type: ignore[misc]
            if array is not None:
                found.append((place, cell["path"], array))
        for (place, path, _), refined in zip(found, job.refine([array for *_, array in found]), strict=True):
            kept = Path(path).with_suffix(".png").name if path else None
            cells[place] = {"bytes": encode_png(refined), "path": kept}
    whole = rows.select(sorted(cells)).remove_columns("image")
    return whole.add_column("image", [cells[place] for place in sorted(cells)], feature=ImageColumn())
