"""Folders of images with metadata, and data sets that are tables: prepared folders, the Hub, `.parquet` files."""

import re
import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, Value, get_dataset_config_names, load_dataset, load_from_disk
from datasets.exceptions import DatasetNotFoundError

from simgan.data.columns import Row, as_dataset, column_types, derivable, derive, image_cell, known, labels, lift_boxes
from simgan.data.crop import Crop, Wanted
from simgan.data.source import Source, files_of, parsing
from simgan.domains import all_domains
from simgan.errors import ImageError, SourceError
from simgan.images import marks
from simgan.images.codecs import GREY8
from simgan.images.files import SUFFIXES, Kind, decode, pictures, read_kind, unread
from simgan.images.metadata import read_metadata
from simgan.refining.labels import named

SHARDS = {".parquet", ".tar"}  # of a folder that is a table
_IN_HUB = re.compile(r"\w[\w.-]*/[\w.-]+/[^/]+")  # org/name/config
_MASKS = [name for name, kind in marks.COLUMNS.items() if kind == "mask"]
WINDOWS = 8192  # of a source, that are cut when it is read: enough for a long training, and no image is read again


def open_folder(path: str, wanted: Wanted) -> Source:
    """List images of any kind below a folder; hidden files are left out, and `.npy` files if there are any others.

    Their names relative to the folder, with "/", become `file_name`, by which metadata beside them give labels, as
    `simgan.images.metadata` reads them; a `mask` there names another image, which is no image of the source. A folder
    of `.parquet` files or WebDataset's `.tar` files, without images, is a table.
    uint16 is depth in mm, which is never interpolated. Images are resized, those of another aspect cut first; with
    the size of a domain, images at most 20 % larger are cut from the centre. Without a size they stay as they are.
    """
    missing = f"images below it; their names end in {', '.join(sorted(SUFFIXES))}"
    folder, files = files_of(path, "folder", ["**/*"], missing)
    parts = [file.relative_to(folder).as_posix() for file in files]
    names = pictures(parts)
    if not names and any(file.suffix.lower() in SHARDS for file in files):
        return open_table(path, wanted)
    if not names:
        raise SourceError(f"folder: {folder} has no {missing}")
    found = read_metadata(parts, names, lambda name: (folder / name).read_bytes(), folder)
    rows = found.rows
    _tell_of_others(folder, parts, [name for name in names if name not in found.masks])
    for row in rows.values():
        if isinstance(mask := row.get("mask"), str):
            row["mask"] = {"bytes": None, "path": str(folder / mask)}
    columns: dict[str, Any] = {"image": None} | dict.fromkeys(derivable(found.columns)) | found.columns
    tasks = [(name, rows.get(name, {}) | {"file_name": name}) for name in names if name not in found.masks]
    read = partial(_read_file, folder, _each(wanted, len(tasks)))
    look = partial(_look_at_file, folder)
    classes = [row.get("label") for _, row in tasks] if "label" in columns else None
    unnamed = sum(name not in rows for name, _ in tasks) if rows else 0
    return Source(f"folder:{folder}", tasks, read, _features(columns), look=look, classes=classes, unnamed=unnamed)


def _tell_of_others(folder: Path, parts: list[str], images: list[str]) -> None:
    """Warn of images that are not read, and of those that seem to be labels."""
    if others := [name for name in parts if unread(name)]:
        told = f"{len(others)} images are left out, such as {others[0]}, which is {unread(others[0])}"
        warnings.warn(f"{folder}: {told}: save them as PNG", stacklevel=3)
    if masks := named(images):
        told = f"{len(masks)} images seem to be labels by their names, such as {masks[0]}, and are taken as images"
        warnings.warn(f"{folder}: {told}: move them elsewhere, or name them as masks in metadata", stacklevel=3)


def _features(columns: dict[str, Any]) -> Features:
    """Return the types of columns and of those that are added; labels have those of their domains."""
    types = column_types()
    columns = lift_boxes(columns) | dict.fromkeys((*derivable(columns), "file_name"))
    return Features({name: types.get(name, kind) for name, kind in columns.items()})


def _read_file(folder: Path, wanted: Wanted, task: tuple[str, Row]) -> list[Row]:
    path = folder / task[0]
    return _crop_rows(decode(path), task[1], wanted, str(path), "the metadata of ")


def _look_at_file(folder: Path, task: tuple[str, Row]) -> Kind:
    return read_kind(folder / task[0])


def _each(wanted: Wanted, images: int) -> Wanted:
    """Return what is wanted with the number of windows of each of so many images."""
    return replace(wanted, each=-(-WINDOWS // min(images, wanted.limit or images)))


def _crop_rows(array: np.ndarray, row: Row, wanted: Wanted, name: str, kind: str = "") -> list[Row]:
    """Fit an image and its labels to what is wanted, and add labels that can be computed; `name` is that in errors."""
    known_labels = labels()
    row = {key: value if key not in known_labels or known(value) else None for key, value in lift_boxes(row).items()}
    if row.get("person") is not None:
        row["person"] = str(row["person"])  # a name that looks like a number
    with parsing(kind + name, "labels of images"):
        size = array.shape[1], array.shape[0]
        row |= {key: marks.check(row[key], key, size, name) for key in marks.COLUMNS if known(row.get(key))}
        if wanted.size is not None or wanted.window:
            array = wanted.to_channels(array)
        if wanted.size is not None:
            cut = any(domain.size == wanted.size for domain in all_domains())  # such frames show the same scale
            crop = Crop.fitting(size, wanted.size, cut=cut).corrected(wanted.correction)
            array, row = crop.cut(array), crop.move_labels(row)
        row = derive(row)
        if not wanted.window:
            return [_stored(array, row)]
        windows = wanted.windows((array.shape[1], array.shape[0]), name)
        return [_stored(crop.cut(array), crop.move_labels(row)) for crop in windows]


def _stored(array: np.ndarray, row: Row) -> Row:
    """Return the row with its image and its masks as cells of a data set."""
    masks = {key: image_cell(value) for key, value in row.items() if isinstance(value, np.ndarray)}
    return row | masks | {"image": image_cell(array)}


def is_prepared(path: Path) -> bool:
    """Return whether a folder holds a `datasets` data set as saved to disk, such as those of `simgan prepare`."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


_remembered: dict[str, Dataset] = {}


def remember(images: Any, name: str) -> str:
    """Keep images under a name, and return it as a source, `memory:NAME`, for this process.

    `images`: a `datasets` data set with a column `image`, an array uint8 (N, H, W) or (N, H, W, 3), or a list of PIL
    images or arrays. `ImageError` or `SourceError` where it is none of these.
    """
    if not isinstance(images, Dataset):
        if not isinstance(images, list | tuple | np.ndarray):
            raise SourceError(
                f"the {name} images are {type(images).__name__}: give a folder, a data set, an array or a list"
            )
        if not len(images):
            raise SourceError(f"there are no {name} images: the {type(images).__name__} is empty")
        stored = [GREY8.check(image, f"{name} image {number}") for number, image in enumerate(images)]
        rows = [{"image": image_cell(image), "file_name": f"{number:06}.png"} for number, image in enumerate(stored)]
        images = as_dataset(rows, _features({"image": None}))
    _remembered[name] = images
    return f"memory:{name}"


def open_memory(name: str, wanted: Wanted) -> Source:
    """Open what was remembered under a name."""
    if name not in _remembered:
        raise SourceError(f"there are no images {name!r} in memory: `simgan.train` gets them as objects")
    return _open_dataset(_remembered[name], f"memory:{name}", wanted)


def open_table(name: str, wanted: Wanted) -> Source:
    """Open a folder of tables or saved to disk, a `.parquet` file, or a data set of the Hub; cropped too.

    After its name there may be `/CONFIG`, `@SPLIT` and `#COLUMN` of images, in this order, where there are several.
    Paths in it are relative to the folder, or to that of the file.
    """
    place, column = _split_column(name)
    path = Path(place).expanduser()
    return _open_dataset(_open(place), name, wanted, column, path if path.is_dir() else path.parent)


def is_table(name: str) -> bool:
    """Return whether a path is that of a `.parquet` file or a prepared folder, or one with `#COLUMN`."""
    place, column = _split_column(name)
    path = Path(place).expanduser()
    return bool(name) and (_is_parquet(path) or (path.is_dir() and (bool(column) or is_prepared(path))))


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet" and path.is_file()


def _is_there(name: str) -> bool:
    return Path(name).expanduser().exists()


def _split_column(name: str) -> tuple[str, str]:
    place, _, column = (name, "", "") if _is_there(name) else name.partition("#")
    return place, column


def _open_dataset(dataset: Dataset, name: str, wanted: Wanted, column: str = "", folder: Path | None = None) -> Source:
    if not len(dataset):
        raise SourceError(f"{name} is empty")
    dataset = _with_image(dataset, name, column)
    columns = dict(dataset.features)
    for column in {key for key, kind in columns.items() if isinstance(kind, Image)}:
        dataset = dataset.cast_column(column, Image(decode=False))
    fits = not derivable(columns) and lift_boxes(columns) == columns and _fits(dataset, wanted)
    table = dataset.cast(Features(columns)) if fits and not wanted.window else None
    read = partial(_read_row, dataset, _each(wanted, len(dataset)), name, folder)
    look = partial(_look_at_row, dataset, name, folder)
    classes = dataset["label"][:] if "label" in columns else None
    return Source(name, range(len(dataset)), read, _features(columns), table=table, look=look, classes=classes)


def _with_image(dataset: Dataset, name: str, column: str) -> Dataset:
    """Return the rows with a column `image`: that which is named, or called so, or is the only one of images."""
    found = [key for key, kind in dataset.features.items() if key not in _MASKS and _is_image(kind)]
    if not column and (len(found) == 1 or "image" in dataset.column_names):
        column = "image" if "image" in dataset.column_names else found[0]
    if column not in dataset.column_names:
        names, place = ", ".join(dataset.column_names), _split_column(name)[0]
        remedy = "rename" if name.startswith("memory:") else f"as {place}#COLUMN name"
        raise SourceError(f"{name} has no column {column or 'image'}: {remedy} that of the images among {names}")
    if column != "image":
        dataset = dataset.remove_columns([key for key in dataset.column_names if key == "image"])
        dataset = dataset.rename_column(column, "image")
    for key in {"image", *_MASKS} & set(dataset.column_names):
        if key == "image" or dataset.features[key] == Value("string"):  # paths
            try:
                dataset = dataset.cast_column(key, Image())
            except (TypeError, ValueError, NotImplementedError, pa.ArrowException) as error:
                wrong, kind = column if key == "image" else key, dataset.features[key]
                raise SourceError(f"{name} has no images in its column {wrong}, but {kind}: name another") from error
    return dataset


def _is_image(kind: Any) -> bool:
    """Return whether a column of this type may hold images: as such, or as their bytes."""
    cell = isinstance(kind, Mapping) and set(kind) == {"bytes", "path"}
    return cell or isinstance(kind, Image) or kind in (Value("binary"), Value("large_binary"))


def _fits(dataset: Dataset, wanted: Wanted) -> bool:
    """Return whether images are stored as training reads them: as bytes, not paths, and PNGs of the size."""
    cell = dataset[0]["image"]
    if not cell or not cell["bytes"]:
        return False
    if wanted.size is None:
        return True
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", *wanted.size)
    cells = pc.struct_field(dataset.data.column("image"), "bytes")
    return bool(pc.all(pc.equal(pc.binary_slice(cells, 0, len(header)), header)).as_py())


def decode_cell(cell: dict[str, Any] | None, name: str) -> np.ndarray:
    """Return what an image column holds as a stored image; `ImageError` names a broken one."""
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise ImageError(f"{name} holds no image")
    if cell["bytes"] is None:
        return decode(cell["path"], f"{cell['path']} ({name})")
    return decode(cell["bytes"], name)


def _open(name: str) -> Dataset:
    where, split, config = name, "", None
    if not _is_there(where):
        where, _, split = where.partition("@")
    folder, _, last = where.rpartition("/")
    if not _is_there(where) and ((Path(folder).expanduser() / "README.md").is_file() or _IN_HUB.fullmatch(where)):
        where, config = folder, last
    saved = Path(where).expanduser()
    try:
        if _is_parquet(saved):
            return Dataset(pq.read_table(saved))
        place = str(saved) if saved.is_dir() else where
        found = load_from_disk(place) if is_prepared(saved) else load_dataset(place, config)
    except DatasetNotFoundError as error:  # gated ones are among them
        raise SourceError(
            f"{name} is no folder or file here, and no data set of the Hub that you may read: check the name; for a "
            "private or gated one log in with `hf auth login`"
        ) from error
    except Exception as error:  # broken files and connections raise errors of many libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, ValueError) and "onfig" in reason:
            configs = ""
            with suppress(Exception):  # of a connection that has ended since
                configs = ", ".join(get_dataset_config_names(place))
            if configs:
                raise SourceError(f"{where} has configurations {configs}: name one as {where}/CONFIG") from error
        raise SourceError(f"{name} cannot be opened, neither as a folder or file nor on the Hub: {reason}") from error
    if isinstance(found, Dataset):
        return found
    split = split or (next(iter(found)) if len(found) == 1 else "train")
    if split not in found:
        whole = f"{where}/{config}" if config else where
        raise SourceError(f"{whole} has splits {', '.join(map(str, found))}: name one as {whole}@SPLIT")
    return found[split]


def _located(row: Row, folder: Path | None) -> Row:
    """Return a row whose images that are paths are found below its folder, not below where the program runs."""
    cells = {key: cell for key, cell in row.items() if isinstance(cell, dict) and cell.keys() == {"bytes", "path"}}
    for key, cell in cells.items() if folder else ():
        if cell["bytes"] is None and cell["path"]:
            cells[key] = {"bytes": None, "path": str(folder / cell["path"].replace("\\", "/"))}
    return row | cells


def _read_row(dataset: Dataset, wanted: Wanted, source: str, folder: Path | None, number: int) -> list[Row]:
    row = _located(dataset[number], folder)
    path = (row["image"] or {}).get("path")
    name = row.get("file_name") or Path(path or f"{number:06}.png").name
    where = f"{name} (row {number} of {source})"
    return _crop_rows(decode_cell(row["image"], where), row | {"file_name": name}, wanted, where)


def _look_at_row(dataset: Dataset, source: str, folder: Path | None, number: int) -> Kind:
    cell, where = _located(dataset[number], folder)["image"] or {}, f"row {number} of {source}"
    if not (found := cell.get("bytes") or cell.get("path")):
        raise ImageError(f"{where} holds no image")
    return read_kind(found, where)
