"""`icvl:DIR`: ICVL's hand postures (Tang et al. 2014), `Training` or `Testing` of it, as it is distributed.

`Depth/SEQUENCE/image_0000.png` are 16-bit frames of 320×240 in mm; a line of `labels.txt` (`test_seq_1.txt` and
`test_seq_2.txt` of `Testing`) is the name of one below `Depth`, then (u, v, d) of 16 joints in px and mm.

They are the columns `own_joints` and `own_joints_mm`, as the sides of the wrist, two of the usual 14, have no
counterpart: palm, then root, middle and tip of thumb, index, middle, ring and little finger. `CORRESPONDING` tells
which of them mean what 12 of the 14 do.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from simgan.data.adapters.hand_crop import Camera, hand_row
from simgan.data.columns import Row, features
from simgan.data.crop import Format, Size
from simgan.data.source import Source, folder_of, laid_out
from simgan.errors import SourceError
from simgan.images.depth import check_depth
from simgan.images.files import decode

CAMERA = Camera(focal=(241.42, 241.42), centre=(160.0, 120.0))
COUNT = 16
CORRESPONDING = {
    "little fingertip": 15,
    "little middle": 14,
    "ring tip": 12,
    "ring middle": 11,
    "middle tip": 9,
    "middle middle": 8,
    "index tip": 6,
    "index middle": 5,
    "thumb tip": 3,
    "thumb middle": 2,
    "thumb base": 1,
    "palm": 0,
}
"""Names of `simgan.domains.hands.JOINTS` and the numbers of the own joints that they are."""
LABELS = ("labels.txt", "test_seq_*.txt")
FEATURES = features("image", "own_joints", "own_joints_mm", "file_name")

Task = tuple[str, np.ndarray]


def open_icvl(path: str, form: Format) -> Source:
    """List the frames that have labels; `DIR` is the folder that holds `Depth`."""
    folder = folder_of(path, "icvl")
    lists = sorted(file for name in LABELS for file in folder.glob(name))
    if not lists:
        raise SourceError(f"icvl: {folder} has no labels.txt (nor test_seq_1.txt); give the folder that holds Depth")
    tasks = [_task(line, file) for file in lists for line in file.read_text().splitlines() if line.strip()]
    if not tasks:
        raise SourceError(f"icvl: {lists[0]} is empty; it needs a line for each frame")
    return Source(f"icvl:{folder}", tasks, partial(_read, folder, form.hand_size), FEATURES)


def _task(line: str, file: Path) -> Task:
    with laid_out(file, "ICVL's labels"):
        name, *numbers = line.split()
        if len(numbers) != COUNT * 3:
            raise SourceError(f"{file} has {len(numbers)} numbers for {name}, where {COUNT} joints × 3 are due")
        return name, np.array(numbers, np.float32).reshape(COUNT, 3)


def _read(folder: Path, size: Size, task: Task) -> list[Row]:
    name, joints = task
    path = folder / "Depth" / name
    frame = decode(path)
    check_depth(frame, str(path))
    with laid_out(f"the labels of {path}", "ICVL's labels"):
        return [hand_row(frame, CAMERA.lift(joints), CAMERA, size, str(path), "own_joints") | {"file_name": name}]
