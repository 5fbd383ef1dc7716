"""`simulator:` and `camera:` of eyes and hands: embedded domains as sources; image i depends on seed and i alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from simgan.data.columns import Row, features, image_cell
from simgan.data.crop import EYES, HANDS, Format, Size
from simgan.data.source import Source
from simgan.errors import ConfigError, SourceError, reason

COUNT = 20_000
"""How many images a simulated source has where no limit is given."""


@dataclass(frozen=True)
class _Embedded:
    """An embedded domain: its size, what its rows hold, the modules that render its worlds, how many at a time."""

    size: Size
    labels: tuple[str, ...]
    worlds: dict[str, str]
    batch: int

    def render(self, world: str) -> Callable[..., tuple[np.ndarray, dict[str, np.ndarray]]]:
        render: Callable[..., tuple[np.ndarray, dict[str, np.ndarray]]]
        render = import_module(f"simgan.simulators.{self.worlds[world]}").render
        return render


_EMBEDDED = {
    "eyes": _Embedded(
        EYES,
        ("gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids"),
        {"simulator": "eyes", "camera": "camera"},
        256,
    ),
    "hands": _Embedded(HANDS, ("joints", "joints_mm"), {"simulator": "hands", "camera": "depth_camera"}, 16),
}


def open_simulator(world: str, domain: str, form: Format, limit: int | None, seed: int) -> Source:
    """Images 0 … limit − 1 of a world (`simulator` or `camera`) with all labels: eyes 55×35, hands 224×224 in mm."""
    if domain not in _EMBEDDED:
        raise SourceError(
            f"{world}:{domain} does not exist: there is {' and '.join(f'{world}:{d}' for d in _EMBEDDED)}"
        )
    embedded = _EMBEDDED[domain]
    wide, high = embedded.size
    if (form.size or embedded.size) != embedded.size:
        remedy = "leave the size as it is" if domain == "eyes" else "give that size"
        raise SourceError(f"{world}:{domain} renders {wide}×{high} pixels, not {form.size}: {remedy}")
    if domain == "hands" and form.channels != 1:
        raise ConfigError(f"{world}:hands renders depth in mm, which has no colours: give 1 channel")
    names = ("image", *embedded.labels, "person", "file_name")
    read = partial(_read, world, domain, seed, form)
    count = COUNT if limit is None else limit
    return Source(f"{world}:{domain}", _tasks(domain, count), read, features(*names), single=False)


def _tasks(domain: str, count: int) -> list[range]:
    batch = _EMBEDDED[domain].batch
    return [range(start, min(start + batch, count)) for start in range(0, count, batch)]


def _read(world: str, domain: str, seed: int, form: Format, indices: range) -> list[Row]:
    images, labels = _EMBEDDED[domain].render(world)(np.asarray(indices), seed=seed)
    columns: dict[str, Any] = {name: values.tolist() for name, values in labels.items()}
    return [
        {"image": image_cell(form.tones(image)), "file_name": f"{world}_{index:07}.png"}
        | {name: values[place] for name, values in columns.items()}
        for place, (index, image) in enumerate(zip(indices, images, strict=True))
    ]


def write_images(world: str, output: Path, *, count: int, seed: int, domain: str = "eyes") -> None:
    """Write images 0 … count − 1 of a world as PNG files beside a metadata.jsonl of their labels, a new folder.

    Those of hands have 16 bits, mm.

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
            for indices in _tasks(domain, count):
                for row in _read(world, domain, seed, Format(), indices):
                    (aside / row["file_name"]).write_bytes(row.pop("image")["bytes"])
                    metadata.write(json.dumps(row, default=float) + "\n")
        aside.rename(output)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
