"""`folder:DIR`: images of any kind below a folder, with the labels of a metadata.csv or metadata.jsonl beside them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from datasets import Features

from simgan.data.columns import COLUMNS, SHAPES, Row, direction, image_cell, known
from simgan.data.crop import Crop, Format
from simgan.data.source import Source, folder_of, laid_out
from simgan.errors import SourceError
from simgan.images.files import SUFFIXES, decode, pictures

METADATA = ("metadata.csv", "metadata.jsonl")


def open_folder(path: str, form: Format) -> Source:
    """List the images; their names relative to the folder, with "/", become `file_name`. Hidden ones are left out.

    NumPy files are images where there are none of another kind. uint16 is depth in mm, which is never mixed.
    Images within 20 % of the size are cut from the centre, others resized with the crop's aspect kept; None keeps
    them as they are. Metadata need a column `file_name`; where they have pitch and yaw (radians), gaze is added.
    """
    folder = folder_of(path, "folder")
    found = sorted(file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    names = pictures(file.as_posix() for file in found if not any(part.startswith(".") for part in file.parts))
    if not names:
        raise SourceError(f"folder: no images below {folder}; their names end in {', '.join(sorted(SUFFIXES))}")
    labels: dict[str, Row] = {}
    columns: dict[str, Any] = {}
    for file in sorted(file for name in METADATA for file in folder.rglob(name)):
        table = _metadata(file)
        columns |= {name: kind for name, kind in _types(table, file).items() if name != "file_name"}
        within = file.parent.relative_to(folder)
        for row in table.to_dict("records"):
            name = (within / str(row["file_name"])).as_posix()
            labels[name] = {str(k): None if _missing(v) else v for k, v in row.items()} | {"file_name": name}
    if {"pitch", "yaw"} <= columns.keys():
        columns = {"gaze": COLUMNS["gaze"]} | columns
    kept = {"image": COLUMNS["image"]} | columns | {"file_name": COLUMNS["file_name"]}
    tasks = [(name, labels.get(name, {"file_name": name})) for name in names]
    return Source(f"folder:{folder}", tasks, partial(_read, folder, form), Features(kept))


def _read(folder: Path, form: Format, task: tuple[str, Row]) -> list[Row]:
    name, labels = task
    path = folder / name
    return [crop_row(decode(path), labels, form, f"the metadata of {path}")]


def crop_row(array: np.ndarray, labels: Row, form: Format, name: str) -> Row:
    """Fit an image with labels to the format; `name` tells of labels that are none."""
    row = {key: value if key not in SHAPES or known(value) else None for key, value in labels.items()}
    if row.get("person") is not None:
        row["person"] = str(row["person"])  # a name that looks like a number
    with laid_out(name, "labels of images"):
        if form.size is not None:
            array = form.tones(array)
            crop = Crop.fitting((array.shape[1], array.shape[0]), form.size).corrected(form.correction)
            array, row = crop.cut(array), crop.move_labels(row)
        pitch, yaw = row.get("pitch"), row.get("yaw")
        if pitch is not None and yaw is not None and row.get("gaze") is None:
            row["gaze"] = direction(pitch, yaw)
    return row | {"image": image_cell(array)}


def _metadata(file: Path) -> pd.DataFrame:
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
    return table.drop(columns="image", errors="ignore")


def _types(table: pd.DataFrame, file: Path) -> dict[str, Any]:
    """Give the types of the metadata's columns; `COLUMNS` says those of the names that it knows."""
    try:
        found = Features.from_arrow_schema(pa.Table.from_pandas(table, preserve_index=False).schema)
    except pa.ArrowException as error:
        raise SourceError(f"{file} has a column of mixed types: {error}") from error
    return {name: COLUMNS.get(name, kind) for name, kind in found.items()}


def _missing(value: Any) -> bool:
    return value is None or value is pd.NaT or (isinstance(value, float) and value != value)
