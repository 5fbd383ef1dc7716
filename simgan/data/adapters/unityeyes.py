"""`unityeyes:DIR`: what UnityEyes (Wood et al. 2016) writes, 640×480 JPG files with a JSON of labels beside each.

Its landmarks are in px of the frame with y upwards, so that the frame's height converts them. The crop follows from
geometry. An iris of 11.7 mm is 18.7 px wide for MPIIGaze's virtual camera (focal length 960 px, 600 mm away). The
longest diameter of the projected iris is its width whatever the gaze, and UnityEyes' irises are `iris_size` × 11.7 mm
wide; its landmarks, their depths, and its camera 10 cm from the eyeball's centre agree on that. So the eyes of all
persons have one scale, and small irises stay small.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simgan.data.adapters.eyes import eye_row, labels_beside
from simgan.data.columns import Row, features
from simgan.data.crop import Format
from simgan.data.source import Source, folder_of, parsing
from simgan.domains.eyes import WIDTH
from simgan.errors import SourceError
from simgan.images.arrays import to_stored
from simgan.images.files import open_image

IRIS_WIDTH = 11.7 * 960 / 600
"""Width in px of a crop 55 wide of an iris whose `iris_size` is 1."""
CORNERS = (0, 8)
"""The nasal and the temporal corner among the 16 landmarks of the interior margin."""
COLUMNS = ("image", "gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids", "file_name")


def open_unityeyes(path: str, form: Format) -> Source:
    """List the JPG files below a folder; each needs the JSON of the same name beside it."""
    folder = folder_of(path, "unityeyes")
    files = sorted(file for suffix in ("*.jpg", "*.jpeg", "*.png") for file in folder.rglob(suffix))
    if not files:
        raise SourceError(f"unityeyes: no images below {folder}; give the folder that holds 1.jpg, 1.json …")
    return Source(f"unityeyes:{folder}", files, partial(_read, folder, form), features(*COLUMNS))


def _read(folder: Path, form: Format, path: Path) -> list[Row]:
    beside = labels_beside(path, ".json")
    frame = to_stored(open_image(path), str(path))
    with parsing(beside, "UnityEyes' labels"):
        labels = json.loads(beside.read_text())
        lids, iris = (_points(labels[f"{name}_2d"], len(frame)) for name in ("interior_margin", "iris"))
        gaze = _numbers(labels["eye_details"]["look_vec"])[:3] * [1, -1, 1]  # y is upwards there
        (x, y), axes, _ = cv2.fitEllipse(iris.astype(np.float32))
        width = WIDTH * max(axes) / (IRIS_WIDTH * float(labels["eye_details"]["iris_size"]))
        head, pupil = _rotation(_numbers(labels["head_pose"])), np.array([x, y])
        row = eye_row(frame, form, width, CORNERS, lids=lids, iris=iris, pupil=pupil, gaze=gaze, head=head)
        return [row | {"file_name": path.relative_to(folder).as_posix()}]


def _numbers(text: str) -> np.ndarray:
    return np.array([float(number) for number in text.strip("()").split(",")])


def _points(texts: list[str], height: int) -> np.ndarray:
    """Return landmarks "(x, y, depth)" with y upwards from the frame's lower edge as (N, 2), y downwards."""
    points = np.array([_numbers(text)[:2] for text in texts])
    return np.stack([points[:, 0], height - points[:, 1]], 1) - 0.5  # whole numbers are pixel centres


def _rotation(degrees: np.ndarray) -> np.ndarray:
    """Return the rotation (3, 3) of the head in the camera's frame: identity where they face each other.

    UnityEyes turns the camera, not the head: its "head_pose" is the camera's pitch, yaw and roll in a world, y upwards,
    where the face looks along z. They face each other at a yaw of 180°.
    """
    pitch, yaw, roll = np.radians(degrees)
    turns: list[Any] = [cv2.Rodrigues(np.array(axis))[0] for axis in ([0, yaw, 0], [pitch, 0, 0], [0, 0, roll])]
    camera = turns[0] @ turns[1] @ turns[2]
    flip = np.diag([1.0, -1.0, 1.0])  # y downwards
    return flip @ camera.T @ np.diag([-1.0, 1.0, -1.0]) @ flip
