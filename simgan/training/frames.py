"""Depth frames of a source as a network sees them, whole or as windows about a pixel of the hand."""

from collections.abc import Iterator, Sequence

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.depth import find_window, to_tensor
from simgan.errors import SourceError
from simgan.images import Array, to_array

Values = NDArray[np.uint16]


class Frames:
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.depth.to_tensor`.

    So they mix, flip, enter the history and are measured as any image. A reading moves by 0.003 mm at most.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._crops = Crops(dataset)

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, indices: NDArray[np.int64]) -> Values:
        """Give whole frames (N, H, W), which must be of one size."""
        values: Values = to_array(to_tensor(self._crops[indices]), np.uint16)
        return values

    def depths(self, count: int) -> Iterator[Array]:
        """Give so many frames as they are, uint16 (H, W) in mm, or all there are, spread over the source."""
        for index in np.linspace(0, len(self) - 1, min(count, len(self))).astype(int):
            yield self._crops.each([index])[0]

    def windows(self, indices: Sequence[int] | NDArray[np.int64], size: int, rngs: Sequence[Generator]) -> Values:
        """Give a window of each frame, (N, size, size), about a random pixel of the hand; frames may differ in size.

        Hand and edge are a small part of a frame, and local losses (section 2.2) need no whole one. `SourceError`
        where a frame is smaller than a window.
        """
        windows = np.empty((len(indices), size, size), np.uint16)
        for place, (index, rng) in enumerate(zip(indices, rngs, strict=True)):
            frame = self._crops.each([index])[0]
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
