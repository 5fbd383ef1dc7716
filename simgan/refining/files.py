"""Refine an image, a folder, an archive or a `datasets` data set on disk; labels and names stay as they are.

The work is done in a folder beside the output (for a folder of files in the output itself), one whole file at a time,
each written aside and renamed. So a run that was killed continues where it was, and there is never a half file. A JPEG
file keeps its own quantization tables and subsampling; all other formats are written without loss.
"""

import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from simgan.errors import ImageError, SourceError, reason
from simgan.images.files import ARRAYS, encode_like, pictures
from simgan.images.files import SUFFIXES as IMAGES
from simgan.refining.datasets import is_dataset, refine_dataset
from simgan.refining.engine import RefinerLike
from simgan.refining.job import RECORD, Job, Refined, write

ARCHIVES = {".zip": "zip", ".tar": "w", ".tgz": "w:gz", ".tar.gz": "w:gz"}  # else tarfile's mode


def refine_path(refiner: RefinerLike, source: Path, output: Path, **settings: Any) -> Refined:
    """Refine an image file, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay; files that are no images, such as labels, are copied. An archive
    becomes a folder where `output` has no archive's suffix. Called again after an interruption, it does the rest.
    `settings` are those of `simgan.refining.job.Job`.

    `SourceError`: nothing to refine, or an output that is the input, or was begun with another model or strength.
    `ImageError`: a broken image. `Stopped`: `should_stop` returned True.
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
            refine_dataset(job, source, output)
        elif source.is_file() and kind_of(source) is None:
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
    """Refine the images of a folder or an archive, and copy all other files."""
    names, read_member = listing(source)
    images = pictures(name for name in names if not any(fnmatchcase(name, pattern) for pattern in job.copy))
    if not images:
        raise SourceError(f"{source} holds no images; their names end in {', '.join(sorted(IMAGES))}")
    packed = kind_of(output)
    parts = job.begin(output, beside=bool(packed))
    folder = parts / "files" if packed else output
    done, to_refine = job.done, set(images)
    left = [name for name in names if not (folder / name).is_file()]
    for name in left:
        if name not in to_refine:
            write(folder / name, read_member(name))
            done.copied += 1
    left = [name for name in left if name in to_refine]
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
        pack(packed, aside, folder, [name for name in names if (folder / name).is_file()])
        aside.replace(output)
        shutil.rmtree(parts)


def kind_of(path: Path) -> str | None:
    """Return how an archive is packed, by its name: "zip" or a mode of `tarfile`; None where it is no archive."""
    name = path.name.lower()
    return next((kind for suffix, kind in ARCHIVES.items() if name.endswith(suffix)), None)


def listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files below a folder or in an archive, and the function that reads one of them.

    `SourceError` for an archive that cannot be read, or a name that leads out of it; reading a broken member raises
    `ImageError`.
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
    if kind_of(source) == "zip":
        packed = zipfile.ZipFile(source)
        return list(dict.fromkeys(info.filename for info in packed.infolist() if not info.is_dir())), packed.read
    tape: Any = tarfile.open(source)  # noqa: SIM115  (read from until the end)
    members = {member.name: member for member in tape.getmembers() if member.isfile()}
    return list(members), lambda name: tape.extractfile(members[name]).read()


def pack(kind: Any, output: Path, folder: Path, names: list[str]) -> None:
    """Put files of a folder into an archive, under the same names and in their order."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) if kind == "zip" else tarfile.open(output, kind) as packed:
        add = packed.write if isinstance(packed, zipfile.ZipFile) else packed.add
        for name in names:
            add(folder / name, name)
