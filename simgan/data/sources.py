"""Sources by name: the one place that knows which adapter reads what."""

import warnings
from pathlib import Path

from datasets import Dataset

from simgan.data.adapters import ADAPTERS
from simgan.data.columns import as_dataset
from simgan.data.crop import NONE, Correction, Format
from simgan.data.folder import open_folder
from simgan.data.shuffled import shuffled
from simgan.data.simulated import open_simulator
from simgan.data.source import Adapter, Source, draw, pick
from simgan.data.tables import is_prepared, open_table
from simgan.domains import DEFAULT
from simgan.domains.base import Size
from simgan.errors import ConfigError, SourceError
from simgan.simulators import SIMULATORS

_ADAPTERS = {"folder": Adapter(open_folder, "DIR", from_frames=True)} | ADAPTERS
_SIMULATED = {name.partition(":")[0] for name in SIMULATORS}
_KINDS = {*_ADAPTERS, *_SIMULATED, "hub", "shuffled"}


def open_source(
    source: str,
    *,
    size: Size | None = DEFAULT.size,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    correction: Correction = NONE,
    mapped: bool = True,
) -> Dataset | Source:
    """Open a source and list what it holds, without reading its images; arguments as for `load`.

    `correction` changes every crop of a source that is cut from frames; `ConfigError` for other sources. Not `mapped`:
    a table whose images have the size already is returned as a `Source`, too, so that each row is read.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"a limit of {limit} leaves nothing: give at least 1, or none")
    if seed < 0:
        raise ConfigError(f"a seed is a whole number from 0 on, not {seed}")
    form = Format(size, channels, correction)
    kind, place = _kind(source)
    adapter = _ADAPTERS.get(kind)
    if correction != NONE and not (adapter and adapter.from_frames):
        those = ", ".join(name for name, one in _ADAPTERS.items() if one.from_frames)
        raise ConfigError(f"{source} is not cut from frames, so its crop cannot be corrected ({those} can)")
    if adapter:
        return adapter.open(place, form)
    if kind == "shuffled":
        return shuffled(load(place, size=size, channels=channels, limit=limit, seed=seed), channels=channels, seed=seed)
    if kind == "hub":
        return open_table(place, form, mapped=mapped)
    return open_simulator(source, form, limit, seed)


def _kind(source: str) -> tuple[str, str]:
    """Return a source's kind and place; a path without a kind is a folder of images, or a table."""
    kind, colon, place = source.partition(":")
    if colon and kind in _KINDS:
        return kind, place
    path = Path(source).expanduser()
    if source and path.is_dir():
        return "hub" if is_prepared(path) else "folder", source
    if path.suffix == ".parquet" and path.is_file():
        return "hub", source
    usage = [f"{name}:{adapter.usage}" for name, adapter in _ADAPTERS.items()]
    usage += ["hub:ORG/NAME, ORG/NAME@SPLIT or a folder saved to disk", *SIMULATORS, "shuffled: and any of these"]
    raise SourceError(f"{source!r} is neither a folder, a .parquet file nor a known source ({', '.join(usage)})")


def load(
    source: str,
    *,
    size: Size | None = DEFAULT.size,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
) -> Dataset:
    """Return a source as a `datasets` data set of crops with their labels.

    Prepared data sets are mapped from their files. Other sources are read now and held in memory: prepare large ones.

    Args:
        source: a kind and its place, such as `folder:DIR`, or a path: a prepared folder, a folder of images, a
            `.parquet` file. An unknown kind raises an error that lists all.
        size: width and height of the crop; None leaves images of folders and tables as they are.
        channels: 1 makes crops grey; 3 keeps colours, and stores grey images as colour ones.
        limit: the largest number of images, drawn by `seed` and kept in order; simulators render this number (20,000
            without).
        seed: of the draw, and of a simulator.
        skip_bad: leave broken files out, and warn at the end with a list of them.

    Returns:
        Columns `image` (PNG bytes), `file_name`, `person` and labels where the source has them. Labels of the
        registered domains have the types that these give (`simgan.data.adapters` lists those that ship); those in
        pixels have moved with the crop. Where labels can be computed from others, they are added.

    Raises:
        SourceError: the source is unknown, empty, or a label is broken. ImageError: an image is broken.
    """
    found = open_source(source, size=size, channels=channels, limit=limit, seed=seed)
    if isinstance(found, Dataset):
        return found if limit is None or limit >= len(found) else found.select(pick(len(found), limit, seed))
    broken: list[str] | None = [] if skip_bad else None
    rows = draw(found.rows(found.drawn(limit, seed), broken), limit, seed)
    if not rows:
        raise SourceError(f"{found.name}: not one image could be read" + (f"; {broken[0]}" if broken else ""))
    if broken:
        warnings.warn(f"{found.name}: left out {len(broken)}: " + "; ".join(broken), stacklevel=2)
    return as_dataset(rows, found.features)
