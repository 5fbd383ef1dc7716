"""Sources by name: the one place that knows which adapter reads what."""

import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from datasets import Dataset

from simgan.data import adapters
from simgan.data.columns import Row, as_dataset, features, image_cell
from simgan.data.crop import Wanted
from simgan.data.loader import Crops
from simgan.data.simulated import open_simulator
from simgan.data.source import Adapter, Source, draw, pick
from simgan.data.tables import is_table, open_folder, open_memory, open_table
from simgan.domains import DEFAULT
from simgan.domains.base import Size
from simgan.errors import ConfigError, SourceError
from simgan.simulators import SIMULATORS


def load(
    source: str,
    *,
    size: Size | None = DEFAULT.size,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    window: int = 0,
) -> Dataset:
    """Return a source, such as `folder:DIR` or a path, as a `datasets` data set of crops with their labels.

    Prepared data sets are mapped from their files. Other sources are read now and held in memory: prepare large ones.
    Columns are `image` (PNG bytes), `file_name`, `person`, and labels where the source has them, of the types that the
    registered domains give. Those in pixels have moved with the crop; those that follow from others are added.
    `SourceError` for an unknown or empty source or a broken label, `ImageError` for a broken image.

    Args:
        source: a kind and its place, or a prepared folder, a folder of images, a `.parquet` file.
        size: width and height of the crop; None leaves images of folders and tables as they are.
        channels: 1 makes crops grey; 3 keeps colours, and stores grey images as colour ones.
        limit: the largest number of images, drawn by `seed` and kept in order; a simulator renders 20,000 without one.
        seed: of the draw, and of a simulator.
        skip_bad: leave broken files out, and warn at the end with a list of them.
        window: squares of that side at random places of the images of a folder or a table, not whole images; 0: whole.
    """
    broken: list[str] | None = [] if skip_bad else None
    data = read(source, Wanted(size, channels, limit, seed, window=window), broken)
    if broken:
        warnings.warn(f"{source}: left out {len(broken)}: " + "; ".join(broken), stacklevel=2)
    return data


def read(source: str, wanted: Wanted, broken: list[str] | None = None) -> Dataset:
    """Return what is wanted of a source, mapped or in memory; errors of broken files go to the list if there is one."""
    found = open_source(source, wanted)
    if found.table is not None:
        return found.table if len(found.tasks) == len(found.table) else found.table.select(found.tasks)
    rows = draw(found.rows(broken), None if wanted.window else wanted.limit, wanted.seed)
    if not rows:
        raise SourceError(f"{source}: not one image could be read" + (f"; {broken[0]}" if broken else ""))
    return as_dataset(rows, found.features)


def open_source(source: str, wanted: Wanted) -> Source:
    """List what a source holds, without reading its images; `SourceError` or `ConfigError` if it cannot be opened."""
    kind, place = _kind(source)
    adapter = ADAPTERS.get(kind)
    if wanted.correction and not (adapter and adapter.from_frames):
        those = ", ".join(name for name, one in ADAPTERS.items() if one.from_frames)
        raise ConfigError(f"{source} is not cut from frames, so its crop cannot be corrected ({those} can)")
    found = adapter.open(place, wanted) if adapter else open_simulator(source, wanted)
    if wanted.window and found.look is None:
        raise ConfigError(f"{source} is not cut to windows: only images of folders and tables are")
    if found.single and wanted.limit is not None:
        drawn = pick(len(found.tasks), wanted.limit, wanted.seed)
        return replace(found, tasks=[found.tasks[number] for number in drawn])
    return found


def _kind(source: str) -> tuple[str, str]:
    """Return a source's kind and place; a path without a kind is a folder of images, or a table."""
    kind, colon, place = source.partition(":")
    if colon and (kind in ADAPTERS or any(name.startswith(f"{kind}:") for name in SIMULATORS)):
        return kind, place
    path = Path(source).expanduser()
    if is_table(source):
        return "hub", source
    if source and path.is_dir():
        return "folder", source
    usage = ", ".join([*(f"{name}:{adapter.usage}" for name, adapter in ADAPTERS.items()), *SIMULATORS])
    raise SourceError(f"{source!r} is neither a folder, a .parquet file nor a known source ({usage})")


def _open_shuffled(place: str, wanted: Wanted) -> Source:
    """Open another source's images with their pixels in random order, without labels: a control for refiners."""
    data = read(place, wanted)
    kept = [name for name in ("file_name", "person") if name in data.column_names]
    others: Iterable[Row] = data.select_columns(kept) if kept else [{}] * len(data)
    generator = np.random.default_rng(wanted.seed)
    rows = []
    for image, row in zip(Crops(data, channels=wanted.channels)[:], others, strict=True):
        pixels = image.reshape(image.shape[0] * image.shape[1], -1)
        rows.append(row | {"image": image_cell(generator.permutation(pixels).reshape(image.shape))})
    return Source(f"shuffled:{place}", rows, _as_it_is, features("image", *kept))


def _open_half(second: bool, place: str, wanted: Wanted) -> Source:
    """Open the first or the second half of another source in file order, of each class where it has a column `label`.

    Neighbours in file order look alike, so that a random half would hold near copies of the other half's images. The
    middle one of an odd number is in the second half.
    """
    found = open_source(place, replace(wanted, limit=None))
    classes = np.array(found.classes or [""] * len(found.tasks), dtype=str)
    chosen = []
    for name in np.unique(classes):
        tasks = np.flatnonzero(classes == name)
        if len(tasks) < 2:
            what = f"one image of the class {name}" if name else "one image"
            raise SourceError(f"{place} has only {what}, which cannot be halved: give at least 2")
        chosen.append(tasks[len(tasks) // 2 :] if second else tasks[: len(tasks) // 2])
    kept = [found.tasks[number] for number in np.sort(np.concatenate(chosen)).tolist()]
    return replace(found, name=f"{'second' if second else 'first'}-half:{place}", tasks=kept, classes=None)


def _as_it_is(row: Row) -> list[Row]:
    return [row]


ADAPTERS = {
    "folder": Adapter(open_folder, "DIR", from_frames=True),
    **adapters.ADAPTERS,
    "hub": Adapter(open_table, "ORG/NAME/CONFIG@SPLIT#COLUMN, of which ORG/NAME may do, or a folder saved to disk"),
    "memory": Adapter(open_memory, "NAME"),
    "shuffled": Adapter(_open_shuffled, "SOURCE"),
    "first-half": Adapter(partial(_open_half, False), "SOURCE"),
    "second-half": Adapter(partial(_open_half, True), "SOURCE"),
}
"""Adapters by the kind of source, what stands before the colon; add your own."""
