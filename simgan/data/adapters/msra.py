"""`msra:DIR`: the MSRA hand gestures (Sun et al. 2015), nine persons' right hands, as they are distributed.

`P0/1/000000_depth.bin` holds six uint32 (width and height of the frame; left, top, right, bottom of a box) and the
float32 mm of the box. `P0/1/joint.txt` has the number of frames, then 21 joints a line, y up and z towards the camera.

They are the columns `own_joints` and `own_joints_mm`, as two of the usual 14 (the sides of the wrist) and the palm have
no counterpart: wrist, then MCP, PIP, DIP and tip of index, middle, ring, little finger and thumb. `CORRESPONDING` tells
which of them mean what 11 of the 14 do.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from simgan.data.adapters.hand_crop import Camera, hand_row
from simgan.data.columns import Row, features
from simgan.data.crop import Format, Size
from simgan.data.source import Source, folder_of, laid_out
from simgan.errors import ImageError, SourceError

CAMERA = Camera(focal=(241.42, 241.42), centre=(160.0, 120.0))
COUNT = 21
CORRESPONDING = {
    "little fingertip": 16,
    "little middle": 14,
    "ring tip": 12,
    "ring middle": 10,
    "middle tip": 8,
    "middle middle": 6,
    "index tip": 4,
    "index middle": 2,
    "thumb tip": 20,
    "thumb middle": 19,
    "thumb base": 18,
}
"""Names of `simgan.domains.hands.JOINTS` and the numbers of MSRA's joints: tips, PIPs, and the thumb's."""
LABELS = "joint.txt"
FEATURES = features("image", "own_joints", "own_joints_mm", "person", "file_name")

Task = tuple[Path, np.ndarray]


def open_msra(path: str, form: Format) -> Source:
    """List the frames of all persons and gestures; `DIR` is the folder that holds P0 … P8."""
    folder = folder_of(path, "msra")
    tasks: list[Task] = []
    for gesture in sorted({file.parent for file in folder.glob("P[0-9]*/*/*_depth.bin")}):
        joints = _joints(gesture / LABELS)
        for file in sorted(gesture.glob("*_depth.bin")):
            with laid_out(file, "MSRA's frames"):
                number = int(file.stem.removesuffix("_depth"))
            if number >= len(joints):
                raise SourceError(f"{gesture / LABELS} has joints of {len(joints)} frames, and none of {file.name}")
            tasks.append((file, joints[number]))
    if not tasks:
        raise SourceError(f"msra: {folder} has no P0/1/000000_depth.bin …; give the folder that holds P0")
    return Source(f"msra:{folder}", tasks, partial(_read, folder, form.hand_size), FEATURES)


def _joints(file: Path) -> np.ndarray:
    """Joints of a gesture's frames (N, 21, 3) in mm, y downwards and z away from the camera."""
    if not file.is_file():
        raise SourceError(f"msra: {file} is missing; it is distributed with the frames, put it beside them")
    with laid_out(file, "MSRA's joints"):
        count, *lines = file.read_text().splitlines()
        rows = [[float(number) for number in line.split()] for line in lines if line.strip()]
        if len(rows) != int(count):
            raise SourceError(f"{file} tells of {count} frames and has joints of {len(rows)}: take it anew")
        for number, row in enumerate(rows):
            if len(row) != COUNT * 3:
                raise SourceError(f"{file} has {len(row)} numbers for frame {number}, where {COUNT} joints × 3 are due")
        return np.array(rows, np.float32).reshape(-1, COUNT, 3) * np.array([1, -1, -1], np.float32)


def _read(folder: Path, size: Size, task: Task) -> list[Row]:
    path, joints = task
    frame = read_frame(path)
    with laid_out(f"{LABELS} at {path}", "MSRA's joints"):
        row = hand_row(frame, joints, CAMERA, size, str(path), "own_joints")
    name = path.relative_to(folder)
    return [row | {"person": name.parts[0], "file_name": name.with_suffix(".png").as_posix()}]


def read_frame(path: Path) -> np.ndarray:
    """Read a `_depth.bin` as a whole frame, uint16 (H, W) in mm, 0 outside of its box; else `ImageError`."""
    data = path.read_bytes()
    header = np.frombuffer(data[:24], "<u4") if len(data) >= 24 else np.zeros(6)
    wide, high, left, top, right, bottom = (int(number) for number in header)
    box = (bottom - top, right - left)
    if not (left < right <= wide <= 4096 and top < bottom <= high <= 4096) or len(data) != 24 + 4 * box[0] * box[1]:
        raise ImageError(f"{path} is no depth of MSRA's: {len(data)} bytes do not hold a box of {box[1]}×{box[0]} px")
    frame = np.zeros((high, wide), np.uint16)
    values = np.frombuffer(data[24:], "<f4").reshape(box)
    frame[top:bottom, left:right] = np.nan_to_num(values).clip(0, 65535).round()
    return frame
