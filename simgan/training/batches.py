"""Mini-batches of several sources, drawn by number: image n of a stream is the same on any number of processes.

A stream takes one image of each source in turn, and each source in shuffled epochs. An image's source, index, window
and mirroring follow from (seed, stream, n), so a resumed run needs no state of a random generator.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from datasets import Dataset
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.domains.base import MarkedWeight, PointsWeight
from simgan.errors import SourceError
from simgan.images.arrays import Array, equalize_images, to_array
from simgan.images.depth import Window, find_window, to_tensor
from simgan.preparation.triangulation import Triangulation

Numbers = NDArray[np.int64]
_BLOCK = 4096  # images whose mirroring is drawn together


class Images(Protocol):
    """Random access to stored images: `images[indices]` returns uint8 or uint16 (N, H, W), or uint8 (N, H, W, 3)."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: Numbers, /) -> NDArray[Any]: ...


class Frames(Crops):
    """Depth images, uint16 in mm, as stored values: uint16 that spread [−1, 1] of `simgan.images.depth.to_tensor`.

    So they are mixed, mirrored and kept in the history as any image; a reading changes by 0.003 mm at most. Readings in
    the shadows of `triangulation` are removed.
    """

    def __init__(self, dataset: Dataset, triangulation: Triangulation | None = None) -> None:
        super().__init__(dataset)
        self._triangulation = triangulation or Triangulation()

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


class Batches:
    """A stream of images from several sources; `SourceError` where a source is smaller than its share of a batch."""

    def __init__(
        self, stream: str, sources: Sequence[Images], size: int, seed: int, equalize: bool, flip: bool, window: int = 0
    ) -> None:
        self.stream, self.sources, self.size, self.seed = stream, list(sources), size, seed
        self.equalize, self.flip, self.window = equalize, flip, window
        smallest = min((len(source) for source in self.sources), default=0)
        share = -(-size // max(1, len(self.sources)))
        if smallest < share:
            raise SourceError(
                f"a mini-batch of {size} takes {share} images of each {stream} source, and one has only {smallest} to "
                "train on, besides those held out: add images, or lower --batch-size"
            )
        self._order = lru_cache(maxsize=2 * len(self.sources))(
            lambda source, epoch: self._rng(str(source), epoch).permutation(len(self.sources[source]))
        )
        self._mirrored = lru_cache(maxsize=2)(lambda block: self._rng("flip", block).random(_BLOCK) < 0.5)

    def indices(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Return the source of each image of the stream and its index there, two arrays like `numbers`."""
        source, turn = numbers % len(self.sources), numbers // len(self.sources)
        lengths = np.array([len(images) for images in self.sources])[source]
        places = zip(source.tolist(), (turn // lengths).tolist(), turn % lengths, strict=True)
        return source, np.array([self._order(s, epoch)[position] for s, epoch, position in places], np.int64)

    def draw(self, numbers: Numbers) -> NDArray[Any]:
        """Return images of the stream by number, stored: (N, H, W) or (N, H, W, 3)."""

        def read(images: Images, index: Numbers, numbers: Numbers) -> NDArray[Any]:
            if self.window and isinstance(images, Frames):
                return images.windows(index, self.window, [self._rng("window", n) for n in numbers.tolist()])
            return equalize_images(images[index]) if self.equalize else images[index]

        return self._collect(numbers, read)

    def masks(self, weight: PointsWeight | MarkedWeight, numbers: Numbers) -> NDArray[np.float32]:
        """Return masks (N, H, W) of images by number, 1 where the label must not move; 0 where a source has none."""

        def read(images: Images, index: Numbers, _: Numbers) -> NDArray[Any]:
            if isinstance(images, Crops):
                return images.masks(index, weight)
            return np.zeros((len(index), *images[index[:1]].shape[1:3]), np.float32)

        return self._collect(numbers, read)

    def _collect(self, numbers: Numbers, read: Callable[[Images, Numbers, Numbers], NDArray[Any]]) -> NDArray[Any]:
        """Read images from all sources and mirror half of them, always the same ones."""
        source, index = self.indices(numbers)
        parts = [np.flatnonzero(source == s) for s in range(len(self.sources))]
        values = [read(self.sources[s], index[part], numbers[part]) for s, part in enumerate(parts) if len(part)]
        images: NDArray[Any] = np.concatenate(values)[np.argsort(np.concatenate(parts))]
        if not self.flip:
            return images
        mirrored = np.array([self._mirrored(number // _BLOCK)[number % _BLOCK] for number in numbers.tolist()])
        return np.where(mirrored.reshape(-1, *(1,) * (images.ndim - 1)), images[:, :, ::-1], images)

    def _rng(self, what: str, number: int) -> Generator:
        return generator(self.seed, f"{self.stream}/{what}", number)
