"""Photographs of many persons' eyes, in tables: webcam eyes that look across a screen, and pupils of BioID's faces.

Crops show left eyes, as those of `simgan.data.adapters.eyes` do; right eyes are mirrored with their labels. Crops stay
inside their photographs, because a repeated border does not look like an eye. A warning says what is left out.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from simgan.data.columns import Row, features, image_cell, mirrored
from simgan.data.crop import Crop, Wanted
from simgan.data.source import Source, parsing
from simgan.data.tables import decode_cell
from simgan.domains.eyes import HEIGHT, PUPIL_DISTANCE, WIDTH
from simgan.errors import ImageError, SourceError

FRAME = (96, 60)  # px


def open_webcam(path: str, wanted: Wanted) -> Source:
    """`webcam:FILE.parquet`: right eyes, each with the block across the screen that it looks at, 1 to 9 from the left.

    Columns image, width, height, person, distance, block. The label `across` is minus the block, as images are
    mirrored: a place in an order, no angle, which grows with yaw. A recording is a person at a distance. Photographs
    with fewer pixels than half a crop are left out: they show no eye. Crops are as high as photographs allow: `simgan
    prepare --align` finds scale and centre.
    """
    rows = _read_rows(path, "webcam", ("image", "width", "height", "person", "distance", "block"))
    with parsing(path, "tables of webcam eyes"):
        kept = [row for row in rows if row["width"] >= WIDTH // 2 and row["height"] >= HEIGHT // 2]
    _tell(f"webcam:{path}", len(rows) - len(kept), f"of less than {WIDTH // 2}×{HEIGHT // 2} px")
    columns = features("image", "across", "person", "recording", "file_name")
    return Source(f"webcam:{path}", kept, partial(_read_webcam, wanted), columns)


def _read_webcam(wanted: Wanted, row: Row) -> list[Row]:
    name = row["image"]["path"]
    frame = decode_cell(row["image"], name)
    crop = Crop.fitting((frame.shape[1], frame.shape[0]), wanted.size or (WIDTH, HEIGHT), cut=False)
    labels = {"across": row["block"], "person": row["person"], "recording": f"{row['person']} {row['distance']}"}
    return [_row(frame, crop, wanted, labels | {"file_name": name}, mirror=True)]


def open_bioid(path: str, wanted: Wanted) -> Source:
    """`bioid:FILE.parquet`: eyes of BioID's faces (Jesorsky et al. 2001), 96×60, their pupils set by hand.

    Columns image, bioid_index, eye (imgleft is a right one), pupil_x, pupil_y, and inter_pupil_px, the distance between
    both pupils, which gives the scale. The pupil lies as many px from the middle of the crop (55 px wide) as it does
    from that of its frame, up to 10 to either side and 6 up and down at random: pupils of renders spread as much, and
    nothing but the image tells where one is.
    """
    needed = ("image", "bioid_index", "eye", "pupil_x", "pupil_y", "inter_pupil_px")
    rows = _read_rows(path, "bioid", needed)
    with parsing(path, "tables of BioID's eyes"):
        inside = [row for row in rows if (crop := _bioid_crop(row, wanted)).within(FRAME) == crop]
    _tell(f"bioid:{path}", len(rows) - len(inside), "whose crop is larger than what is there of the photograph")
    columns = features("image", "pupil", "file_name")
    return Source(f"bioid:{path}", inside, partial(_read_bioid, wanted), columns)


def _read_bioid(wanted: Wanted, row: Row) -> list[Row]:
    name = f"{row['bioid_index']:04}_{row['eye']}.png"
    labels = {"pupil": [row["pupil_x"], row["pupil_y"]], "file_name": name}
    frame = decode_cell(row["image"], name)
    if frame.shape[1::-1] != FRAME:
        raise ImageError(f"{name} is {frame.shape[1]}×{frame.shape[0]} px, not {FRAME[0]}×{FRAME[1]} as its labels are")
    return [_row(frame, _bioid_crop(row, wanted), wanted, labels, mirror=row["eye"] == "imgleft")]


def _bioid_crop(row: Row, wanted: Wanted) -> Crop:
    scale = row["inter_pupil_px"] / PUPIL_DISTANCE  # px of the frame for one of a crop 55 wide
    pupil = np.array([row["pupil_x"], row["pupil_y"]], float)
    centre = pupil + scale * ((np.array(FRAME) - 1) / 2 - pupil)
    return Crop.around(centre, WIDTH * scale, wanted.size or (WIDTH, HEIGHT))


def _row(frame: np.ndarray, crop: Crop, wanted: Wanted, labels: Row, *, mirror: bool) -> Row:
    """Cut an eye out of its photograph, and return its image and labels as those of a left one."""
    crop = crop.corrected(wanted.correction).within((frame.shape[1], frame.shape[0]))
    image, labels = crop.cut(wanted.to_channels(frame)), crop.move_labels(labels)
    if mirror:
        image, labels = np.ascontiguousarray(image[:, ::-1]), mirrored(labels, image.shape[1])
    return labels | {"image": image_cell(image)}


def _read_rows(path: str, kind: str, needed: tuple[str, ...]) -> list[Row]:
    place = Path(path).expanduser()
    if not place.is_file():
        raise SourceError(f"{kind}: there is no file {path!r}; give a .parquet file")
    with parsing(place, "parquet files"):
        table = pq.read_table(place)
    if missing := [name for name in needed if name not in table.column_names]:
        raise SourceError(f"{place} is no table of {kind}: it has no column {', '.join(missing)}")
    rows: list[Row] = table.to_pylist()
    return rows


def _tell(source: str, count: int, which: str) -> None:
    if count:
        warnings.warn(f"{source}: left out {count} {which}", stacklevel=3)
