"""`syntheseyes:DIR` or a `.parquet` file of the same: SynthesEyes (Wood et al. 2015), 120×80 renders and landmarks.

The crop is MPIIGaze's. Its virtual camera (focal length 960 px, 600 mm away) and SynthesEyes' iris of about 32 px agree
with a box 94 px wide. So do the mean images of the two sets, whose cross-correlation also gives the centre.
"""

import pickle
from collections.abc import Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simgan.data.adapters.eyes import eye_row, labels_beside
from simgan.data.columns import Row, features
from simgan.data.crop import Format
from simgan.data.source import Source, parsing
from simgan.data.tables import decode
from simgan.errors import SourceError
from simgan.images.arrays import to_stored
from simgan.images.files import open_image

CROP_WIDTH = 94.0
"""Width of the crop in px of the 120×80 frame."""
CORNERS = (0, 6)
"""The nasal and the temporal corner among the landmarks of the lids."""
POINTS = ("pupil", "iris", "lids")
COLUMNS = ("image", "gaze", "pitch", "yaw", "head_rotation", *POINTS, "person", "file_name")


def open_syntheseyes(path: str, form: Format) -> Source:
    """List the images of the folder as it is distributed (a folder a person, PNG and pickle), or of a table of it.

    The table has columns image, person, look_vec, head_rotation, and pupil, iris, lids as flat lists x, y, x, y …
    Pickles are read without running what they contain: any name in them is refused.
    """
    place = Path(path).expanduser()
    name = f"syntheseyes:{place}"
    if place.suffix == ".parquet" and place.is_file():
        return Source(name, range(len(_table(place))), partial(_read_row, place, form), features(*COLUMNS))
    if not path or not place.is_dir():
        raise SourceError(f"syntheseyes: there is no folder or .parquet file {path!r}; give the path of one")
    files = sorted(place.rglob("*.png"))
    if not files:
        raise SourceError(f"syntheseyes: no PNG images below {place}; give the folder that holds f01, f02 …")
    return Source(name, files, partial(_read_file, place, form), features(*COLUMNS))


def _row(frame: np.ndarray, labels: Mapping[str, Any], form: Format, name: str) -> Row:
    pupil, iris, lids = (np.reshape(labels[key], (-1, 2)).astype(float) for key in POINTS)
    if len(lids) != 12:
        raise SourceError(f"{name} has {len(lids)} landmarks of the lids where SynthesEyes has 12")
    gaze, head = labels["look_vec"], labels["head_rotation"]
    row = eye_row(frame, form, CROP_WIDTH, CORNERS, lids=lids, iris=iris, pupil=pupil.mean(0), gaze=gaze, head=head)
    return row | {name: labels[name] for name in ("person", "file_name")}


def _read_file(folder: Path, form: Format, path: Path) -> list[Row]:
    beside = labels_beside(path, ".pkl")
    content, frame = _unpickle(beside), to_stored(open_image(path), str(path))
    with parsing(beside, "SynthesEyes' labels"):
        labels = {key: content["ldmks"][f"ldmks_{key}_2d"] for key in POINTS}
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
    except Exception as error:  # broken bytes can raise anything
        raise SourceError(f"{path} cannot be read as plain labels: {error}") from error


@lru_cache(maxsize=2)
def _table(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{path} cannot be read as a parquet file: {error}") from error
    needed = {"image", "person", "look_vec", "head_rotation", *POINTS}
    if missing := needed - set(table.column_names):
        raise SourceError(f"{path} is no table of SynthesEyes: it has no column {', '.join(sorted(missing))}")
    return table


def _read_row(path: Path, form: Format, number: int) -> list[Row]:
    labels = _table(path).slice(number, 1).to_pylist()[0]
    row = f"row {number} of {path}"
    frame = decode(labels["image"], row)
    with parsing(row, "SynthesEyes' labels"):
        name = labels["image"]["path"] or f"{path.stem}_{number:06}.png"
        return [_row(frame, labels | {"file_name": name}, form, name)]
