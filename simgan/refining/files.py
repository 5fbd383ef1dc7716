"""Refine an image, a folder, an archive or a `datasets` data set on disk; labels and names stay as they are.

The work is done in a folder beside the output (for a folder of files in the output itself), one whole file at a time,
each written aside and renamed. So a run that was killed continues where it was, and there is never a half file. A JPEG
file keeps its own quantization tables and subsampling; all other formats are written without loss.
"""

import shutil
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from simgan.errors import SourceError, reason
from simgan.images.arrays import Array
from simgan.images.files import ARRAYS, encode_like, pictures, read
from simgan.images.files import SUFFIXES as IMAGES
from simgan.refining.archives import kind_of, listing, pack
from simgan.refining.datasets import is_dataset, refine_dataset, refine_splits
from simgan.refining.engine import RefinerLike, ShouldStop, check
from simgan.refining.job import Job, Refined, batches, write


def refine_path(
    refiner: RefinerLike,
    source: Path,
    output: Path,
    *,
    strength: float = 1.0,
    batch_size: int | None = None,
    skip_bad: bool = False,
    copy: Sequence[str] = (),
    check: Callable[[Any, Any, str], object] = check,
    read_image: Callable[[Any, str], Image.Image | Array] = read,
    progress: Callable[[int, int], None] | None = None,
    should_stop: ShouldStop = None,
) -> Refined:
    """Refine an image file, a folder, an archive (.zip, .tar, .tar.gz) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay; files that are no images, such as labels, are copied, and so are
    images whose relative names match a pattern of `copy`, such as "masks/*". An archive becomes a folder where `output`
    has no archive's suffix. Called again after an interruption, it does the rest.
    `check(refiner, image, name)` raises `ImageError` for an image (PIL or array) that is not to be refined; it must
    refuse what `simgan.refining.engine.check` refuses.
    `read_image(source, name)` returns an image of a path or of bytes, as `simgan.images.files.read` does.
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
    job = Job(refiner, strength, batch_size, skip_bad, tuple(copy), check, read_image, progress, should_stop)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if (source / "dataset_dict.json").is_file():
            refine_splits(job, source, output)
        elif source.suffix == ".parquet" or is_dataset(source):
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
    image = job.read_image(source, str(source))
    job.check(job.refiner, image, str(source))
    kind = Image.registered_extensions().get(place.suffix.lower())
    write(place, encode_like(job.refine([image])[0], image, kind))


def _refine_files(job: Job, source: Path, output: Path) -> None:
    """Refine the images of a folder or an archive, and copy all other files."""
    names, read_member = listing(source)
    images = pictures(name for name in names if not any(fnmatchcase(name, pattern) for pattern in job.copy))
    if not images:
        raise SourceError(f"{source} holds no images; their names end in {', '.join(sorted(IMAGES))}")
    packed = kind_of(output)
    parts = job.begin_beside(output) if packed else job.begin(output)
    folder = parts / "files" if packed else output
    for name in sorted(set(names) - set(images), key=names.index):
        if not (folder / name).is_file():
            write(folder / name, read_member(name))
            job.done.copied += 1
    left = [name for name in images if not (folder / name).is_file()]
    job.done.already = len(images) - len(left)
    with tqdm(total=len(images), initial=job.done.already, desc="refining", unit=" images") as bar:

        def load(name: str) -> tuple[str, Image.Image | Array] | None:
            image = job.load(lambda: job.read_image(read_member(name), name), name)
            bar.update(image is None)
            return None if image is None else (name, image)

        for batch in batches(map(load, left)):
            for (name, image), refined in zip(batch, job.refine([image for _, image in batch]), strict=True):
                write(folder / name, encode_like(refined, image))
            bar.update(len(batch))
            if job.progress:
                job.progress(job.done.already + job.done.images + len(job.done.broken), len(images))
    if packed:
        aside = output.parent / f".{output.name}.part"
        pack(packed, aside, folder, [name for name in names if (folder / name).is_file()])
        aside.replace(output)
        shutil.rmtree(parts)
