"""`simulator:eyes` and `camera:eyes`: the embedded domain as a source; image i depends on seed and i alone."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import EYES, Format
from simgan.data.source import Source
from simgan.errors import ConfigError, SourceError, reason

COUNT = 20_000
"""How many images a simulated source has where no limit is given."""
_BATCH = 256


def open_simulator(world: str, domain: str, form: Format, limit: int | None, seed: int) -> Source:
    """Images 0 … limit − 1 of a world (`simulator` or `camera`), 55×35, with all labels."""
    if domain != "eyes":
        raise SourceError(f"{world}:{domain} does not exist: there is {world}:eyes")
    if form.eye_size != EYES:
        raise SourceError(f"{world}:eyes renders 55×35 pixels, not {form.size}: leave the size as it is")
    count = COUNT if limit is None else limit
    tasks = [range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH)]
    names = ("image", "gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids", "person", "file_name")
    return Source(f"{world}:{domain}", tasks, partial(_read, world, seed, form), features(*names), single=False)


def _read(world: str, seed: int, form: Format, indices: range) -> list[Row]:
    from simgan.simulators import camera, eyes

    images, labels = (camera if world == "camera" else eyes).render(np.asarray(indices), seed=seed)
    columns: dict[str, Any] = {name: values.tolist() for name, values in labels.items()}
    return [
        {"image": image_cell(form.tones(image)), "file_name": f"{world}_{index:07}.png"}
        | {name: values[place] for name, values in columns.items()}
        for place, (index, image) in enumerate(zip(indices, images, strict=True))
    ]


def write_images(world: str, output: Path, *, count: int, seed: int) -> None:
    """Write images 0 … count − 1 of a world as PNG files beside a metadata.jsonl of their labels, a new folder.

    Written aside and renamed; `SourceError` where the folder exists or cannot be written.
    """
    if count < 1:
        raise ConfigError(f"{count} images cannot be written: give a count of at least 1")
    if output.exists():
        raise SourceError(f"{output} exists: give another output, or delete it")
    aside = output.with_name(f".{output.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        with (aside / "metadata.jsonl").open("w") as metadata:
            for start in range(0, count, _BATCH):
                for row in _read(world, seed, Format(), range(start, min(start + _BATCH, count))):
                    (aside / row["file_name"]).write_bytes(row.pop("image")["bytes"])
                    metadata.write(json.dumps(row, default=float) + "\n")
        aside.rename(output)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
