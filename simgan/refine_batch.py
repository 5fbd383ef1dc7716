"""Refining batches of rows wherever they are: `datasets`, a DataLoader's workers, Ray Data."""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simgan.errors import ModelError, SourceError
from simgan.images.files import encode_like, read
from simgan.refiner import Refiner
from simgan.refining.job import record
from simgan.runtime import find_device


@dataclass(frozen=True)
class RefineBatch:
    """A function that refines a column of a batch of rows; it can be pickled, and loads its refiner once a process.

    It takes what `datasets.map(…, batched=True)` and `ray.data`'s `map_batches` give, a mapping of columns; or a list
    of rows, so that it serves as `collate_fn` of a DataLoader. Images are what `Refiner.refine` takes: PIL images,
    arrays, or files as bytes or as cells {"bytes", "path"}. They come back as the same, files in their format; all
    other columns stay. It refines on `device`; where none is given, on a GPU if this process sees one.

    `SourceError` where there is no such column, `ConfigError` where there is no such device, `ImageError` for an image
    that cannot be refined.
    """

    model: str | Path  # as `Refiner.from_pretrained` takes it
    column: str = "image"  # of images
    strength: float = 1.0  # as `Refiner.refine` takes it
    device: str | None = None  # such as cpu or cuda:0
    revision: str | None = None  # of a model of the Hub
    weights: str = field(init=False, repr=False)
    """SHA-256 of weights and settings, so that caches of `datasets` tell one model from another of the same name."""

    def __post_init__(self) -> None:
        refiner = Refiner.from_pretrained(self.model, revision=self.revision)
        object.__setattr__(self, "weights", record(refiner, self.strength)["refiner"])

    def __call__(self, batch: Any) -> Any:
        """Return a batch with refined images, as a mapping or a list, as it came."""
        if isinstance(batch, Mapping):
            return {**batch, self.column: self._refine(self._column(batch))}
        refined = self._refine([self._column(row) for row in batch])
        return [{**row, self.column: image} for row, image in zip(batch, refined, strict=True)]

    def _column(self, rows: Mapping[str, Any]) -> Any:
        if self.column not in rows:
            raise SourceError(f"there is no column {self.column!r}: RefineBatch takes one of {', '.join(rows)}")
        return rows[self.column]

    def _refine(self, cells: Any) -> Any:
        opened = [_open(cell, f"image {number}") for number, cell in enumerate(cells)]
        device = find_device(self.device)
        refined = _load(self.model, self.revision, self.weights, device, os.getpid()).refine(opened, self.strength)
        closed = [_close(image, source, cell) for image, source, cell in zip(refined, opened, cells, strict=True)]
        if not isinstance(cells, np.ndarray):
            return closed
        column = np.empty(len(closed), object)
        column[:] = closed
        return column if cells.dtype == object else np.array(closed, cells.dtype).reshape(cells.shape)


@functools.lru_cache(maxsize=1)
def _load(model: str | Path, revision: str | None, weights: str, device: str, process: int) -> Refiner:
    """Load a refiner once in a process; one that was forked loads its own."""
    refiner = Refiner.from_pretrained(model, revision=revision)
    if record(refiner, 1.0)["refiner"] != weights:
        raise ModelError(f"{model} has other weights than when RefineBatch was made: make it again")
    return refiner.to(device)


def _file_of(cell: Any) -> Any:
    """Return the bytes (or the path) of a cell that holds a file, None where it holds an image."""
    if isinstance(cell, Mapping) and cell.keys() == {"bytes", "path"}:
        return cell["path"] if cell["bytes"] is None else cell["bytes"]
    return cell if isinstance(cell, bytes) else None


def _open(cell: Any, name: str) -> Any:
    file = _file_of(cell)
    return cell if file is None else read(file, name)


def _close(refined: Any, source: Any, cell: Any) -> Any:
    if _file_of(cell) is None:
        return refined
    content = encode_like(refined, source)
    return content if isinstance(cell, bytes) else {"bytes": content, "path": cell["path"]}
