"""`folder:DIR`: images of any kind below a folder, with the labels of a metadata.csv or metadata.jsonl beside them."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Features

from simgan.data.columns import Row, column_types, derivable, derive, image_cell, known, labels
from simgan.data.crop import Crop, Format
from simgan.data.source import Source, folder_of, parsing
from simgan.errors import SourceError
from simgan.images.files import SUFFIXES, decode, pictures

METADATA = ("metadata.csv", "metadata.jsonl")


def open_folder(path: str, form: Format) -> Source:
    """List the images; their names relative to the folder, with "/", become `file_name`. Hidden files are left out.

    `.npy` files count as images only if there are no others. uint16 is depth in mm, which is never interpolated.
    Images at most 20 % larger than the size are cut from the centre, others resized with the crop's aspect; without a
    size they stay as they are. Metadata need a column `file_name`.
    """
    folder = folder_of(path, "folder")
    found = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    names = pictures(file.as_posix() for file in found if not any(part.startswith(".") for part in file.parts))
    if not names:
        raise SourceError(f"folder: no images below {folder}; their names end in {', '.join(sorted(SUFFIXES))}")
    rows: dict[str, Row] = {}
    columns: dict[str, Any] = {}
    for file in sorted(file for name in METADATA for file in folder.rglob(name)):
        types, content = _metadata(file)
        columns |= types
        within = file.parent.relative_to(folder)
        for row in content:
            row["file_name"] = (within / str(row["file_name"])).as_posix()
            rows[row["file_name"]] = row
    tasks = [(name, rows.get(name, {"file_name": name})) for name in names]
    types = column_types()
    columns = {name: types[name] for name in derivable(columns)} | columns
    kept = {"image": types["image"]} | columns | {"file_name": types["file_name"]}
    return Source(f"folder:{folder}", tasks, partial(_read, folder, form), Features(kept))


def _read(folder: Path, form: Format, task: tuple[str, Row]) -> list[Row]:
    name, row = task
    path = folder / name
    return [crop_row(decode(path), row, form, f"the metadata of {path}")]


def crop_row(array: np.ndarray, row: Row, form: Format, name: str) -> Row:
    """Fit an image and its labels to the format, and add labels that can be computed; `name` is that in errors."""
    known_labels = labels()
    row = {key: value if key not in known_labels or known(value) else None for key, value in row.items()}
    if row.get("person") is not None:
        row["person"] = str(row["person"])  # a name that looks like a number
    with parsing(name, "labels of images"):
        if form.size is not None:
            array = form.to_channels(array)
            crop = Crop.fitting((array.shape[1], array.shape[0]), form.size).corrected(form.correction)
            array, row = crop.cut(array), crop.move_labels(row)
        row = derive(row)
    return row | {"image": image_cell(array)}


def _metadata(file: Path) -> tuple[dict[str, Any], list[Row]]:
    """Return the types of the columns, without file_name, and the rows of a file of metadata."""
    import pandas as pd

    try:
        table = (
            pd.read_csv(file, dtype={"file_name": str, "person": str})
            if file.suffix == ".csv"
            else pd.read_json(file, lines=True)
        )
    except (ValueError, OSError) as error:
        raise SourceError(f"{file} cannot be read: {error}") from error
    if "file_name" not in table:
        raise SourceError(f"{file} has no column file_name: it must name each image relative to {file.parent}")
    table = table.drop(columns="image", errors="ignore")
    try:
        found = Features.from_arrow_schema(pa.Table.from_pandas(table, preserve_index=False).schema)
    except pa.ArrowException as error:
        raise SourceError(f"{file} has a column of mixed types: {error}") from error
    types = column_types()
    rows = [{str(key): None if _missing(value) else value for key, value in row.items()}
            for row in table.to_dict("records")]  # fmt: skip
    return {name: types.get(name, kind) for name, kind in found.items() if name != "file_name"}, rows


def _missing(value: Any) -> bool:
    return value is None or (not isinstance(value, list | dict) and value != value)  # NaN and NaT
