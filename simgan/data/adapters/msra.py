"""`msra:DIR`: the MSRA hand gestures (Sun et al. 2015), nine persons' right hands, as they are distributed.

`P0/1/000000_depth.bin` holds six uint32 (width and height of the frame; left, top, right, bottom of a box) and the
float32 mm of the box. `P0/1/joint.txt` has the number of frames, then 21 joints a line, y up and z towards the camera.

They become `own_joints` and `own_joints_mm`, as the sides of the wrist and the palm of the usual 14 are missing: wrist,
then MCP, PIP, DIP and tip of index, middle, ring, little finger and thumb.
"""

from pathlib import Path

import numpy as np

from simgan.data.adapters.hands import INTEL, Hand, corresponding, hand_source, joints_of
from simgan.data.crop import Format
from simgan.data.source import Source, folder_of, parsing
from simgan.errors import ImageError, SourceError

CORRESPONDING = corresponding(16, 14, 12, 10, 8, 6, 4, 2, 20, 19, 18, None, None, None)
"""Numbers of the own joints that are among `simgan.domains.hands.JOINTS`: tips, PIPs, and those of the thumb."""
LABEL_FILE = "joint.txt"


def open_msra(path: str, form: Format) -> Source:
    """List the frames of all persons and gestures; `DIR` is the folder that holds P0 … P8."""
    folder = folder_of(path, "msra")
    hands: list[Hand] = []
    for gesture in sorted({file.parent for file in folder.glob("P[0-9]*/*/*_depth.bin")}):
        joints = _joints(gesture / LABEL_FILE)
        for file in sorted(gesture.glob("*_depth.bin")):
            with parsing(file, "MSRA's frames"):
                number = int(file.stem.removesuffix("_depth"))
            if number >= len(joints):
                raise SourceError(f"{gesture / LABEL_FILE} has joints of {len(joints)} frames, and none of {file.name}")
            name = file.relative_to(folder)
            hands.append((file, joints[number], {"person": name.parts[0], "file_name": f"{name.with_suffix('.png')}"}))
    if not hands:
        raise SourceError(f"msra: {folder} has no P0/1/000000_depth.bin …; give the folder that holds P0")
    return hand_source(f"msra:{folder}", hands, read_frame, form, INTEL, "own_joints")


def _joints(file: Path) -> np.ndarray:
    """Return the joints of a gesture's frames (N, 21, 3) in mm, y downwards and z away from the camera."""
    if not file.is_file():
        raise SourceError(f"msra: {file} is missing; it is distributed with the frames, put it beside them")
    with parsing(file, "MSRA's joints"):
        count, *lines = file.read_text().splitlines()
        rows = [line.split() for line in lines if line.strip()]
        if len(rows) != int(count):
            raise SourceError(f"{file} announces {count} frames and has joints of {len(rows)}: take it anew")
        return np.array([joints_of(row, 21, file, f"frame {n}") for n, row in enumerate(rows)]) * [1, -1, -1]


def read_frame(path: Path) -> np.ndarray:
    """Return a `_depth.bin` as a whole frame, uint16 (H, W) in mm, 0 outside of its box; else `ImageError`."""
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
