"""What a row of a data set of eyes or hands holds, as Arrow and `datasets` know it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, Image, Sequence, Value

from simgan.domains.hands import JOINTS
from simgan.errors import SourceError

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
    "joints": Sequence(Sequence(_number, length=3)),
    "joints_mm": Sequence(Sequence(_number, length=3)),
    "own_joints": Sequence(Sequence(_number, length=3)),
    "own_joints_mm": Sequence(Sequence(_number, length=3)),
    "person": Value("string"),
    "file_name": Value("string"),
}
"""Every column that a source may have (`simgan.data.load` says what each means); a source has some of them."""

POINTS = ("pupil", "iris", "lids", "joints", "own_joints")
"""The columns in pixels of the crop, which move with it; what follows u and v, a joint's depth in mm, stays."""


SHAPES: dict[str, tuple[int, ...]] = {
    "gaze": (3,),
    "pitch": (),
    "yaw": (),
    "head_rotation": (9,),
    "pupil": (2,),
    "iris": (-1, 2),
    "lids": (-1, 2),
    "joints": (len(JOINTS), 3),
    "joints_mm": (len(JOINTS), 3),
    "own_joints": (-1, 3),
    "own_joints_mm": (-1, 3),
}
"""What the labels that are numbers must look like; −1 is any number of points."""


def features(*names: str, **others: Any) -> Features:
    """Give the types of some of the `COLUMNS`, and of other columns as they are."""
    return Features({name: COLUMNS[name] for name in names} | others)


SMALL = 2**13
"""Bytes of an image that is stored uncompressed: an eye crop would be a quarter smaller, and decode half as fast."""


def image_cell(array: np.ndarray) -> dict[str, Any]:
    """Encode a stored image, (H, W) or (H, W, C), as what an image column holds: PNG bytes and no path."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 0] if array.nbytes <= SMALL else []
    if array.ndim == 3 and array.shape[2] > 2:
        array = cv2.cvtColor(array, cv2.COLOR_RGBA2BGRA if array.shape[2] == 4 else cv2.COLOR_RGB2BGR)
    return {"bytes": cv2.imencode(".png", array, settings)[1].tobytes(), "path": None}


def as_table(rows: Iterable[Row], columns: Features) -> pa.Table:
    """Hold rows in memory as Arrow does; a label that a row lacks becomes None."""
    try:
        return pa.Table.from_pylist(list(rows), schema=columns.arrow_schema)
    except pa.ArrowException as error:
        raise SourceError(f"a column holds values of several kinds ({error}): make them one") from error


def as_dataset(rows: Iterable[Row], columns: Features) -> Dataset:
    """Hold rows in memory as a data set; a label that a row lacks becomes None."""
    return Dataset(as_table(rows, columns))


def known(label: Any) -> bool:
    """Tell whether a row has a label: one that is None or an empty list is not known."""
    return label is not None and not (isinstance(label, list | np.ndarray) and len(label) == 0)


def check_labels(row: Row) -> Row:
    """Give the row back; a label that is not finite numbers of its shape is a `SourceError` that names both."""
    for name, shape in SHAPES.items():
        if not known(value := row.get(name)):
            continue
        try:
            with np.errstate(over="ignore"):
                found: np.ndarray = np.asarray(value, np.float32)
        except (TypeError, ValueError):
            found = np.empty(0)
        fits = found.ndim == len(shape) and all(
            want in (-1, size) for want, size in zip(shape, found.shape, strict=True)
        )
        if not fits or not np.isfinite(found).all():
            wanted = "a number" if not shape else f"{' × '.join('N' if n < 0 else str(n) for n in shape)} numbers"
            raise SourceError(f"{row.get('file_name')} has a label {name} that is not {wanted}: {str(value)[:80]}")
    return row


def direction(pitch: float, yaw: float) -> list[float]:
    """Angles in radians to the unit vector (−cos p sin y, −sin p, −cos p cos y)."""
    return [-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)]


def angles(gaze: Iterable[float]) -> dict[str, Any]:
    """Labels gaze, pitch and yaw of a vector of any length that points from the eye to what it looks at."""
    vector = np.asarray(list(gaze), float)
    x, y, z = vector / np.linalg.norm(vector)
    return {"gaze": [x, y, z], "pitch": float(np.arcsin(-y)), "yaw": float(np.arctan2(-x, -z))}


def mirrored(labels: Mapping[str, Any], width: int) -> Row:
    """Labels of an image of that width, mirrored: x becomes width − 1 − x; gaze, head and a hand's mm change sides."""
    row = dict(labels)
    flip = np.array([-1.0, 1.0, 1.0])
    if row.get("gaze") is not None:
        row["gaze"] = (np.asarray(row["gaze"], float) * flip).tolist()
    if row.get("yaw") is not None:
        row["yaw"] = -row["yaw"]
    if row.get("head_rotation") is not None:
        row["head_rotation"] = (np.reshape(row["head_rotation"], (3, 3)) * np.outer(flip, flip)).reshape(9).tolist()
    for name in POINTS:
        if known(row.get(name)):
            points = np.array(row[name], float)
            points[..., 0] = width - 1 - points[..., 0]
            row[name] = points.tolist()
    for name in ("joints_mm", "own_joints_mm"):
        if known(row.get(name)):
            row[name] = (np.asarray(row[name], float) * flip).tolist()
    return row
