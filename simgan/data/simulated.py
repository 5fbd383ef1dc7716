"""Simulators as sources (`simgan.simulators`), and their images written to a folder."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import Format
from simgan.data.source import Source, written_aside
from simgan.errors import ConfigError, SourceError
from simgan.simulators import SIMULATORS

DEFAULT_LIMIT = 20_000
"""Number of images of a simulator without a limit."""


def open_simulator(name: str, form: Format, limit: int | None, seed: int) -> Source:
    """Open images 0 … limit − 1 of a simulator with all of its labels; `SourceError` for an unknown name.

    `SourceError` for another size than that of the simulator, `ConfigError` for 3 channels of depth.
    """
    if name not in SIMULATORS:
        raise SourceError(f"there is no simulator {name!r}: choose one of {', '.join(SIMULATORS)}")
    simulator = SIMULATORS[name]
    if form.size not in (None, simulator.size):
        wide, high = simulator.size
        raise SourceError(f"{name} renders {wide}×{high} pixels, not {form.size[0]}×{form.size[1]}: give that size")
    columns = features("image", *simulator.labels, "person", "file_name")
    return Source(name, _tasks(name, limit or DEFAULT_LIMIT), partial(_read, name, seed, form), columns, single=False)


def _tasks(name: str, count: int) -> list[range]:
    batch = SIMULATORS[name].batch
    return [range(start, min(start + batch, count)) for start in range(0, count, batch)]


def _read(name: str, seed: int, form: Format, indices: range) -> list[Row]:
    images, labels = SIMULATORS[name].render(np.asarray(indices), seed=seed)
    if images.dtype == np.uint16 and form.channels != 1:
        raise ConfigError(f"{name} renders depth, which has 1 channel: leave the channels at 1")
    columns: dict[str, Any] = {label: values.tolist() for label, values in labels.items()}
    return [
        {"image": image_cell(form.to_channels(image)), "file_name": f"{name.partition(':')[0]}_{index:07}.png"}
        | {label: values[place] for label, values in columns.items()}
        for place, (index, image) in enumerate(zip(indices, images, strict=True))
    ]


def write_images(name: str, output: Path, *, count: int, seed: int) -> None:
    """Write images 0 … count − 1 of a simulator as PNG files and their labels as metadata.jsonl, in a new folder.

    Depth is written with 16 bits, in mm. The folder is written aside and renamed. `SourceError` where it exists or
    cannot be written, `ConfigError` for a count below 1.
    """
    if count < 1:
        raise ConfigError(f"{count} images cannot be written: give a count of at least 1")
    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    with written_aside(output) as aside:
        with (aside / "metadata.jsonl").open("w") as metadata:
            for indices in _tasks(name, count):
                for row in _read(name, seed, Format(), indices):
                    (aside / row["file_name"]).write_bytes(row.pop("image")["bytes"])
                    metadata.write(json.dumps(row, default=float) + "\n")
        aside.rename(output)
