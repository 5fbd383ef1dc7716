"""Simulators as sources (`simgan.simulators`), and their images written to a folder."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import Wanted
from simgan.data.source import Source, written_aside
from simgan.errors import ConfigError, SourceError
from simgan.simulators import SIMULATORS

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help=f"one of {', '.join(SIMULATORS)}.")]
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
DEFAULT_LIMIT = 20_000  # number of images of a simulator without a limit


def open_simulator(name: str, wanted: Wanted) -> Source:
    """Open images 0 … limit − 1 of a simulator; `SourceError` for an unknown name or another size than its own."""
    if name not in SIMULATORS:
        raise SourceError(f"there is no simulator {name!r}: choose one of {', '.join(SIMULATORS)}")
    simulator = SIMULATORS[name]
    if wanted.size not in (None, simulator.size):
        (wide, high), asked = simulator.size, wanted.size
        raise SourceError(f"{name} renders {wide}×{high} pixels, not {asked[0]}×{asked[1]}: give that size")
    count, batch = wanted.limit or DEFAULT_LIMIT, simulator.batch
    tasks = [range(start, min(start + batch, count)) for start in range(0, count, batch)]
    columns = features("image", *simulator.labels, "person", "file_name")
    return Source(name, tasks, partial(_read, name, wanted), columns, single=False)


def _read(name: str, wanted: Wanted, indices: range) -> list[Row]:
    images, labels = SIMULATORS[name].render(np.asarray(indices), seed=wanted.seed)
    columns = {label: values.tolist() for label, values in labels.items()}
    return [
        {"image": image_cell(wanted.to_channels(image)), "file_name": f"{name.partition(':')[0]}_{index:07}.png"}
        | {label: values[place] for label, values in columns.items()}
        for place, (index, image) in enumerate(zip(indices, images, strict=True))
    ]


def write_images(simulator: Name, output: Output, /, *, count: int = 1000, seed: int = 0) -> None:
    """Write labelled images of a simulator as PNG files and metadata.jsonl, which `folder:DIR` reads back.

    Depth is written with 16 bits, in mm. `SourceError` where the folder exists or cannot be written: nothing is left.

    Args:
        simulator: clean renders, or images that look as if a real camera had taken them.
        output: a folder that does not exist yet.
        count: number of images.
        seed: another one gives other persons.
    """
    if count < 1:
        raise ConfigError(f"{count} images cannot be written: give a count of at least 1")
    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    with written_aside(output) as aside:
        with (aside / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
            for row in open_simulator(simulator, Wanted(limit=count, seed=seed)).rows():
                (aside / row["file_name"]).write_bytes(row.pop("image")["bytes"])
                metadata.write(json.dumps(row, default=float) + "\n")
        aside.rename(output)
