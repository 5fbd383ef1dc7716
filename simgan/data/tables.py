"""Folders of images with metadata, and data sets that are tables: prepared folders, the Hub, `.parquet` files."""

import struct
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Dataset, Features, Image, load_dataset, load_from_disk
from datasets.exceptions import DatasetNotFoundError

from simgan.data.columns import Row, as_dataset, column_types, derivable, derive, image_cell, known, labels, lift_boxes
from simgan.data.crop import Crop, Wanted
from simgan.data.source import Source, files_of, parsing
from simgan.domains import all_domains
from simgan.errors import ImageError, SourceError
from simgan.images import marks
from simgan.images.codecs import GREY8
from simgan.images.files import SUFFIXES, Kind, decode, pictures, read_kind
from simgan.refining.files import METADATA

WINDOWS = 8192  # of a source, that are cut when it is read: enough for a long training, and no image is read again


def open_folder(path: str, wanted: Wanted) -> Source:
    """List images of any kind below a folder; hidden files are left out, and `.npy` files if there are any others.

    Their names relative to the folder, with "/", become `file_name`, by which a metadata.csv or metadata.jsonl beside
    them gives labels; a `mask` there names another image, relative to the metadata, which is no image of the source.
    uint16 is depth in mm, which is never interpolated. Images are resized, those of another aspect cut first; with
    the size of a domain, images at most 20 % larger are cut from the centre. Without a size they stay as they are.
    """
    missing = f"images below it; their names end in {', '.join(sorted(SUFFIXES))}"
    folder, files = files_of(path, "folder", ["**/*"], missing)
    parts = [file.relative_to(folder) for file in files]
    names = pictures(part.as_posix() for part in parts if not any(name.startswith(".") for name in part.parts))
    if not names:
        raise SourceError(f"folder: {folder} has no {missing}")
    rows: dict[str, Row] = {}
    columns: dict[str, Any] = {}
    masks: set[str] = set()
    for file in files:
        if file.name in METADATA:
            types, content = _metadata(file)
            columns |= types
            within = file.parent.relative_to(folder)
            for row in content:
                row["file_name"] = (within / str(row["file_name"])).as_posix()
                if isinstance(mask := row.get("mask"), str):
                    masks.add((within / mask).as_posix())
                    row["mask"] = {"bytes": None, "path": str(file.parent / mask)}
                rows[row["file_name"]] = row
            if lost := [row["file_name"] for row in content if not (folder / row["file_name"]).is_file()]:
                raise SourceError(
                    f"{file} has labels of {len(lost)} images that are not there, such as {lost[0]}: its column "
                    f"file_name must name each relative to {file.parent}"
                )
    columns.pop("file_name", None)  # it is the last one
    columns = {"image": None} | dict.fromkeys(derivable(columns)) | columns
    tasks = [(name, rows.get(name, {"file_name": name})) for name in names if name not in masks]
    read = partial(_read_file, folder, _each(wanted, len(tasks)))
    look = partial(_look_at_file, folder)
    classes = [row.get("label") for _, row in tasks] if "label" in columns else None
    unnamed = sum(name not in rows for name, _ in tasks) if rows else 0
    return Source(f"folder:{folder}", tasks, read, _features(columns), look=look, classes=classes, unnamed=unnamed)


def _metadata(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Return the types of the columns and the rows of a file of metadata."""
    with parsing(file, "metadata of images"):
        csv = file.suffix == ".csv"
        table = pd.read_csv(file, dtype={"file_name": str, "person": str}) if csv else pd.read_json(file, lines=True)
        if "file_name" not in table:
            raise SourceError(f"{file} has no column file_name: it must name each image relative to {file.parent}")
        content = pa.Table.from_pandas(table.drop(columns="image", errors="ignore"), preserve_index=False)
        return dict(Features.from_arrow_schema(content.schema)), content.to_pylist()


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
    """Open a folder saved to disk, a `.parquet` file, or `org/name` or `org/name@split` of the Hub; cropped too."""
    return _open_dataset(_open(name), name, wanted)


def _open_dataset(dataset: Dataset, name: str, wanted: Wanted) -> Source:
    if "image" not in dataset.column_names:
        raise SourceError(f"{name} has no column image: it has {', '.join(dataset.column_names)}")
    if not len(dataset):
        raise SourceError(f"{name} is empty")
    columns = dict(dataset.features)
    for column in {"image", "mask"} & {name for name, kind in columns.items() if isinstance(kind, Image)}:
        dataset = dataset.cast_column(column, Image(decode=False))
    fits = not derivable(columns) and lift_boxes(columns) == columns and _fits(dataset, wanted)
    table = dataset.cast(Features(columns)) if fits and not wanted.window else None
    read, look = partial(_read_row, dataset, _each(wanted, len(dataset)), name), partial(_look_at_row, dataset, name)
    classes = dataset["label"][:] if "label" in columns else None
    return Source(name, range(len(dataset)), read, _features(columns), table=table, look=look, classes=classes)


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
    place = Path(name).expanduser()
    try:
        if place.suffix == ".parquet" and place.is_file():
            return Dataset(pq.read_table(place)).cast_column("image", Image())
        where, _, split = name.partition("@")
        saved = Path(where).expanduser()
        found = load_from_disk(str(saved)) if saved.is_dir() and is_prepared(saved) else load_dataset(where)
    except DatasetNotFoundError as error:  # gated ones are among them
        raise SourceError(
            f"{name} is no folder or file here, and no data set of the Hub that you may read: check the name; for a "
            "private or gated one log in with `hf auth login`"
        ) from error
    except Exception as error:  # broken files and connections raise errors of many libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{name} cannot be opened, neither as a folder or file nor on the Hub: {reason}") from error
    if isinstance(found, Dataset):
        return found
    split = split or (next(iter(found)) if len(found) == 1 else "train")
    if split not in found:
        raise SourceError(f"{where} has splits {', '.join(map(str, found))}: name one as {where}@SPLIT")
    return found[split]


def _read_row(dataset: Dataset, wanted: Wanted, source: str, number: int) -> list[Row]:
    row = dataset[number]
    path = (row["image"] or {}).get("path")
    name = row.get("file_name") or Path(path or f"{number:06}.png").name
    where = f"{name} (row {number} of {source})"
    return _crop_rows(decode_cell(row["image"], where), row | {"file_name": name}, wanted, where)


def _look_at_row(dataset: Dataset, source: str, number: int) -> Kind:
    cell, where = dataset[number]["image"] or {}, f"row {number} of {source}"
    if not (found := cell.get("bytes") or cell.get("path")):
        raise ImageError(f"{where} holds no image")
    return read_kind(found, where)
