"""Depth frames of a source as a network sees them, whole or as windows about a pixel of the hand."""

from collections.abc import Iterator, Sequence

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.errors import SourceError
from simgan.images.arrays import Array, to_array
from simgan.images.depth import find_window, to_tensor
from simgan.preparation.triangulation import Triangulation
from simgan.training.batches import generator

Values = NDArray[np.uint16]


class Frames:
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.images.depth.to_tensor`.

    So they mix, flip, enter the history and are measured as any image. A reading moves by 0.003 mm at most.
    """

    def __init__(self, dataset: Dataset, camera: Triangulation | None = None) -> None:
        """Of a data set with depth images; what would lie in a camera's shadow is taken away."""
        self._crops = Crops(dataset)
        self._camera = camera or Triangulation()

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, indices: NDArray[np.int64]) -> Values:
        """Give whole frames (N, H, W), which must be of one size."""
        frames = np.stack([self._camera.shade(frame) for frame in self._crops[indices]])
        values: Values = to_array(to_tensor(frames), np.uint16)
        return values

    def depths(self, count: int) -> Iterator[Array]:
        """Give so many frames, or all there are, evenly spread over the source, uint16 (H, W) in mm."""
        for index in self._spread(count):
            yield self._frame(index)

    def spread(self, count: int, window: int) -> Values:
        """Give as many as stored values: a window of each (N, window, window), or where that is 0, whole ones."""
        chosen = self._spread(count)
        if not window:
            return self[chosen]
        return self.windows(chosen, window, [generator(0, "held out", int(index)) for index in chosen])

    def _spread(self, count: int) -> NDArray[np.int64]:
        return np.linspace(0, len(self) - 1, min(count, len(self))).astype(int)

    def _frame(self, index: int) -> Array:
        return self._camera.shade(self._crops.each([index])[0])

    def windows(self, indices: Sequence[int] | NDArray[np.int64], size: int, rngs: Sequence[Generator]) -> Values:
        """Give a window of each frame, (N, size, size), about a random pixel of the hand; frames may differ in size.

        Hand and edge are a small part of a frame, and local losses (section 2.2) need no whole one. `SourceError`
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
            hand = np.flatnonzero(depths.holds(frame))  # never empty: it begins before the nearest reading
            y, x = divmod(int(hand[rng.integers(len(hand))]), width)
            top = min(max(y - size // 2, 0), height - size)
            left = min(max(x - size // 2, 0), width - size)
            part = frame[None, top : top + size, left : left + size]
            windows[place] = to_array(to_tensor(part, [depths]), np.uint16)[0]
        return windows
