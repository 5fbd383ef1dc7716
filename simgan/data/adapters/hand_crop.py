"""The crop around a hand in a depth frame: a cube of so many mm about its centre, seen by the camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simgan.data.columns import Row, image_cell
from simgan.data.crop import HANDS, Crop, Size
from simgan.errors import ImageError
from simgan.images.depth import CUBE


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: focal lengths and principal point in px whose whole numbers are pixel centres.

    Space is in mm: x right, y down, z away from the camera.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 3) in mm to (u, v, d): px and mm."""
        points = np.asarray(points, float)
        return np.concatenate([self.focal * points[..., :2] / points[..., 2:] + self.centre, points[..., 2:]], -1)

    def lift(self, points: np.ndarray) -> np.ndarray:
        """Points (u, v, d) to (x, y, z) in mm: the inverse of `project`."""
        points = np.asarray(points, float)
        flat = (points[..., :2] - np.array(self.centre)) * points[..., 2:] / np.array(self.focal)
        return np.concatenate([flat, points[..., 2:]], -1)


def middle(joints_mm: np.ndarray) -> np.ndarray:
    """Give the middle (3,) of the box around joints (N, 3) in mm, about which a hand is cropped."""
    joints = np.asarray(joints_mm, float)
    return (joints.min(0) + joints.max(0)) / 2


def crop_hand(
    frame: np.ndarray,
    centre: np.ndarray,
    focal: float,
    *,
    size: Size = HANDS,
    cube: float = CUBE,
    name: str = "the frame",
) -> tuple[np.ndarray, Crop]:
    """Cut a hand out of a depth frame, uint16 (H, W) in mm.

    Args:
        frame: 0 is no reading.
        centre: (u, v, d) of the hand in px and mm.
        focal: the camera's focal length in px: the box is cube · focal / d px wide.
        size: width and height of the crop.
        cube: side of the cube in mm; readings nearer or farther than d ± cube / 2 become 0.
        name: tells of the frame in errors.

    Returns:
        The crop, uint16 of the size, its pixels the nearest ones of the frame (0 outside), and the box, whose
        `move_labels` moves a row's joints with it.

    Raises:
        ImageError: the hand lies outside of the frame, or of what a camera sees.
    """
    u, v, d = (float(value) for value in centre)
    if not (np.isfinite([u, v, d]).all() and d > 0):
        raise ImageError(f"{name} has its hand {d:g} mm away, which no camera sees: leave it out or mend its labels")
    box = Crop.around(np.array([u, v]), cube * focal / d, size)
    near, far = d - cube / 2, d + cube / 2
    cut = box.cut(np.where((frame >= near) & (frame <= far), frame, 0).astype(np.uint16))
    if not cut.any():
        raise ImageError(
            f"{name} has no reading in the cube around ({u:.0f}, {v:.0f}) px at {d:.0f} mm: the hand lies outside the "
            f"frame of {frame.shape[1]}×{frame.shape[0]} px, or its centre is wrong; leave it out or mend its labels"
        )
    return cut, box


def hand_row(frame: np.ndarray, joints_mm: np.ndarray, camera: Camera, size: Size, name: str, prefix: str) -> Row:
    """Cut a hand about the middle of its joints (N, 3), and give image and joints, in px and mm, as columns of a row.

    `prefix` begins the names of the columns: "joints" are the 14 of every domain, "own_joints" those of the source.
    """
    centre = camera.project(middle(joints_mm))
    image, box = crop_hand(frame, centre, camera.focal[0], size=size, name=name)
    labels = {prefix: camera.project(joints_mm).tolist(), f"{prefix}_mm": np.asarray(joints_mm, float).tolist()}
    return {"image": image_cell(image)} | box.move_labels(labels)
