"""`unityeyes:DIR`: what UnityEyes (Wood et al. 2016) writes, 640×480 JPG files with a JSON of labels beside each.

Its landmarks are in px of the frame with y upwards; the frame's height turns them. The crop follows from geometry: an
iris of 11.7 mm is 18.7 px wide for MPIIGaze's virtual camera (focal length 960 px, 600 mm away). The longest diameter
of the projected iris is its width whatever way the eye looks, and UnityEyes' irises are `iris_size` × 11.7 mm wide,
which its landmarks, their depths and its camera 10 cm from the eyeball's centre agree on. So eyes of all persons come
out at one scale, and small irises stay small.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simgan.data.adapters.syntheseyes import OFFSET
from simgan.data.columns import Row, angles, features, image_cell
from simgan.data.crop import Crop, Format
from simgan.data.source import Source, folder_of, laid_out
from simgan.errors import SourceError
from simgan.images.arrays import to_stored
from simgan.images.files import open_image

IRIS = 11.7 * 960 / 600
"""Width in px of a crop 55 wide of an iris whose `iris_size` is 1."""
CORNERS = (0, 8)
"""The nasal and the temporal corner among the 16 landmarks of the interior margin."""
FEATURES = features("image", "gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids", "file_name")


def open_unityeyes(path: str, form: Format) -> Source:
    """List the JPG files below a folder; each needs the JSON of the same name beside it."""
    folder = folder_of(path, "unityeyes")
    files = sorted(file for suffix in ("*.jpg", "*.jpeg", "*.png") for file in folder.rglob(suffix))
    if not files:
        raise SourceError(f"unityeyes: no images below {folder}; give the folder that holds 1.jpg, 1.json …")
    return Source(f"unityeyes:{folder}", files, partial(_read, folder, form), FEATURES)


def _read(folder: Path, form: Format, path: Path) -> list[Row]:
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise SourceError(f"{path} has no labels: {beside.name} is missing beside it")
    frame = form.tones(to_stored(open_image(path), str(path)))
    with laid_out(beside, "UnityEyes' labels"):
        labels = json.loads(beside.read_text())
        lids, iris = (_points(labels[f"{name}_2d"], len(frame)) for name in ("interior_margin", "iris"))
        look = _numbers(labels["eye_details"]["look_vec"])[:3] * [1, -1, 1]  # y upwards there
        head = _rotation(_numbers(labels["head_pose"]))
        centre, diameter = _ellipse(iris)
        width = 55 * diameter / (IRIS * float(labels["eye_details"]["iris_size"]))
        corners = lids[list(CORNERS)].mean(0)
        middle = corners + np.array(OFFSET) * width / 55
        crop = Crop.around(middle, width, form.eye_size).corrected(form.correction)
        return [
            {
                "image": image_cell(crop.cut(frame)),
                **angles(look),
                "head_rotation": head.ravel().tolist(),
                "pupil": crop.move(centre).tolist(),
                "iris": crop.move(iris).tolist(),
                "lids": crop.move(lids).tolist(),
                "file_name": path.relative_to(folder).as_posix(),
            }
        ]


def _numbers(text: str) -> np.ndarray:
    return np.array([float(number) for number in text.strip("()").split(",")])


def _points(texts: list[str], height: int) -> np.ndarray:
    """Landmarks "(x, y, depth)" with y upwards from the frame's lower edge to (N, 2), y downwards."""
    points = np.array([_numbers(text)[:2] for text in texts])
    return np.stack([points[:, 0], height - points[:, 1]], 1) - 0.5  # whole numbers are pixel centres


def _ellipse(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre and longest diameter of the ellipse through landmarks of the limbus."""
    (x, y), axes, _ = cv2.fitEllipse(points.astype(np.float32))
    return np.array([x, y]), max(axes)


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) of the head as the camera sees it: identity where they face each other.

    UnityEyes turns the camera, not the head: its "head_pose" is the camera's pitch, yaw and roll in a world, y upwards,
    where the face looks along z. They face each other at a yaw of 180°.
    """
    pitch, yaw, roll = np.radians(degrees)
    turns: list[Any] = [cv2.Rodrigues(np.array(axis))[0] for axis in ([0, yaw, 0], [pitch, 0, 0], [0, 0, roll])]
    camera = turns[0] @ turns[1] @ turns[2]
    flip = np.diag([1.0, -1.0, 1.0])  # y downwards
    return flip @ camera.T @ np.diag([-1.0, 1.0, -1.0]) @ flip
