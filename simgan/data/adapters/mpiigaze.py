"""`mpiigaze:DIR`: MPIIGaze (Zhang et al. 2015), normalized eyes 60×36 with gaze and head pose, one .mat a day.

Right eyes are mirrored with their labels, so that all are left eyes. `mpiigaze:DIR@evaluation` takes those that the
lists of the Evaluation Subset name.
"""

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simgan.data.adapters.eyes import angles, eye_size
from simgan.data.columns import Row, features, image_cell, mirrored
from simgan.data.crop import Crop, Format
from simgan.data.source import Source, folder_of, parsing, read_mat
from simgan.errors import SourceError

COLUMNS = ("image", "gaze", "pitch", "yaw", "head_rotation", "person", "file_name")
NORMALIZED = Path("Data") / "Normalized"
LISTS = Path("Evaluation Subset") / "sample list for eye image"
EVALUATION = "@evaluation"
WHAT = "MPIIGaze's normalized data"

Chosen = dict[tuple[str, str], set[tuple[str, str]]]  # images (file, side) by (person, day)


def open_mpiigaze(path: str, form: Format) -> Source:
    """List the days of all persons; `DIR` is the folder that holds `Data/Normalized/p00/day01.mat` and so on."""
    folder = folder_of(path.removesuffix(EVALUATION), "mpiigaze")
    days = sorted((folder / NORMALIZED).glob("p*/day*.mat"))
    if not days:
        raise SourceError(f"mpiigaze: {folder} has no {NORMALIZED}/p00/day01.mat; give the folder that holds Data")
    chosen = _lists(folder) if path.endswith(EVALUATION) else None
    if chosen is not None:
        days = [day for day in days if (day.parent.name, day.stem) in chosen]
    return Source(f"mpiigaze:{path}", days, partial(_read, form, chosen), features(*COLUMNS), single=False)


def _lists(folder: Path) -> Chosen:
    """Return the images of the Evaluation Subset; lines are `day01/0005.jpg left`."""
    chosen: Chosen = {}
    for file in sorted((folder / LISTS).glob("p*.txt")):
        for line in filter(str.strip, file.read_text().splitlines()):
            try:
                name, side = line.split()
                day, image = name.split("/")
            except ValueError as error:
                raise SourceError(f"{file} has a line {line!r}; day01/0005.jpg left is expected") from error
            chosen.setdefault((file.stem, day), set()).add((image, side))
    if not chosen:
        raise SourceError(f"mpiigaze: {folder / LISTS} has no lists p00.txt …; take the whole set without {EVALUATION}")
    return chosen


def _read(form: Format, chosen: Chosen | None, day: Path) -> list[Row]:
    person = day.parent.name
    content = read_mat(day, WHAT, struct_as_record=False, squeeze_me=True)
    rows = []
    with parsing(day, WHAT):
        names = np.atleast_1d(content["filenames"])
        for side in ("left", "right"):
            eyes: Any = getattr(content["data"], side)
            images = np.asarray(eyes.image).reshape(len(names), 36, 60)
            gazes, poses = (np.asarray(values, float).reshape(len(names), 3) for values in (eyes.gaze, eyes.pose))
            for name, image, gaze, pose in zip(names, images, gazes, poses, strict=True):
                name = str(name).strip()
                if chosen is None or (name, side) in chosen[person, day.stem]:
                    file_name = f"{person}/{day.stem}/{Path(name).stem}_{side}.png"
                    rows.append(_row(image, gaze, pose, side, form) | {"person": person, "file_name": file_name})
    return rows


def _row(image: np.ndarray, gaze: np.ndarray, pose: np.ndarray, side: str, form: Format) -> Row:
    crop = Crop.fitting((image.shape[1], image.shape[0]), eye_size(form))
    labels: Row = {**angles(gaze), "head_rotation": cv2.Rodrigues(pose)[0].ravel().tolist()}
    if side == "right":
        image, labels = np.ascontiguousarray(image[:, ::-1]), mirrored(labels, image.shape[1])
    return {"image": image_cell(form.to_channels(crop.cut(image.astype(np.uint8)))), **labels}
