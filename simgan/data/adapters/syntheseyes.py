"""`syntheseyes:DIR` or a `.parquet` file of the same: SynthesEyes (Wood et al. 2015), 120×80 renders and landmarks.

The crop is MPIIGaze's: its virtual camera (focal length 960 px, 600 mm away) and SynthesEyes' iris of about 32 px
agree with a box 94 px wide, and so do the two sets' mean images, whose cross-correlation also gives the centre.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simgan.data.columns import Row, angles, features, image_cell
from simgan.data.crop import NONE, Correction, Crop, Format, Size
from simgan.data.source import Source, laid_out
from simgan.data.tables import decode
from simgan.errors import SourceError
from simgan.images.arrays import to_stored
from simgan.images.files import open_image

WIDTH = 94.0
"""Width of the crop in px of the 120×80 frame."""
OFFSET = (-2.0, -1.5)
"""From the midpoint of the eye's corners to the crop's centre, in px of a crop 55 wide."""
CORNERS = (0, 6)
"""The nasal and the temporal corner among the landmarks of the lids."""
FEATURES = features("image", "gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids", "person", "file_name")


def open_syntheseyes(path: str, form: Format) -> Source:
    """Read the folder as it is distributed (a folder a person, PNG and pickle), or a table of it.

    The table has columns image, person, look_vec, head_rotation, and pupil, iris, lids as flat lists x, y, x, y …
    Pickles are read without running what they contain: any name in them is refused.
    """
    place = Path(path).expanduser()
    if place.suffix == ".parquet" and place.is_file():
        return Source(f"syntheseyes:{place}", range(len(_table(place))), partial(_read_row, place, form), FEATURES)
    if not path or not place.is_dir():
        raise SourceError(f"syntheseyes: there is no folder or .parquet file {path!r}; give the path of one")
    files = sorted(place.rglob("*.png"))
    if not files:
        raise SourceError(f"syntheseyes: no PNG images below {place}; give the folder that holds f01, f02 …")
    return Source(f"syntheseyes:{place}", files, partial(_read_file, place, form), FEATURES)


def crop_of(lids: np.ndarray, size: Size, correction: Correction = NONE) -> Crop:
    """Box around landmarks (12, 2) of the lids."""
    centre = lids[list(CORNERS)].mean(0) + np.array(OFFSET) * (WIDTH / 55)
    return Crop.around(centre, WIDTH, size).corrected(correction)


def _row(frame: np.ndarray, labels: Mapping[str, Any], form: Format, name: str) -> Row:
    points = {key: np.reshape(labels[key], (-1, 2)).astype(float) for key in ("pupil", "iris", "lids")}
    if len(points["lids"]) != 12:
        raise SourceError(f"{name} has {len(points['lids'])} landmarks of the lids where SynthesEyes has 12")
    crop = crop_of(points["lids"], form.eye_size, form.correction)
    return {
        "image": image_cell(crop.cut(form.tones(frame))),
        **angles(labels["look_vec"]),
        "head_rotation": np.ravel(labels["head_rotation"]).tolist(),
        "pupil": crop.move(points["pupil"].mean(0)).tolist(),
        "iris": crop.move(points["iris"]).tolist(),
        "lids": crop.move(points["lids"]).tolist(),
        "person": labels["person"],
        "file_name": labels["file_name"],
    }


def _read_file(folder: Path, form: Format, path: Path) -> list[Row]:
    beside = path.with_suffix(".pkl")
    if not beside.is_file():
        raise SourceError(f"{path} has no labels: {beside.name} is missing beside it")
    content, frame = _unpickle(beside), to_stored(open_image(path), str(path))
    with laid_out(beside, "SynthesEyes' labels"):
        landmarks = content["ldmks"]
        labels = {key: landmarks[f"ldmks_{key}_2d"] for key in ("pupil", "iris", "lids")}
        labels |= {"look_vec": content["look_vec"], "head_rotation": content["head_pose"]}
        labels |= {"person": path.parent.name, "file_name": path.relative_to(folder).as_posix()}
        return [_row(frame, labels, form, str(beside))]


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dicts, strings and numbers. Whatever needs a name, such as a call, is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain labels do not need")


def _unpickle(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except Exception as error:  # whatever broken bytes tell the unpickler to do
        raise SourceError(f"{path} cannot be read as plain labels: {error}") from error


@lru_cache(maxsize=2)
def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as a parquet file: {error}") from error
    needed = {"image", "person", "look_vec", "head_rotation", "pupil", "iris", "lids"}
    if missing := needed - set(table.column_names):
        raise SourceError(f"{path} is no table of SynthesEyes: it has no column {', '.join(sorted(missing))}")
    return table


def _read_row(path: Path, form: Format, number: int) -> list[Row]:
    labels = _table(path).slice(number, 1).to_pylist()[0]
    row = f"row {number} of {path}"
    frame = decode(labels["image"], row)
    with laid_out(row, "SynthesEyes' labels"):
        name = labels["image"]["path"] or f"{path.stem}_{number:06}.png"
        return [_row(frame, labels | {"file_name": name}, form, name)]
