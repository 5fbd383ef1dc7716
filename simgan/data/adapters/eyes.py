"""Data sets of eyes as they are distributed: UnityEyes, SynthesEyes, MPIIGaze.

Columns: `gaze` (unit vector: x right and y down in the image, z away from the camera), `pitch` and `yaw` in radians
with gaze = (−cos p sin y, −sin p, −cos p cos y), `head_rotation` (3×3, row by row), and in pixels of the crop (whole
numbers are pixel centres) `pupil` (x, y), `iris` and `lids`, lists of (x, y).

Crops are as MPIIGaze's, whose virtual camera has a focal length of 960 px and is 600 mm away. The crop of UnityEyes
follows from geometry: an iris of 11.7 mm is 18.7 px wide for that camera. The longest diameter of the projected iris is
its width whatever the gaze, and UnityEyes' irises are `iris_size` × 11.7 mm wide; its landmarks, their depths, and its
camera 10 cm from the eyeball's centre agree on that. So the eyes of all persons have one scale, and small irises stay
small. SynthesEyes' iris of about 32 px agrees with a box 94 px wide. So do the mean images of SynthesEyes and
MPIIGaze, whose cross-correlation also gives the centre.
"""

import json
import pickle
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import loadmat

from simgan.data.columns import Row, features, image_cell, mirrored
from simgan.data.crop import Crop, Wanted
from simgan.data.source import Source, files_of, labels_beside, parsing
from simgan.data.tables import decode_cell
from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.errors import SourceError
from simgan.images.arrays import to_stored
from simgan.images.files import open_image
from simgan.images.names import decode_text

OFFSET = (-2.0, -1.5)  # from the midpoint of the eye's corners to the crop's centre, in px of a crop 55 wide
IRIS_WIDTH = 11.7 * 960 / 600  # width in px of a crop 55 wide of an iris of UnityEyes whose `iris_size` is 1
CROP_WIDTH = 94.0  # width of the crop in px of SynthesEyes' 120×80 frame
UNITYEYES_CORNERS, SYNTHESEYES_CORNERS = (0, 8), (0, 6)
"""The nasal and the temporal corner among the landmarks of the lids."""
POINTS = ("pupil", "iris", "lids")
COLUMNS = ("image", "gaze", "pitch", "yaw", "head_rotation")

NORMALIZED = Path("Data") / "Normalized"
LISTS = Path("Evaluation Subset") / "sample list for eye image"
EVALUATION = "@evaluation"


def _angles(gaze: Iterable[float]) -> Row:
    """Return the labels gaze, pitch and yaw of a vector of any length from the eye to what it looks at."""
    vector = np.asarray(list(gaze), float)
    x, y, z = vector / np.linalg.norm(vector)
    return {"gaze": [x, y, z], "pitch": float(np.arcsin(-y)), "yaw": float(np.arctan2(-x, -z))}


def _row(frame: np.ndarray, wanted: Wanted, width: float, corners: tuple[int, int], labels: Row) -> Row:
    """Cut an eye out of a frame, and return its image and labels.

    `width` is that of the crop in px of the frame, `corners` are among the landmarks `lids` (N, 2). Landmarks of the
    labels are in px of the frame.
    """
    centre = labels["lids"][list(corners)].mean(0) + np.array(OFFSET) * width / WIDTH
    crop = Crop.around(centre, width, wanted.size or (WIDTH, HEIGHT)).corrected(wanted.correction)
    return {"image": image_cell(crop.cut(wanted.to_channels(frame)))} | crop.move_labels(labels)


def open_unityeyes(path: str, wanted: Wanted) -> Source:
    """`unityeyes:DIR` (Wood et al. 2016): 640×480 JPG files, each with a JSON of landmarks in px, y upwards."""
    missing = "images below it; give the folder that holds 1.jpg, 1.json …"
    folder, files = files_of(path, "unityeyes", ["**/*.jpg", "**/*.jpeg", "**/*.png"], missing)
    columns = features(*COLUMNS, *POINTS, "file_name")
    return Source(f"unityeyes:{folder}", files, partial(_read_unityeyes, folder, wanted), columns)


def _read_unityeyes(folder: Path, wanted: Wanted, path: Path) -> list[Row]:
    beside = labels_beside(path, f"{path.stem}.json")
    frame = to_stored(open_image(path), str(path))
    with parsing(beside, "UnityEyes' labels"):
        labels = json.loads(decode_text(beside.read_bytes()))
        # "(x, y, depth)" with y upwards from the frame's lower edge; whole numbers become pixel centres
        points = [
            np.array([_numbers(text)[:2] for text in labels[f"{name}_2d"]]) for name in ("interior_margin", "iris")
        ]
        lids, iris = (np.stack([one[:, 0], len(frame) - one[:, 1]], 1) - 0.5 for one in points)
        gaze = _numbers(labels["eye_details"]["look_vec"])[:3] * [1, -1, 1]  # y is upwards there
        (x, y), axes, _ = cv2.fitEllipse(iris.astype(np.float32))
        width = WIDTH * max(axes) / (IRIS_WIDTH * float(_numbers(str(labels["eye_details"]["iris_size"]))[0]))
        row = _angles(gaze) | {"lids": lids, "iris": iris, "pupil": np.array([x, y])}
        row |= {"head_rotation": _rotation(_numbers(labels["head_pose"])).ravel().tolist()}
        row |= {"file_name": path.relative_to(folder).as_posix()}
        return [_row(frame, wanted, width, UNITYEYES_CORNERS, row)]


def _numbers(text: str) -> np.ndarray:
    """Return the numbers of "(1.5, 2)", or "(1,5, 2)" as written where commas are decimal ones."""
    text = text.strip("() ")
    separator = r"\s*,\s*" if "." in text or not re.search(r",\S", text) else r",\s+"
    return np.array([float(number.replace(",", ".")) for number in re.split(separator, text)])


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


def open_syntheseyes(path: str, wanted: Wanted) -> Source:
    """`syntheseyes:DIR` or a `.parquet` file of the same: SynthesEyes (Wood et al. 2015), 120×80 renders and landmarks.

    A folder is as it is distributed: a folder a person, PNG and pickle. A table has columns image, person, look_vec,
    head_rotation, and pupil, iris, lids as flat lists x, y, x, y … Pickles are read without running what they contain:
    any name in them is refused.
    """
    place = Path(path).expanduser()
    columns = features(*COLUMNS, *POINTS, "person", "file_name")
    if place.suffix.lower() == ".parquet" and place.is_file():
        rows = range(len(_syntheseyes_table(place)))
        return Source(f"syntheseyes:{place}", rows, partial(_read_syntheseyes_row, place, wanted), columns)
    missing = "PNG images below it; give the folder that holds f01, f02 …"
    folder, files = files_of(path, "syntheseyes", ["**/*.png"], missing)
    return Source(f"syntheseyes:{folder}", files, partial(_read_syntheseyes, folder, wanted), columns)


def _syntheseyes_row(frame: np.ndarray, labels: Mapping[str, Any], wanted: Wanted) -> Row:
    pupil, iris, lids = (np.reshape(labels[key], (-1, 2)).astype(float) for key in POINTS)
    if len(lids) != 12:
        raise ValueError(f"{len(lids)} landmarks of the lids instead of 12")
    row = _angles(labels["look_vec"]) | {"lids": lids, "iris": iris, "pupil": pupil.mean(0)}
    row |= {"head_rotation": np.ravel(labels["head_rotation"]).tolist()}
    return _row(frame, wanted, CROP_WIDTH, SYNTHESEYES_CORNERS, row)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and numbers. Whatever needs a name, such as a call, is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain labels do not need")


def _read_syntheseyes(folder: Path, wanted: Wanted, path: Path) -> list[Row]:
    beside = labels_beside(path, f"{path.stem}.pkl")
    frame = to_stored(open_image(path), str(path))
    with parsing(beside, "SynthesEyes' labels"), beside.open("rb") as file:
        content = _PlainUnpickler(file).load()
        labels = {key: content["ldmks"][f"ldmks_{key}_2d"] for key in POINTS}
        labels |= {"look_vec": content["look_vec"], "head_rotation": content["head_pose"]}
        row = _syntheseyes_row(frame, labels, wanted)
    return [row | {"person": path.parent.name, "file_name": path.relative_to(folder).as_posix()}]


@lru_cache(maxsize=2)
def _syntheseyes_table(path: Path) -> pa.Table:
    with parsing(path, "parquet files"):
        table = pq.read_table(path)
    needed = {"image", "person", "look_vec", "head_rotation", *POINTS}
    if missing := needed - set(table.column_names):
        raise SourceError(f"{path} is no table of SynthesEyes: it has no column {', '.join(sorted(missing))}")
    return table


def _read_syntheseyes_row(path: Path, wanted: Wanted, number: int) -> list[Row]:
    labels = _syntheseyes_table(path).slice(number, 1).to_pylist()[0]
    where = f"row {number} of {path}"
    frame = decode_cell(labels["image"], where)
    with parsing(where, "SynthesEyes' labels"):
        name = labels["image"]["path"] or f"{path.stem}_{number:06}.png"
        return [_syntheseyes_row(frame, labels, wanted) | {"person": labels["person"], "file_name": name}]


def open_mpiigaze(path: str, wanted: Wanted) -> Source:
    """`mpiigaze:DIR`: MPIIGaze (Zhang et al. 2015), normalized eyes 60×36 with gaze and head pose, one .mat a day.

    Right eyes are mirrored with their labels, so that all are left eyes. `mpiigaze:DIR@evaluation` takes those that the
    lists of the Evaluation Subset name; `SourceError` where some of them are not there.
    """
    missing = f"{NORMALIZED}/p00/day01.mat; give the folder that holds Data"
    folder, days = files_of(path.removesuffix(EVALUATION), "mpiigaze", [f"{NORMALIZED}/p*/day*.mat"], missing)
    chosen = _mpiigaze_lists(folder) if path.endswith(EVALUATION) else None
    if chosen is not None:
        listed = {name.rpartition("/")[0] for name in chosen}
        days = [day for day in days if f"{day.parent.name}/{day.stem}" in listed]
        if lost := sorted(chosen.difference(name for day in days for name in _mpiigaze_names(day))):
            raise SourceError(
                f"{folder} lacks {len(lost):,} of the {len(chosen):,} images that {LISTS} names, such as {lost[0]}: "
                "download or unpack it again, or take out the lists of those that are not there"
            )
    columns = features(*COLUMNS, "person", "recording", "file_name")
    return Source(f"mpiigaze:{path}", days, partial(_read_mpiigaze, wanted, chosen), columns, single=False)


def _mpiigaze_names(day: Path) -> list[str]:
    """Return the `file_name` of all images of a day."""
    with parsing(day, "MPIIGaze's normalized data"):
        names = np.atleast_1d(loadmat(day, squeeze_me=True, variable_names=["filenames"])["filenames"])
    return [_mpiigaze_name(day, name, side) for name in names for side in ("left", "right")]


def _mpiigaze_name(day: Path, name: str, side: str) -> str:
    return f"{day.parent.name}/{day.stem}/{Path(str(name).strip()).stem}_{side}.png"


def _mpiigaze_lists(folder: Path) -> set[str]:
    """Return the `file_name` of all images of the Evaluation Subset; lines are `day01/0005.jpg left`."""
    missing = f"{LISTS}/p00.txt …; take the whole set without {EVALUATION}"
    chosen = set()
    for file in files_of(str(folder), "mpiigaze", [f"{LISTS}/p*.txt"], missing)[1]:
        with parsing(file, "MPIIGaze's lists"):
            text = decode_text(file.read_bytes())
        for line in filter(str.strip, text.splitlines()):
            try:
                name, side = line.split()
                day, image = name.split("/")
            except ValueError as error:
                raise SourceError(f"{file} has a line {line!r}; day01/0005.jpg left is expected") from error
            chosen.add(f"{file.stem}/{day}/{Path(image).stem}_{side}.png")
    return chosen


def _read_mpiigaze(wanted: Wanted, chosen: set[str] | None, day: Path) -> list[Row]:
    person, recording, rows = day.parent.name, f"{day.parent.name} {day.stem}", []
    with parsing(day, "MPIIGaze's normalized data"):
        content = loadmat(day, struct_as_record=False, squeeze_me=True)
        names = np.atleast_1d(content["filenames"])
        for side in ("left", "right"):
            eyes: Any = getattr(content["data"], side)
            images = np.asarray(eyes.image).reshape(len(names), 36, 60).astype(np.uint8)
            gazes, poses = (np.asarray(values, float).reshape(len(names), 3) for values in (eyes.gaze, eyes.pose))
            crop = Crop.fitting((60, 36), wanted.size or (WIDTH, HEIGHT))
            for name, image, gaze, pose in zip(names, images, gazes, poses, strict=True):
                file_name = _mpiigaze_name(day, name, side)
                if chosen is not None and file_name not in chosen:
                    continue
                labels: Row = {**_angles(gaze), "head_rotation": cv2.Rodrigues(pose)[0].ravel().tolist()}
                if side == "right":
                    image, labels = np.ascontiguousarray(image[:, ::-1]), mirrored(labels, 60)
                cell = image_cell(wanted.to_channels(crop.cut(image)))
                rows.append({"image": cell, **labels, "person": person, "recording": recording, "file_name": file_name})
    return rows
