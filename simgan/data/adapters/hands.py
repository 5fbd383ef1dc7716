"""Data sets of hands as they are distributed: NYU, MSRA, ICVL. Crops are of a cube about the hand.

Columns, depth of 16 bits in mm with 0 = no reading: `joints`, the 14 of `simgan.domains.hands.JOINTS` as (u, v, d) in
pixels of the crop (whole numbers are pixel centres) and mm, and `joints_mm`, the same as (x, y, z) in mm (x right, y
down, z away from the camera). Sources with other joints have `own_joints` and `own_joints_mm` instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import Crop, Wanted
from simgan.data.source import Source, files_of, labels_beside, parsing
from simgan.domains.base import Size
from simgan.domains.hands import JOINTS, SIDE
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.images.depth import CUBE, check_depth, unpack
from simgan.images.files import decode


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera, in px whose whole numbers are pixel centres. Space in mm: x right, y down, z away from it."""

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


KINECT = Pinhole(focal=(588.03, 587.07), centre=(320.0, 240.0))
INTEL = Pinhole(focal=(241.42, 241.42), centre=(160.0, 120.0))  # the camera of MSRA and ICVL, 320×240
NYU_JOINTS = (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)
"""The numbers of `simgan.domains.hands.JOINTS` among NYU's 36."""
CORRESPONDING: dict[str, dict[str, int]] = {
    "msra": dict(zip(JOINTS[:11], (16, 14, 12, 10, 8, 6, 4, 2, 20, 19, 18), strict=True)),
    "icvl": dict(zip((*JOINTS[:11], JOINTS[13]), (15, 14, 12, 11, 9, 8, 6, 5, 3, 2, 1, 0), strict=True)),
}
"""By source and by name of a joint of `simgan.domains.hands.JOINTS`: its number among the source's own joints."""
SYNTHETIC = "@synthetic"
Hand = tuple[Path, np.ndarray, Row]  # a frame's file, its joints (N, 3) in mm, and further columns


def _source(
    name: str, hands: Sequence[Hand], wanted: Wanted, read: Callable[[Path], np.ndarray], pinhole: Pinhole, column: str
) -> Source:
    """Return the source of hands whose frames `read` returns, uint16 (H, W) in mm; `column`: joints or own_joints."""
    size = wanted.size or (SIDE, SIDE)
    if size[0] != size[1]:
        raise ConfigError(f"hands are cropped to squares, not to {size[0]}×{size[1]}: give a size such as 224×224")
    columns = features("image", column, f"{column}_mm", *hands[0][2])
    return Source(name, hands, partial(_read, wanted, read, pinhole, column), columns)


def _read(wanted: Wanted, read: Callable[[Path], np.ndarray], pinhole: Pinhole, column: str, hand: Hand) -> list[Row]:
    path, joints, others = hand
    frame = wanted.to_channels(read(path))
    with parsing(path, "frames with joints"):
        centre = pinhole.project((joints.min(0) + joints.max(0)) / 2)
        image, box = crop_hand(frame, centre, pinhole.focal[0], size=wanted.size or (SIDE, SIDE), name=str(path))
        labels = {column: pinhole.project(joints).tolist(), f"{column}_mm": joints.tolist()}
        return [{"image": image_cell(image)} | box.move_labels(labels) | others]


def crop_hand(
    frame: np.ndarray, centre: np.ndarray, focal: float, *, size: Size = (SIDE, SIDE), name: str = "the frame"
) -> tuple[np.ndarray, Crop]:
    """Cut a hand out of a depth frame, uint16 (H, W) in mm, 0 = no reading; `name` names it in errors.

    The box about `centre`, (u, v, d) in px and mm, is 300 mm · focal / d wide, with the camera's focal length in px.
    Readings nearer or farther than d ± 150 mm become 0. Returned are the crop, uint16 of that width and height, its
    pixels the nearest ones of the frame (0 outside), and the box, whose `move_labels` moves joints with it.
    `ImageError` where there is no reading in the cube, or the hand is not before the camera.
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


def _of_frame(joints: np.ndarray, place: tuple[int, ...], labels: Path, frame: Path) -> np.ndarray:
    """Return the joints at a place of (..., N, 3); `SourceError` where there is none."""
    frames = joints.shape[:-2]
    if not all(0 <= number < count for number, count in zip(place, frames, strict=True)):
        raise SourceError(f"{labels} has joints of {' × '.join(map(str, frames))} frames, and none of {frame.name}")
    return joints[place]


def _as_joints(numbers: np.ndarray, count: int, file: Path) -> np.ndarray:
    """Return the numbers of all frames, texts (N, count · 3), as (N, count, 3) float64; else `SourceError`."""
    if numbers.shape[1] != count * 3:
        raise SourceError(f"{file} has {numbers.shape[1]} numbers a frame, where {count} joints × 3 are due")
    return numbers.astype(np.float32).reshape(-1, count, 3).astype(float)


def open_nyu(path: str, wanted: Wanted) -> Source:
    """`nyu:DIR`: the NYU Hand Pose Dataset (Tompson et al. 2014), `train` or `test` of it.

    `depth_K_NNNNNNN.png` are frames of Kinect K (1 is in front), `synthdepth_K_NNNNNNN.png` their synthetic pairs,
    640×480; green and blue hold the mm. `joint_data.mat` has 36 joints a frame, of which the usual 14 are taken; its y
    points up. `nyu:DIR@synthetic` takes the pairs, with the same names and labels.
    """
    kind = "synthdepth" if path.endswith(SYNTHETIC) else "depth"
    missing = f"{kind}_1_0000001.png …; give the folder train or test"
    folder, files = files_of(path.removesuffix(SYNTHETIC), "nyu", [f"{kind}_[0-9]_*.png"], missing)
    labels = labels_beside(files[0], "joint_data.mat")
    with parsing(labels, "NYU's joints"):
        joints: Any = loadmat(labels, variable_names=["joint_xyz"])["joint_xyz"]
    if joints.ndim != 4 or joints.shape[2:] != (36, 3):
        raise SourceError(
            f"{labels} has joint_xyz of shape {joints.shape}, where Kinects × frames × 36 joints × 3 are due: take the "
            "file that is distributed"
        )
    joints = (joints[:, :, NYU_JOINTS].astype(np.float32) * np.array([1, -1, 1], np.float32)).astype(float)
    with parsing(folder, "NYU's frames"):
        places = [tuple(int(part) - 1 for part in file.stem.split("_")[1:]) for file in files]
        hands = [
            (file, _of_frame(joints, place, labels, file), {"file_name": file.name})
            for file, place in zip(files, places, strict=True)
        ]
    return _source(f"nyu:{path}", hands, wanted, _nyu_frame, KINECT, "joints")


def _nyu_frame(path: Path) -> np.ndarray:
    frame = decode(path)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ImageError(f"{path} is no depth of NYU's: a colour image of 8 bits holds the mm in green and blue")
    return unpack(frame)


def open_msra(path: str, wanted: Wanted) -> Source:
    """`msra:DIR`: the MSRA hand gestures (Sun et al. 2015), nine persons' right hands; `DIR` holds P0 … P8.

    `P0/1/joint.txt` has the number of frames, then 21 joints a line, y up and z towards the camera. They become
    `own_joints` and `own_joints_mm`, as the sides of the wrist and the palm of the usual 14 are missing: wrist, then
    MCP, PIP, DIP and tip of index, middle, ring, little finger and thumb.
    """
    missing = "P0/1/000000_depth.bin …; give the folder that holds P0"
    folder, files = files_of(path, "msra", ["P[0-9]*/*/*_depth.bin"], missing)
    joints = {
        gesture: _msra_joints(labels_beside(gesture / "_", "joint.txt")) for gesture in {file.parent for file in files}
    }
    hands = []
    for file in files:
        with parsing(file, "MSRA's frames"):
            place = (int(file.stem.removesuffix("_depth")),)
        name = file.relative_to(folder)
        columns = {"person": name.parts[0], "file_name": f"{name.with_suffix('.png')}"}
        hands.append((file, _of_frame(joints[file.parent], place, file.with_name("joint.txt"), file), columns))
    return _source(f"msra:{folder}", hands, wanted, _msra_frame, INTEL, "own_joints")


def _msra_joints(file: Path) -> np.ndarray:
    """Return the joints of a gesture's frames (N, 21, 3) in mm, y downwards and z away from the camera."""
    with parsing(file, "MSRA's joints"):
        return _as_joints(np.loadtxt(file, str, comments=None, skiprows=1, ndmin=2, encoding="utf-8"), 21, file) * [
            1,
            -1,
            -1,
        ]


def _msra_frame(path: Path) -> np.ndarray:
    """Return a `_depth.bin` as a whole frame, uint16 (H, W) in mm, 0 outside of its box; else `ImageError`.

    It holds six uint32 (width and height of the frame; left, top, right, bottom of a box) and the box's float32 mm.
    """
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


def open_icvl(path: str, wanted: Wanted) -> Source:
    """`icvl:DIR`: ICVL's hand postures (Tang et al. 2014), `Training` or `Testing` of it; `DIR` holds `Depth`.

    `Depth/SEQUENCE/image_0000.png` are 16-bit frames of 320×240 in mm; a line of `labels.txt` (`test_seq_1.txt` and
    `test_seq_2.txt` of `Testing`) is the name of one below `Depth`, then (u, v, d) of 16 joints in px and mm. They
    become `own_joints` and `own_joints_mm`, as the sides of the wrist of the usual 14 are missing: palm, then root,
    middle and tip of thumb, index, middle, ring and little finger.
    """
    missing = "labels.txt (nor test_seq_1.txt); give the folder that holds Depth"
    folder, lists = files_of(path, "icvl", ["labels.txt", "test_seq_*.txt"], missing)
    hands = []
    for file in lists:
        with parsing(file, "ICVL's labels"):
            lines = np.loadtxt(file, str, comments=None, ndmin=2, encoding="utf-8")
            joints = INTEL.lift(_as_joints(lines[:, 1:], 16, file))
            hands += [
                (folder / "Depth" / name, one, {"file_name": str(name)})
                for name, one in zip(lines[:, 0], joints, strict=True)
            ]
    return _source(f"icvl:{folder}", hands, wanted, _icvl_frame, INTEL, "own_joints")


def _icvl_frame(path: Path) -> np.ndarray:
    frame = decode(path)
    check_depth(frame, str(path))
    return frame
