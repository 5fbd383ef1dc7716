"""What a row of an eye data set holds, as Arrow and `datasets` know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Image, Sequence, Value

Row = dict[str, Any]

_number = Value("float32")
_point = Sequence(_number, length=2)

COLUMNS: dict[str, Any] = {
    "image": Image(),
    "gaze": Sequence(_number, length=3),
    "pitch": _number,
    "yaw": _number,
    "head_rotation": Sequence(_number, length=9),
    "pupil": _point,
    "iris": Sequence(_point),
    "lids": Sequence(_point),
    "person": Value("string"),
    "file_name": Value("string"),
}
"""Every column that a source may have (`simgan.data.load` says what each means); a source has some of them."""

POINTS = ("pupil", "iris", "lids")
"""The columns in pixels of the crop, which move with it."""


def features(*names: str, **others: Any) -> Features:
    """Give the types of some of the `COLUMNS`, and of other columns as they are."""
    return Features({name: COLUMNS[name] for name in names} | others)


SMALL = 2**13
"""Bytes of an image that is stored uncompressed: an eye crop would be a quarter smaller, and decode half as fast."""


def image_cell(array: np.ndarray) -> dict[str, Any]:
    """Encode a stored image (H, W) as what an image column holds: PNG bytes and no path."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 0] if array.nbytes <= SMALL else []
    return {"bytes": cv2.imencode(".png", array, settings)[1].tobytes(), "path": None}


def as_dataset(rows: Iterable[Row], columns: Features) -> Dataset:
    """Hold rows in memory as a data set; a label that a row lacks becomes None."""
    return Dataset(pa.Table.from_pylist(list(rows), schema=columns.arrow_schema))


def direction(pitch: float, yaw: float) -> list[float]:
    """Angles in radians to the unit vector (−cos p sin y, −sin p, −cos p cos y)."""
    return [-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)]


def angles(gaze: Iterable[float]) -> dict[str, Any]:
    """Labels gaze, pitch and yaw of a vector of any length that points from the eye to what it looks at."""
    vector = np.asarray(list(gaze), float)
    x, y, z = vector / np.linalg.norm(vector)
    return {"gaze": [x, y, z], "pitch": float(np.arcsin(-y)), "yaw": float(np.arctan2(-x, -z))}


def mirrored(labels: Mapping[str, Any], width: int) -> Row:
    """Labels of an image of that width, mirrored: x becomes width − 1 − x, gaze and head turn to the other side."""
    row = dict(labels)
    flip = np.array([-1.0, 1.0, 1.0])
    if row.get("gaze") is not None:
        row["gaze"] = (np.asarray(row["gaze"], float) * flip).tolist()
    if row.get("yaw") is not None:
        row["yaw"] = -row["yaw"]
    if row.get("head_rotation") is not None:
        row["head_rotation"] = (np.reshape(row["head_rotation"], (3, 3)) * np.outer(flip, flip)).reshape(9).tolist()
    for name in POINTS:
        if row.get(name) is not None:
            row[name] = (np.asarray(row[name], float) * [-1, 1] + [width - 1, 0]).tolist()
    return row
