"""`nyu:DIR`: the NYU Hand Pose Dataset (Tompson et al. 2014), `train` or `test` of it, as it is distributed.

`depth_K_NNNNNNN.png` are frames of Kinect K (1 is in front), `synthdepth_K_NNNNNNN.png` their synthetic pairs, 640×480;
green and blue hold the mm. `joint_data.mat` has 36 joints a frame, of which the usual 14 are taken; its y points up.
`nyu:DIR@synthetic` takes the pairs, with the same names and labels.
"""

from pathlib import Path

import numpy as np

from simgan.data.adapters.hands import Hand, Pinhole, hand_source
from simgan.data.crop import Format
from simgan.data.source import Source, folder_of, parsing, read_mat
from simgan.errors import ImageError, SourceError
from simgan.images.depth import unpack
from simgan.images.files import decode

KINECT = Pinhole(focal=(588.03, 587.07), centre=(320.0, 240.0))
SUBSET = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)
"""The numbers of `simgan.domains.hands.JOINTS` among the 36."""
SYNTHETIC = "@synthetic"
LABEL_FILE = "joint_data.mat"


def open_nyu(path: str, form: Format) -> Source:
    """List the frames, real or synthetic, of all Kinects that are there, with the joints of each."""
    folder = folder_of(path.removesuffix(SYNTHETIC), "nyu")
    kind = "synthdepth" if path.endswith(SYNTHETIC) else "depth"
    files = sorted(folder.glob(f"{kind}_[0-9]_*.png"))
    if not files:
        raise SourceError(f"nyu: {folder} has no {kind}_1_0000001.png …; give the folder train or test")
    if not (folder / LABEL_FILE).is_file():
        raise SourceError(f"nyu: {folder} has no {LABEL_FILE}; it is distributed with the frames, put it beside them")
    joints = _joints(folder / LABEL_FILE)
    hands: list[Hand] = []
    for file in files:
        with parsing(file, "NYU's frames"):
            kinect, number = (int(part) - 1 for part in file.stem.split("_")[1:])
        if not (0 <= kinect < len(joints) and 0 <= number < joints.shape[1]):
            views, frames = joints.shape[:2]
            raise SourceError(f"{folder / LABEL_FILE} has joints of {views} × {frames} frames, and none of {file.name}")
        hands.append((file, joints[kinect, number], {"file_name": file.name}))
    return hand_source(f"nyu:{path}", hands, _frame, form, KINECT, "joints")


def _joints(file: Path) -> np.ndarray:
    """Return the joints of all frames (Kinects, frames, 14, 3) in mm, y downwards."""
    content = read_mat(file, "NYU's joints", variable_names=["joint_xyz"])
    with parsing(file, "NYU's joints"):
        joints = content["joint_xyz"]
    if joints.ndim != 4 or joints.shape[2:] != (36, 3):
        raise SourceError(
            f"{file} has joint_xyz of shape {joints.shape}, where Kinects × frames × 36 joints × 3 are due: take the "
            "file that is distributed"
        )
    chosen: np.ndarray = joints[:, :, SUBSET].astype(np.float32) * np.array([1, -1, 1], np.float32)
    return chosen.astype(float)


def _frame(path: Path) -> np.ndarray:
    frame = decode(path)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ImageError(f"{path} is no depth of NYU's: a colour image of 8 bits holds the mm in green and blue")
    return unpack(frame)
