"""`icvl:DIR`: ICVL's hand postures (Tang et al. 2014), `Training` or `Testing` of it, as it is distributed.

`Depth/SEQUENCE/image_0000.png` are 16-bit frames of 320×240 in mm; a line of `labels.txt` (`test_seq_1.txt` and
`test_seq_2.txt` of `Testing`) is the name of one below `Depth`, then (u, v, d) of 16 joints in px and mm.

They become `own_joints` and `own_joints_mm`, as the sides of the wrist of the usual 14 are missing: palm, then root,
middle and tip of thumb, index, middle, ring and little finger.
"""

from pathlib import Path

import numpy as np

from simgan.data.adapters.hands import INTEL, Hand, corresponding, hand_source, joints_of
from simgan.data.crop import Format
from simgan.data.source import Source, folder_of, parsing
from simgan.errors import SourceError
from simgan.images.depth import check_depth
from simgan.images.files import decode

CORRESPONDING = corresponding(15, 14, 12, 11, 9, 8, 6, 5, 3, 2, 1, None, None, 0)
"""Numbers of the own joints that are among `simgan.domains.hands.JOINTS`."""
LABEL_FILES = ("labels.txt", "test_seq_*.txt")


def open_icvl(path: str, form: Format) -> Source:
    """List the frames that have labels; `DIR` is the folder that holds `Depth`."""
    folder = folder_of(path, "icvl")
    lists = sorted(file for name in LABEL_FILES for file in folder.glob(name))
    if not lists:
        raise SourceError(f"icvl: {folder} has no labels.txt (nor test_seq_1.txt); give the folder that holds Depth")
    hands = [_hand(folder, line, file) for file in lists for line in file.read_text().splitlines() if line.strip()]
    if not hands:
        raise SourceError(f"icvl: {lists[0]} is empty; it needs a line for each frame")
    return hand_source(f"icvl:{folder}", hands, _frame, form, INTEL, "own_joints")


def _hand(folder: Path, line: str, file: Path) -> Hand:
    with parsing(file, "ICVL's labels"):
        name, *numbers = line.split()
        joints = INTEL.lift(joints_of(numbers, 16, file, name))
        return folder / "Depth" / name, joints, {"file_name": name}


def _frame(path: Path) -> np.ndarray:
    frame = decode(path)
    check_depth(frame, str(path))
    return frame
