"""Depth frames of a source as a network sees them, whole or as windows about a random reading."""

from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.errors import SourceError
from simgan.images.arrays import Array, to_array
from simgan.images.depth import Window, find_window, to_tensor
from simgan.preparation.triangulation import Triangulation

Values = NDArray[np.uint16]


class Frames(Crops):
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.images.depth.to_tensor`.

    In this form they are mixed, mirrored and kept in the history as any image. A reading changes by 0.003 mm at most.
    Readings in the shadows of `triangulation` are removed.
    """

    def __init__(self, dataset: Dataset, triangulation: Triangulation | None = None) -> None:
        super().__init__(dataset)
        self._triangulation = triangulation or Triangulation()

    def __getitem__(self, indices: Sequence[int] | Array | slice) -> Values:
        """Return whole frames (N, H, W), which must be of one size."""
        frames = [self._triangulation.shade(frame) for frame in super().__getitem__(indices)]
        return to_array(to_tensor(np.stack(frames)), np.uint16)

    def windows(self, indices: Sequence[int] | Array, size: int, rngs: Sequence[Generator]) -> Values:
        """Return a window of each frame, (N, size, size), about a random reading; frames may differ in size.

        Readings are a small part of a frame, and local losses (section 2.2) need no whole one. `SourceError`
        where a frame is smaller than a window.
        """
        windows = np.empty((len(indices), size, size), np.uint16)
        for place, (index, rng) in enumerate(zip(indices, rngs, strict=True)):
            frame = self._triangulation.shade(self.each([index])[0])
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
    return np.stack([Window(500.0).to_depth(frame * np.float32(2 / 65535) - 1) for frame in values])
