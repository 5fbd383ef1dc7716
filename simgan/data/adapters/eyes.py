"""What adapters of eyes share: the crop of MPIIGaze about the corners of an eye, and the columns of a row."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from simgan.data.columns import Row, image_cell
from simgan.data.crop import Crop, Format
from simgan.domains.base import Size
from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.errors import SourceError

OFFSET = (-2.0, -1.5)
"""From the midpoint of the eye's corners to the crop's centre, in px of a crop 55 wide."""


def eye_size(form: Format) -> Size:
    """Return the size of crops, 55×35 where none is given: an eye has no size of its own in a frame."""
    return form.size or (WIDTH, HEIGHT)


def angles(gaze: Iterable[float]) -> Row:
    """Return the labels gaze, pitch and yaw of a vector of any length from the eye to what it looks at."""
    vector = np.asarray(list(gaze), float)
    x, y, z = vector / np.linalg.norm(vector)
    return {"gaze": [x, y, z], "pitch": float(np.arcsin(-y)), "yaw": float(np.arctan2(-x, -z))}


def eye_row(
    frame: np.ndarray,
    form: Format,
    width: float,
    corners: tuple[int, int],
    *,
    lids: np.ndarray,
    iris: np.ndarray,
    pupil: np.ndarray,
    gaze: Iterable[float],
    head: np.ndarray,
) -> Row:
    """Cut an eye out of a frame, and return its image and labels.

    `width` is that of the crop in px of the frame, `corners` the numbers of the nasal and the temporal corner among the
    landmarks `lids` (N, 2). Landmarks are in px of the frame, `head` is a rotation (3, 3).
    """
    centre = lids[list(corners)].mean(0) + np.array(OFFSET) * width / WIDTH
    crop = Crop.around(centre, width, eye_size(form)).corrected(form.correction)
    image = image_cell(crop.cut(form.to_channels(frame)))
    labels = {**angles(gaze), "head_rotation": np.ravel(head).tolist(), "pupil": pupil, "iris": iris, "lids": lids}
    return {"image": image} | crop.move_labels(labels)


def labels_beside(path: Path, suffix: str) -> Path:
    """Return the file of labels beside an image; `SourceError` where it is missing."""
    beside = path.with_suffix(suffix)
    if not beside.is_file():
        raise SourceError(f"{path} has no labels: {beside.name} is missing beside it")
    return beside
