"""Depth frames of a source as a network sees them, whole or as windows about a random reading."""

from collections.abc import Iterator, Sequence

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.errors import SourceError
from simgan.images.arrays import Array, to_array
from simgan.images.depth import Window, find_window, to_tensor
from simgan.preparation.triangulation import Triangulation
from simgan.training.batches import generator

Values = NDArray[np.uint16]


class Frames:
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.images.depth.to_tensor`.

    In this form they are mixed, mirrored and kept in the history as any image. A reading changes by 0.003 mm at most.
    """

    def __init__(self, dataset: Dataset, triangulation: Triangulation | None = None) -> None:
        """Read a data set of depth images; readings in the shadows of `triangulation` are removed."""
        self._crops = Crops(dataset)
        self._triangulation = triangulation or Triangulation()

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, indices: NDArray[np.int64]) -> Values:
        """Return whole frames (N, H, W), which must be of one size."""
        frames = np.stack([self._triangulation.shade(frame) for frame in self._crops[indices]])
        values: Values = to_array(to_tensor(frames), np.uint16)
        return values

    def depths(self, count: int) -> Iterator[Array]:
        """Return so many frames, or all there are, evenly spread over the source, uint16 (H, W) in mm."""
        for index in self._spread(count):
            yield self._frame(index)

    def spread(self, count: int, window: int) -> Values:
        """Return as many as stored values: a window of each (N, window, window), or where that is 0, whole ones."""
        chosen = self._spread(count)
        if not window:
            return self[chosen]
        return self.windows(chosen, window, [generator(0, "held out", int(index)) for index in chosen])

    def _spread(self, count: int) -> NDArray[np.int64]:
        return np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)

    def _frame(self, index: int) -> Array:
        return self._triangulation.shade(self._crops.each([index])[0])

    def windows(self, indices: Sequence[int] | NDArray[np.int64], size: int, rngs: Sequence[Generator]) -> Values:
        """Return a window of each frame, (N, size, size), about a random reading; frames may differ in size.

        Readings are a small part of a frame, and local losses (section 2.2) need no whole one. `SourceError`
        where a frame is smaller than a window.
        """
        windows = np.empty((len(indices), size, size), np.uint16)
        for place, (index, rng) in enumerate(zip(indices, rngs, strict=True)):
            frame = self._frame(int(index))
            (height, width), depths = frame.shape, find_window(frame)
            if size > min(height, width):
                raise SourceError(
                    f"frame {index} is {width}×{height} pixels, too small for a window of {size}: lower --window"
                )
            readings = np.flatnonzero(depths.holds(frame))  # never empty: it begins before the nearest reading
            y, x = divmod(int(readings[rng.integers(len(readings))]), width)
            top = min(max(y - size // 2, 0), height - size)
            left = min(max(x - size // 2, 0), width - size)
            part = frame[None, top : top + size, left : left + size]
            windows[place] = to_array(to_tensor(part, [depths]), np.uint16)[0]
        return windows


def depths_of(values: Values) -> NDArray[np.uint16]:
    """Return stored values (N, H, W) as depth images in mm whose windows all begin at 500 mm."""
    window = Window(500.0)
    return np.stack([window.to_depth(frame * np.float32(2 / 65535) - 1) for frame in values])
