"""A name or a path becomes a data set: the one place that knows which adapter reads what."""

from __future__ import annotations

import warnings
from pathlib import Path

from datasets import Dataset

from simgan.data.adapters.icvl import open_icvl
from simgan.data.adapters.mpiigaze import open_mpiigaze
from simgan.data.adapters.msra import open_msra
from simgan.data.adapters.nyu import open_nyu
from simgan.data.adapters.syntheseyes import open_syntheseyes
from simgan.data.adapters.unityeyes import open_unityeyes
from simgan.data.columns import as_dataset
from simgan.data.crop import EYES, NONE, Correction, Format, Size
from simgan.data.folder import open_folder
from simgan.data.shuffled import shuffled
from simgan.data.simulated import open_simulator
from simgan.data.source import Source, draw, pick
from simgan.data.tables import is_prepared, open_table
from simgan.errors import ConfigError, SourceError

KINDS = {
    "folder": "DIR",
    "unityeyes": "DIR",
    "syntheseyes": "DIR or FILE.parquet",
    "mpiigaze": "DIR or DIR@evaluation",
    "nyu": "DIR or DIR@synthetic",
    "msra": "DIR",
    "icvl": "DIR",
    "hub": "ORG/NAME, ORG/NAME@SPLIT or a folder saved to disk",
    "simulator": "eyes or simulator:hands",
    "camera": "eyes or camera:hands",
    "shuffled": "any of these",
}
ADAPTERS = {
    "folder": open_folder,
    "unityeyes": open_unityeyes,
    "syntheseyes": open_syntheseyes,
    "mpiigaze": open_mpiigaze,
    "nyu": open_nyu,
    "msra": open_msra,
    "icvl": open_icvl,
}
CUT = ("folder", "unityeyes", "syntheseyes")


def open_source(
    source: str,
    *,
    size: Size | None = EYES,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    correction: Correction = NONE,
    mapped: bool = True,
) -> Dataset | Source:
    """Find out what a source is and list what it holds, without reading its images; arguments as for `load`.

    `correction` changes every crop of a source that is cut from frames; one that is no frames is a `ConfigError`.
    Not `mapped`: a table whose images have the size already becomes a `Source` as well, so that each row is read.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"a limit of {limit} leaves nothing: give at least 1, or none")
    if seed < 0:
        raise ConfigError(f"a seed is a whole number from 0 on, not {seed}")
    form = Format(size, channels, correction)
    kind, place = _kind(source)
    if correction != NONE and kind not in CUT:
        raise ConfigError(f"{source} is not cut from frames, so its crop cannot be corrected ({', '.join(CUT)} can)")
    if kind in ADAPTERS:
        return ADAPTERS[kind](place, form)
    if kind == "shuffled":
        return shuffled(load(place, size=size, channels=channels, limit=limit, seed=seed), channels=channels, seed=seed)
    if kind == "hub":
        return open_table(place, form, mapped=mapped)
    return open_simulator(source, form, limit, seed)


def _kind(source: str) -> tuple[str, str]:
    """Tell a source's kind and its place; a path without a kind is a folder of images, or a table."""
    kind, colon, place = source.partition(":")
    if colon and kind in KINDS:
        return kind, place
    path = Path(source).expanduser()
    if source and path.is_dir():
        return "hub" if is_prepared(path) else "folder", source
    if path.suffix == ".parquet" and path.is_file():
        return "hub", source
    known = ", ".join(f"{kind}:{place}" for kind, place in KINDS.items())
    raise SourceError(f"{source!r} is neither a folder, a .parquet file nor a known source ({known})")


def load(
    source: str,
    *,
    size: Size | None = EYES,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Dataset:
    """Give a source as a `datasets` data set of crops with their labels.

    What was prepared is mapped from its files; anything else is read now, and held in memory: prepare what is large.

    Args:
        source: a kind and its place (`KINDS`), or a path: a prepared folder, a folder of images, a `.parquet` file.
        size: width and height of the crop; None leaves images of folders and tables as they are.
        channels: 1 makes crops grey; 3 keeps colours, and stores grey images as colour ones.
        limit: how many images at most, drawn by `seed` and kept in order; simulators give as many (20,000 without).
        seed: fixes the draw, and a simulator's world.
        skip_bad: goes on after a broken file, and warns at the end with a list of them.

    Returns:
        Columns `image` (PNG bytes), `file_name`, and those of the following that the source has a value for: `gaze`
        (unit vector: x right and y down in the image, z away from the camera), `pitch` and `yaw` in radians with
        gaze = (−cos p sin y, −sin p, −cos p cos y), `head_rotation` (3×3, row by row), `pupil` (x, y), `iris` and
        `lids` (lists of (x, y)) in pixels of the crop whose whole numbers are pixel centres, `person`. Of hands,
        depth in mm, 0 = no reading, `image` has 16 bits; `joints` are the 14 of `simgan.domains.hands.JOINTS` as
        (u, v, d) in such pixels and mm, `joints_mm` the same as (x, y, z) in mm (x right, y down, z away from the
        camera). Sources whose joints are others have `own_joints` and `own_joints_mm` instead; their adapters say
        which is which.

    Raises:
        SourceError: the source is unknown, empty, or a label is broken. ImageError: an image is broken.
    """
    found = open_source(source, size=size, channels=channels, limit=limit, seed=seed)
    if isinstance(found, Dataset):
        return found if limit is None or limit >= len(found) else found.select(pick(len(found), limit, seed))
    broken: list[str] | None = list(found.broken) if skip_bad else None
    tasks = found.tasks
    if found.single:
        tasks = [tasks[number] for number in pick(len(tasks), limit, seed)]
    rows = draw(found.rows(tasks, broken), limit, seed)
    if not rows:
        raise SourceError(f"{found.name}: not one image could be read" + (f"; {broken[0]}" if broken else ""))
    if broken:
        warnings.warn(f"{found.name}: left out {len(broken)}: " + "; ".join(broken), stacklevel=2)
    return as_dataset(rows, found.features)
