"""What adapters of hands share: the pinhole camera, the crop of a cube about the hand, joints as columns of a row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import Crop, Format
from simgan.data.source import Source, parsing
from simgan.domains.base import Size
from simgan.domains.hands import JOINTS, SIDE
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.images.depth import CUBE

Hand = tuple[Path, np.ndarray, Row]
"""A frame's file, its joints (N, 3) in mm, and further columns."""


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera: focal lengths and principal point in px whose whole numbers are pixel centres.

    Space is in mm: x right, y down, z away from the camera.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) in mm as (u, v, d): px and mm."""
        points = np.asarray(points, float)
        return np.concatenate([self.focal * points[..., :2] / points[..., 2:] + self.centre, points[..., 2:]], -1)

    def lift(self, points: np.ndarray) -> np.ndarray:
        """Return points (u, v, d) as (x, y, z) in mm: the inverse of `project`."""
        points = np.asarray(points, float)
        flat = (points[..., :2] - np.array(self.centre)) * points[..., 2:] / np.array(self.focal)
        return np.concatenate([flat, points[..., 2:]], -1)


INTEL = Pinhole(focal=(241.42, 241.42), centre=(160.0, 120.0))
"""The camera of MSRA and ICVL, 320×240."""


def hand_size(form: Format) -> Size:
    """Return the size of crops, 224×224 where none is given; `ConfigError` for what depth cannot be cut to."""
    size = form.size or (SIDE, SIDE)
    if size[0] != size[1]:
        raise ConfigError(f"hands are cropped to squares, not to {size[0]}×{size[1]}: give a size such as 224×224")
    if form.channels != 1:
        raise ConfigError("hands are depth images of 1 channel: leave the channels as they are")
    return size


def hand_source(
    name: str, hands: Sequence[Hand], read: Callable[[Path], np.ndarray], form: Format, pinhole: Pinhole, column: str
) -> Source:
    """Return the source of hands that are listed.

    `read` returns a frame, uint16 (H, W) in mm. `column` is "joints" for those of `simgan.domains.hands.JOINTS`,
    "own_joints" for others; "_mm" is appended for those in mm.
    """
    person = ["person"] if hands and "person" in hands[0][2] else []
    columns = features("image", column, f"{column}_mm", *person, "file_name")
    return Source(name, hands, partial(_read, read, hand_size(form), pinhole, column), columns)


def _read(read: Callable[[Path], np.ndarray], size: Size, pinhole: Pinhole, column: str, hand: Hand) -> list[Row]:
    path, joints, others = hand
    frame = read(path)
    with parsing(path, "frames with joints"):
        centre = pinhole.project((joints.min(0) + joints.max(0)) / 2)
        image, box = crop_hand(frame, centre, pinhole.focal[0], size=size, name=str(path))
        labels = {column: pinhole.project(joints).tolist(), f"{column}_mm": joints.tolist()}
        return [{"image": image_cell(image)} | box.move_labels(labels) | others]


def crop_hand(
    frame: np.ndarray, centre: np.ndarray, focal: float, *, size: Size = (SIDE, SIDE), name: str = "the frame"
) -> tuple[np.ndarray, Crop]:
    """Cut a hand out of a depth frame, uint16 (H, W) in mm, 0 = no reading.

    Args:
        frame: the frame; `name` names it in errors.
        centre: (u, v, d) of the hand in px and mm. Readings nearer or farther than d ± 150 mm become 0.
        focal: the camera's focal length in px: the box is 300 mm · focal / d wide.
        size: width and height of the crop.

    Returns:
        The crop, uint16 of the size, its pixels the nearest ones of the frame (0 outside), and the box, whose
        `move_labels` moves a row's joints with it.

    Raises:
        ImageError: there is no reading in the cube, or the hand is not before the camera.
    """
    u, v, d = (float(value) for value in centre)
    if not (np.isfinite([u, v, d]).all() and d > 0):
        raise ImageError(f"{name} has its hand {d:g} mm away, which no camera sees: leave it out or mend its labels")
    box = Crop.around(np.array([u, v]), CUBE * focal / d, size)
    near, far = d - CUBE / 2, d + CUBE / 2
    cut = box.cut(np.where((frame >= near) & (frame <= far), frame, 0).astype(np.uint16))
    if not cut.any():
        raise ImageError(
            f"{name} has no reading in the cube around ({u:.0f}, {v:.0f}) px at {d:.0f} mm: the hand lies outside the "
            f"frame of {frame.shape[1]}×{frame.shape[0]} px, or its centre is wrong; leave it out or mend its labels"
        )
    return cut, box


def joints_of(numbers: Sequence[str], joints: int, file: Path, frame: str) -> np.ndarray:
    """Return the numbers of a frame as (joints, 3) float64; `SourceError` where there are more or fewer."""
    if len(numbers) != joints * 3:
        raise SourceError(f"{file} has {len(numbers)} numbers for {frame}, where {joints} joints × 3 are due")
    return np.array(numbers, np.float32).reshape(joints, 3).astype(float)


def corresponding(*numbers: int | None) -> dict[str, int]:
    """Return the numbers of a data set's joints by name of `JOINTS`, given in that order; None where it has none."""
    return {name: number for name, number in zip(JOINTS, numbers, strict=True) if number is not None}
