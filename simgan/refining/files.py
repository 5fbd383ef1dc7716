"""Refine an image, a folder, an archive or a `datasets` data set on disk; labels and names stay as they are.

The work is done in a folder beside the output (for a folder of files in the output itself), one whole file at a time,
so that a run that was killed continues where it was.
"""

import json
import shutil
import warnings
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import registered_extensions
from tqdm import tqdm

from simgan.errors import ImageError, SourceError, reason
from simgan.images.files import ARRAYS, encode_like, pictures, unread
from simgan.images.files import SUFFIXES as IMAGES
from simgan.images.marks import COLUMNS
from simgan.images.metadata import find_masks, is_metadata
from simgan.images.names import is_stray
from simgan.refining import labels
from simgan.refining.archives import ARCHIVES, UNREAD, kind_of, listing, members, pack, read_member
from simgan.refining.engine import RefinerLike
from simgan.refining.job import Item, Job, Refined, Stamps, alone, aside, write
from simgan.refining.workers import Workers

TABLE = ".parquet"
SHARD = 4096  # rows of a data set that are written at a time
NOTE = "note.json"  # of a shard: what was wrong with each row that was left out, and stamps of files that rows name
Read = Callable[[str], bytes]


def refine_path(refiner: RefinerLike, source: Path, output: Path, **settings: Any) -> Refined:
    """Refine an image file, a folder, an archive (see `ARCHIVES`) or a `datasets` data set into the same kind.

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
    for path in (source, output):
        if path.suffix.lower() in UNREAD and kind_of(path) is None and not path.is_dir():
            kinds = ", ".join(ARCHIVES)
            raise SourceError(f"{path} is no archive that can be read or written: use a folder, or one of {kinds}")
    is_table, is_alone = _is_table(source), source.is_file() and kind_of(source) is None
    others = (*IMAGES, ARRAYS, *(ARCHIVES if is_table else (TABLE,)))
    if (is_table or not is_alone) and output.name.lower().endswith(others) and not output.is_dir():
        fitting = f"{output.with_suffix(TABLE if is_table else '.zip')}"
        raise SourceError(f"{source} cannot become one {output.suffix}: give a name such as {fitting}, or of a folder")
    job = Job(refiner, **settings)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if is_table:
            _refine_dataset(job, source, output)
        elif is_alone:
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


def _refine_files(job: Job, source: Path, output: Path) -> None:
    found = members(source)
    names = list(found)
    copied, images, said = _sorted_out(job.copy, source, names, lambda name: read_member(found, source, name))
    packed = kind_of(output)
    stamps = _stamps(source, names, copied)
    with job.begun(source, output, stamps, beside=bool(packed)) as folder:
        done = job.done
        for name in sorted(copied):
            if not (folder / name).is_file():
                write(folder / name, read_member(found, source, name))
                done.copied += 1
        left = [name for name in images if not (folder / name).is_file()]
        done.already = len(images) - len(left)
        is_folder = source.is_dir()

        def item(name: str) -> Item:
            try:  # an archive is read here, as several processes would unpack it several times
                file: Any = source / name if is_folder else read_member(found, source, name)
            except ImageError as error:
                file = error
            return Item(name, name, file, may_be_label=name not in said)

        bar = tqdm(total=len(images), initial=done.already, desc="refining", unit=" images")
        with bar, Workers(job) as workers:
            for (name, *_), data in workers.refine_all(map(item, left), len(left)):
                write(folder / name, data)
                seen = done.already + done.images + len(done.broken)
                bar.update(seen - bar.n)
                if job.progress:
                    job.progress(seen, len(images))
        if packed:
            part = aside(output, ".part")
            pack(part, packed, ((folder / name, found[name].packed) for name in names if (folder / name).is_file()))
            part.replace(output)


def _sorted_out(
    copy: Sequence[str], source: Path, names: list[str], read: Read
) -> tuple[set[str], list[str], set[str]]:
    """Return the files to be copied, the images to be refined, and those of which the caller told which they are."""
    said = labels.told(names, copy)
    masks = {name for name in find_masks(names, read, source if source.is_dir() else None) if said.get(name, True)}
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


def stamps_of(source: Path, copy: Sequence[str] = (), image: str | None = None) -> Stamps:
    """Return what `refine_path` notes of an input: of each file its size and times, and whether it is copied."""
    source = source.expanduser()
    if _is_table(source):
        return _table_stamps(source, image)
    if source.is_file() and kind_of(source) is None:
        return {}
    names, read = listing(source)
    return _stamps(source, names, _sorted_out(copy, source, names, read)[0])


def _stamps(source: Path, names: list[str], copied: set[str]) -> Stamps:
    return {name: [*_stamp(source / name if source.is_dir() else source), int(name in copied)] for name in names}


def _stamp(path: Path) -> list[int]:
    found = path.stat()  # copies may keep the time of the data, but not that of the file
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _is_table(source: Path) -> bool:
    return source.suffix.lower() == TABLE or is_dataset(source)


def is_dataset(source: Path) -> bool:
    """Return whether a folder is a data set, or one with splits, that was saved to disk."""
    one = (source / "state.json").is_file() and (source / "dataset_info.json").is_file()
    return one or (source / "dataset_dict.json").is_file()


def image_column(features: dict[str, Any], place: Path, chosen: str | None = None) -> str:
    """Return the column of images of a data set, `chosen` or the only one besides masks; `SourceError` without it."""
    from datasets import Image

    masks = [name for name, kind in COLUMNS.items() if kind == "mask"]  # images too, but labels
    columns = [k for k, kind in features.items() if k not in masks and (k == "image" or isinstance(kind, Image))]
    columns = columns if chosen is None else [name for name in features if name == chosen]
    if len(columns) != 1:
        wanted = "one column of images" if chosen is None else f"a column {chosen}"
        raise SourceError(f"{place} must have rows with {wanted}: it has {', '.join(features)}; --image chooses one")
    return columns[0]


def _table_stamps(source: Path, image: str | None) -> Stamps:
    """Return one stamp of all files of a data set and its column of images, as its rows are made together."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    files = [file for file in files if not file.name.startswith("cache-")]  # which `datasets` writes
    return {".": [zlib.crc32((image or "").encode()), *(number for file in files for number in _stamp(file))]}


def _refine_dataset(job: Job, source: Path, output: Path) -> None:
    from datasets import DatasetDict

    if job.copy:
        raise SourceError(f"{source} is a data set, which has no files to copy: leave out --copy {job.copy[0]!r}")
    if job.overwrite and output.is_dir() and not is_dataset(output):
        raise SourceError(f"{output} is a folder of other things than a data set: give another output")
    if output.resolve() in source.resolve().parents and is_dataset(output):
        raise SourceError(f"the input {source} is in the output {output}: give another output")
    stamps = _table_stamps(source, job.image)
    with Workers(job) as workers, job.begun(source, output, stamps, beside=True) as parts:
        data = open_dataset(source, parts)
        part = aside(output, ".part")
        if isinstance(data, DatasetDict):
            data = DatasetDict({k: _refine_rows(workers, job, rows, source / k, parts / k) for k, rows in data.items()})
        else:
            data = _refine_rows(workers, job, data, source, parts)
        if isinstance(data, DatasetDict) or output.suffix.lower() != TABLE:
            shutil.rmtree(part, ignore_errors=True)
            data.save_to_disk(str(part))
            if output.is_dir():  # to be overwritten
                shutil.rmtree(output)
        else:
            data.to_parquet(str(part))
        part.replace(output)


def open_dataset(place: Path, parts: Path) -> Any:
    """Return a saved `Dataset`, `DatasetDict` or Parquet file, unpacked to `parts`; `SourceError` if broken."""
    from datasets import Dataset, load_from_disk

    try:
        if place.is_dir():
            return load_from_disk(str(place))
        return Dataset.from_parquet(str(place), cache_dir=str(parts / "cache"))  # Arrow files are made of Parquet
    except Exception as error:  # datasets and Arrow raise all kinds for a broken file
        raise SourceError(f"{place} cannot be read as a data set: {reason(error.__cause__ or error)}") from error


def _refine_rows(workers: Workers, job: Job, rows: Any, source: Path, parts: Path) -> Any:
    """Refine a `Dataset`; each shard becomes a folder in `parts`, which a later call finds."""
    from datasets import Image, concatenate_datasets, load_from_disk

    column = image_column(rows.features, source, job.image)
    if not len(rows):
        raise SourceError(f"{source} has no rows")
    kinds = {name: kind for name, kind in rows.features.items() if isinstance(kind, Image)} | {column: Image()}
    try:
        for name in kinds:
            rows = rows.cast_column(name, Image(decode=False))
    except Exception as error:  # lists of images, numbers
        raise SourceError(f"{source} has no images in its column {name}, but {rows.features[name]}") from error
    starts = range(0, len(rows), SHARD)

    def item(number: int, cell: dict[str, Any] | None) -> Item:
        try:
            file: Any = (_inlined(cell, source) or {}).get("bytes") or b""
        except ImageError as error:
            file = error
        return Item((number, cell and cell["path"]), f"row {number} of {source}", file)

    for start in tqdm(starts, desc="refining", unit=f" × {SHARD} rows"):
        shard = rows.select(range(start, min(start + SHARD, len(rows))))
        place, unfinished = parts / f"{start:09}", parts / f".{start:09}"
        cells_of = (cell for row in shard.select_columns([*kinds]) for cell in row.values())
        files = [_stamp(path) for cell in cells_of if (path := _place(cell, source)) and path.is_file()]
        if place.is_dir():
            note = json.loads((place / NOTE).read_bytes())
            if note["files"] == files:
                job.done.already += len(shard) - len(note["broken"])
                job.done.broken += note["broken"]
                continue
            shutil.rmtree(place)
        known, cells = len(job.done.broken), {}
        items = (item(number, row[column]) for number, row in enumerate(shard.select_columns(column), start))
        for ((number, path), *_), data in workers.refine_all(items, len(rows) - start):
            cells[number - start] = {"bytes": data, "path": path}
        if cells:
            shard = shard.select(list(cells))
            shard = _with(shard, column, list(cells.values()))
            for name in kinds.keys() - {column}:
                shard = _with(shard, name, [_inlined(cell, source) for cell in shard[name]])
            shard.save_to_disk(str(unfinished))
        write(unfinished / NOTE, json.dumps({"broken": job.done.broken[known:], "files": files}).encode())
        unfinished.replace(place)
    shards = [place for start in starts if is_dataset(place := parts / f"{start:09}")]
    if not shards:
        raise SourceError(f"{source} holds no image that can be refined: {job.done.broken[-1]}")
    data = concatenate_datasets([load_from_disk(str(place)) for place in shards])
    for name, kind in kinds.items():
        data = data.cast_column(name, kind)
    return data


def _place(cell: dict[str, Any] | None, source: Path) -> Path | None:
    """Return the file that a cell of an image column names, where it holds no bytes: beside its table, or anywhere."""
    if not cell or cell["bytes"] is not None or not cell["path"]:
        return None
    names = (cell["path"], cell["path"].replace("\\", "/"))
    places = (folder / name for name in names for folder in (source, source.parent))
    return next((place for place in places if place.is_file()), Path(cell["path"]))


def _inlined(cell: dict[str, Any] | None, source: Path) -> dict[str, Any] | None:
    """Return a cell of an image column with the bytes of its file."""
    if cell is None or (place := _place(cell, source)) is None:
        return cell
    try:
        return {"bytes": place.read_bytes(), "path": cell["path"]}
    except OSError as error:
        raise ImageError(f"{cell['path']}, named in {source}, cannot be read ({reason(error)})") from error


def _with(rows: Any, column: str, cells: list[Any]) -> Any:
    """Return a `Dataset` with other images in a column; it stays in its place, and may be the only one.

    It becomes one of plain bytes and paths, as `datasets` cuts folders off the paths of images when it saves them.
    """
    from datasets import Value

    names, kind = rows.column_names, {"bytes": Value("binary"), "path": Value("string")}
    rows = rows.add_column(f"{column}/", cells, feature=kind)  # first, as a data set without columns has no rows
    return rows.remove_columns(column).rename_column(f"{column}/", column).select_columns(names)
