"""Refine an image, a folder, an archive or a `datasets` data set; labels and names stay as they are.

The work is done in a folder beside the output (for a folder of files in the output itself), one whole file at a time,
so that a run that was killed continues where it was.
"""

import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL.Image import registered_extensions
from tqdm import tqdm

from simgan.errors import ImageError, SimGANError, SourceError, reason
from simgan.images.files import ARRAYS, encode_like, pictures, unread
from simgan.images.files import SUFFIXES as IMAGES
from simgan.images.metadata import find_masks, is_metadata
from simgan.images.names import is_stray
from simgan.refining import labels
from simgan.refining.archives import ARCHIVES, UNREAD, Member, kind_of, members, pack, read_member
from simgan.refining.cluster import Cluster
from simgan.refining.data_sets import TABLE, is_table, refine_data_set, table_stamps
from simgan.refining.engine import RefinerLike
from simgan.refining.job import Item, Job, Refined, Stamps
from simgan.refining.places import alone, aside, exists, found_in, is_remote, place_of, stamp_of, write
from simgan.refining.processes import Processes, fitting, result
from simgan.refining.workers import Workers

Read = Callable[[str], bytes]


def refine_path(refiner: RefinerLike, source: str | Path, output: str | Path, **settings: Any) -> Refined:
    """Refine an image file, a folder, an archive (see `ARCHIVES`) or a `datasets` data set into the same kind.

    Relative names, formats, modes and bit depths stay. Files that are no images, and images that metadata name as a
    `mask`, are labels and are copied. An archive becomes a folder where `output` has no archive's suffix. Of a folder
    of archives and Parquet files each is refined. Called again after an interruption, it does the rest.

    Both may be addresses of `fsspec`, such as s3://bucket/folder: an archive or a table is brought here as a whole. A
    lock keeps two runs from writing one output on a disk; a remote output has none.

    `settings` are those of `simgan.refining.job.Job`. What cannot be refined or written raises `SourceError`, a broken
    image `ImageError`.
    """
    job = Job(refiner, **settings)
    _refine_path(job, place_of(source), place_of(output))
    return job.done


def _refine_path(job: Job, source: Any, output: Any) -> None:
    try:
        if not exists(source):
            raise SourceError(f"{source} does not exist: give an image, a folder, an archive or a data set")
        with Cluster(job) if job.ray else nullcontext() as job.cluster:
            _refine(job, source, output)
    except SimGANError:
        raise
    except Exception as error:  # clients of remote stores and Ray raise any
        told = reason(error)
        if is_remote(source) or is_remote(output) or job.ray:
            last = told.splitlines()[-1] if job.ray and told else told  # Ray's have a traceback before it
            failed = f"{source} could not be refined into {output}: {last}"
        elif isinstance(error, OSError):
            failed = f"{output} cannot be written ({told})"
        else:
            raise
        raise SourceError(f"{failed}; what is there is whole: call it again to go on") from error


def _refine(job: Job, source: Any, output: Any) -> None:
    if source.resolve() == output.resolve() or source.resolve() in output.resolve().parents:
        raise SourceError(f"the output {output} is (in) the input: give another place")
    for path in (source, output):
        if path.suffix.lower() in UNREAD and kind_of(path) is None and not path.is_dir():
            kinds = ", ".join(ARCHIVES)
            raise SourceError(f"{path} is no archive that can be read or written: use a folder, or one of {kinds}")
    has_rows, is_alone = is_table(source), source.is_file() and kind_of(source) is None
    others = (*IMAGES, ARRAYS, *(ARCHIVES if has_rows else (TABLE,)))
    if (has_rows or not is_alone) and output.name.lower().endswith(others) and not output.is_dir():
        fitting = f"{output.with_suffix(TABLE if has_rows else '.zip')}"
        raise SourceError(f"{source} cannot become one {output.suffix}: give a name such as {fitting}, or of a folder")
    if (is_remote(source) or is_remote(output)) and (has_rows or (kind_of(source) and not source.is_dir())):
        _refine_remote(job, source, output)
        return
    if not is_remote(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    if has_rows:
        refine_data_set(job, source, output)
    elif is_alone:
        _refine_file(job, source, output)
    else:
        _refine_files(job, source, output)


def _refine_remote(job: Job, source: Any, output: Any) -> None:
    """Refine an archive or a Parquet file that is brought here, and sent when it is whole."""
    kinds = (TABLE,) if source.name.lower().endswith(TABLE) else tuple(ARCHIVES)
    for place in (source, output):
        if not place.name.lower().endswith(kinds):
            raise SourceError(f"{place} cannot be reached as one file: give a name that ends in {', '.join(kinds)}")
    job.check_new(output)
    with TemporaryDirectory() as here:
        local, made = source, Path(here, "refined", output.name)
        if is_remote(source):
            local = Path(here, source.name)
            source.fs.get_file(source.path, str(local))
        _refine(job, local, made)
        if is_remote(output):
            output.fs.put_file(str(made), output.path)
        else:
            part = aside(output, ".part")
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, part)
            part.replace(output)


def _refine_file(job: Job, source: Path, output: Path) -> None:
    place = output / source.name if output.is_dir() else output
    suffixes = {ARRAYS} if source.suffix.lower() == ARRAYS else IMAGES
    if kind := unread(source.name):
        raise SourceError(f"{source} is {kind}, which is not read: save it as PNG or TIFF")
    if place.suffix.lower() not in suffixes:
        raise SourceError(f"{place} has no image's suffix: give a name that ends in {', '.join(sorted(suffixes))}")
    if place.resolve() == source.resolve():
        raise SourceError(f"the output {place} is the input: give another place")
    job.check_new(place)
    with alone(aside(place, ".lock"), place):
        for _, image, refined in job.refine_images([Item(None, str(source), source)]):
            kind = registered_extensions().get(place.suffix.lower(), "PPM" if place.suffix.lower() == ".pnm" else None)
            write(place, encode_like(refined, image, kind, place.name))


def _refine_files(job: Job, source: Any, output: Any) -> None:
    found = members(source)
    copied, images, said, shards = _parts(job.copy, source, found)
    packed = kind_of(output)
    with job.begun(source, output, _stamps(source, found, copied), beside=bool(packed)) as folder:
        is_there = found_in(folder)
        for name in sorted(copied):
            if not is_there(name):
                write(folder / name, read_member(found, source, name))
                job.done.copied += 1
        if shards:
            packed_names = [name for name in found if _is_packed(name)]
            within = [pattern for pattern in job.copy if not labels.matches(pattern, packed_names)]
            _refine_shards(job, source, folder, shards, within)
        else:
            _refine_images(job, source, found, folder, images, said)
        if packed:
            part = aside(output, ".part")
            pack(part, packed, ((folder / name, found[name].packed) for name in found if (folder / name).is_file()))
            part.replace(output)


def _refine_images(
    job: Job, source: Any, found: dict[str, Member], folder: Any, images: list[str], said: set[str]
) -> None:
    done, is_there, is_folder = job.done, found_in(folder), source.is_dir()
    left = [name for name in images if not is_there(name)]
    already = len(images) - len(left)
    done.already += already
    before = done.images + len(done.broken)
    here = is_folder and (is_remote(source) or not job.cluster)  # else other machines may not see the files

    def item(name: str) -> Item:
        try:  # an archive is read here, as several processes would unpack it several times
            file: Any = source / name if here else read_member(found, source, name)
        except ImageError as error:
            file = error
        return Item(name, name, file, may_be_label=name not in said)

    bar = tqdm(total=len(images), initial=already, desc="refining", unit=" images", disable=job.quiet)
    with bar, Workers(job) as workers:
        for (name, *_), data in workers.refine_all(map(item, left), len(left)):
            write(folder / name, data)
            seen = already + done.images + len(done.broken) - before
            bar.update(seen - bar.n)
            if job.progress:
                job.progress(seen, len(images))


def _refine_shards(job: Job, source: Any, folder: Any, shards: list[str], copy: Sequence[str]) -> None:
    """Refine archives and Parquet files of a folder, each as a whole on one machine."""
    is_there = found_in(folder)
    left = [name for name in shards if not is_there(name)]
    job.done.files = len(shards) - len(left)
    parts = _each(job, source, folder, copy, left)
    for done in tqdm(parts, "refining", len(shards), initial=job.done.files, unit=" files"):
        job.done.images += done.images
        job.done.already += done.already
        job.done.broken += done.broken


def _each(job: Job, source: Any, folder: Any, copy: Sequence[str], names: list[str]) -> Iterator[Refined]:
    count = min(fitting(job), len(names))
    if not job.cluster and count < 2:
        yield from (refine_shard(replace(job, done=Refined()), source, folder, copy, name) for name in names)
        return
    with nullcontext(job.cluster) if job.cluster else Processes(job, count) as helpers:
        futures = [helpers.submit(refine_shard, source, folder, copy, name) for name in names]
        yield from map(result, as_completed(futures))


def refine_shard(job: Job, source: Any, folder: Any, copy: Sequence[str], name: str) -> Refined:
    """Refine one archive or Parquet file of a folder into another folder; return what was done.

    `copy` is as that of the job, but for patterns that mean whole archives and tables.
    """
    job.quiet = True  # as others are at work beside it
    job.copy = copy
    try:
        _refine(job, source / name, folder / name)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    job.done.broken = [f"{name}: {sentence}" for sentence in job.done.broken]
    return job.done


def _parts(
    copy: Sequence[str], source: Any, found: dict[str, Member]
) -> tuple[set[str], list[str], set[str], list[str]]:
    """Return the files to be copied, the images to be refined, those of which the caller told which they are, or the
    archives and tables of a folder without images, each to be refined as a whole.
    """
    names = list(found)
    shards = [name for name in names if _is_packed(name)] if source.is_dir() and not pictures(names) else []
    if not shards:
        return *_sorted_out(copy, source, names, lambda name: read_member(found, source, name)), []
    said = labels.told(shards, [pattern for pattern in copy if labels.matches(pattern, shards)])
    labels.check_names(name for name in shards if name not in said)
    kept = [name for name in shards if not said.get(name)]
    return {*names} - {*kept}, [], set(), kept


def _sorted_out(copy: Sequence[str], source: Any, names: list[str], read: Read) -> tuple[set[str], list[str], set[str]]:
    said = labels.told(names, copy)
    folder = source if isinstance(source, Path) and source.is_dir() else None
    masks = {name for name in find_masks(names, read, folder) if said.get(name, True)}
    images = pictures(name for name in names if name not in masks and not said.get(name))
    packed = [name for name in names if _is_packed(name) and name not in said]
    apart = f"refine each of its {len(packed)} archives and tables, such as {packed[0]}, by itself" if packed else ""
    if not images:
        kinds = ", ".join(sorted(IMAGES))
        raise SourceError(f"{source} holds no images: {apart or f'their names end in {kinds}'}")
    if apart:
        warnings.warn(f"{source}: {apart}, as they are copied", stacklevel=2)
    labels.check_names(name for name in images if name not in said)
    copied = set(names) - set(images)
    if others := sorted(name for name in copied if name not in said and name not in masks and unread(name)):
        raise SourceError(
            f"{len(others)} images are of kinds that are not read, such as {others[0]}, which is {unread(others[0])}: "
            f'save them as PNG, or copy them as they are by --copy "*{Path(others[0]).suffix}"'
        )
    return copied, images, {*said}


def _is_packed(name: str) -> bool:
    return bool(kind_of(Path(name)) or name.lower().endswith(TABLE)) and not is_stray(name) and not is_metadata(name)


def stamps_of(source: str | Path, copy: Sequence[str] = (), image: str | None = None) -> Stamps:
    """Return what `refine_path` notes of an input: of each file its size and times, and whether it is copied."""
    place = place_of(source)
    if is_table(place):
        return table_stamps(place, image)
    if place.is_file() and kind_of(place) is None:
        return {}
    found = members(place)
    return _stamps(place, found, _parts(copy, place, found)[0])


def _stamps(source: Any, found: dict[str, Member], copied: set[str]) -> Stamps:
    def stamp(name: str) -> list[int]:
        return found[name].stamp or stamp_of(source / name if source.is_dir() else source)

    return {name: [*stamp(name), int(name in copied)] for name in found}
