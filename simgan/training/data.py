"""What a run learns from, and random numbers that follow from a name and a number."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.errors import SourceError
from simgan.images.arrays import Array, to_array
from simgan.images.depth import Window, find_window, to_tensor
from simgan.preparation.triangulation import Triangulation

Numbers = NDArray[np.int64]


class Images(Protocol):
    """Random access to stored images: `images[indices]` returns uint8 or uint16 (N, H, W), or uint8 (N, H, W, 3)."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: Numbers, /) -> NDArray[Any]: ...


@dataclass
class TrainingData:
    """What a run learns from, each a list of sources: images to train on, and others to measure on."""

    synthetic: Sequence[Images]
    real: Sequence[Images]
    held_out_synthetic: Sequence[NDArray[Any]] = ()
    held_out_real: Sequence[NDArray[Any]] = ()
    held_out_labels: Sequence[Mapping[str, Any]] = ()  # of the held-out synthetic images, by column
    learned: Mapping[str, Any] = field(default_factory=dict)  # settings of the refiner, already applied to the images
    resolved: Mapping[str, Any] = field(default_factory=dict)  # settings of the run that follow from the images


class Frames(Crops):
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.images.depth.to_tensor`.

    So they are mixed, mirrored and kept in the history as any image; a reading changes by 0.003 mm at most. Readings in
    the shadows of `triangulation` are removed.
    """

    def __init__(self, dataset: Dataset, triangulation: Triangulation | None = None) -> None:
        super().__init__(dataset)
        self._triangulation = triangulation or Triangulation()

    def digest(self) -> str:
        """Return a hash of the images and of what is removed from them."""
        return f"{super().digest()} {self._triangulation}"

    def __getitem__(self, indices: Sequence[int] | Array | slice) -> NDArray[np.uint16]:
        """Return whole frames (N, H, W), which must be of one size."""
        frames = [self._triangulation.shade(frame) for frame in super().__getitem__(indices)]
        return to_array(to_tensor(np.stack(frames)), np.uint16)

    def windows(self, indices: Sequence[int] | Array, size: int, rngs: Sequence[Generator]) -> NDArray[np.uint16]:
        """Return a window of each frame, (N, size, size), about a random reading; `SourceError` where one is smaller.

        Frames may differ in size. Readings are a small part of one, and local losses (section 2.2) need no whole one.
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
            top, left = np.clip([y - size // 2, x - size // 2], 0, [height - size, width - size])
            part = frame[None, top : top + size, left : left + size]
            windows[place] = to_array(to_tensor(part, [depths]), np.uint16)[0]
        return windows


def depths_of(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return stored values (N, H, W) as depth images in mm whose windows all begin at 500 mm."""
    return np.stack([Window(500.0).to_depth(frame * np.float32(2 / 65535) - 1) for frame in values])


def generator(seed: int, stream: str, number: int) -> Generator:
    """Return the random generator of draw `number` of the stream with this name."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), number])
