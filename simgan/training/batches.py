"""Mini-batches of several sources, drawn by number: image n of a stream is the same on any number of processes.

A stream is endless: it takes one image of each source in turn, and each source in shuffled epochs. An image's source,
index, window and mirroring follow from (seed, stream, n), so a resumed run needs no state of a random generator.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simgan.domains.base import PointsWeight
from simgan.errors import SourceError
from simgan.images.arrays import equalize_images

Numbers = NDArray[np.int64]
_BLOCK = 4096  # images whose mirroring is drawn together


class Images(Protocol):
    """Random access to stored images: `images[indices]` returns uint8 or uint16 (N, H, W), or uint8 (N, H, W, 3)."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: Numbers, /) -> NDArray[Any]: ...


@runtime_checkable
class ImagesOfAnySize(Images, Protocol):
    """Images that may differ in size; `windows` returns a window of each, (N, size, size)."""

    def windows(  # noqa: D102
        self, indices: Numbers, size: int, rngs: Sequence[np.random.Generator], /
    ) -> NDArray[Any]: ...


@runtime_checkable
class ImagesWithPoints(Images, Protocol):
    """Images with labelled points: `masks` returns float32 (N, H, W) in [0, 1], 1 where the label must not move."""

    def masks(self, indices: Numbers, weight: PointsWeight, /) -> NDArray[np.float32]:  # noqa: D102
        ...


def generator(seed: int, stream: str, number: int) -> np.random.Generator:
    """Return the random generator of draw `number` of the stream with this name."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), number])


class Batches:
    """A stream of images from several sources; `SourceError` where a source is smaller than its share of a batch."""

    def __init__(
        self,
        stream: str,
        sources: Sequence[Images],
        size: int,
        *,
        seed: int,
        equalize: bool,
        flip: bool,
        window: int = 0,
    ) -> None:
        self.stream, self.sources, self.size = stream, list(sources), size
        self.seed, self.equalize, self.flip = seed, equalize, flip
        self.window = window
        smallest = min((len(source) for source in self.sources), default=0)
        share = -(-size // max(1, len(self.sources)))
        if smallest < share:
            raise SourceError(
                f"a mini-batch of {size} takes {share} images of each {stream} source, and one has only {smallest}: "
                "lower --batch-size or add images"
            )
        self._order = lru_cache(maxsize=2 * len(self.sources))(self._shuffle)
        self._mirrored = lru_cache(maxsize=2)(self._draw_mirrored)

    def indices(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Return the source of each image of the stream and its index there, two arrays like `numbers`."""
        source, turn = numbers % len(self.sources), numbers // len(self.sources)
        index = np.empty_like(turn)
        for place, (s, t) in enumerate(zip(source.tolist(), turn.tolist(), strict=True)):
            epoch, position = divmod(t, len(self.sources[s]))
            index[place] = self._order(s, epoch)[position]
        return source, index

    def draw(self, numbers: Numbers) -> NDArray[Any]:
        """Return images of the stream by number, stored: (N, H, W) or (N, H, W, 3)."""

        def read(images: Images, places: Numbers, index: Numbers) -> NDArray[Any]:
            if self.window and isinstance(images, ImagesOfAnySize):
                rngs = [generator(self.seed, f"{self.stream}/window", number) for number in numbers[places].tolist()]
                return images.windows(index, self.window, rngs)
            return images[index]

        images = self._collect(numbers, read)
        if self.equalize:
            images = equalize_images(images)
        return self._mirror(images, numbers)

    def masks(self, weight: PointsWeight, numbers: Numbers) -> NDArray[np.float32]:
        """Return masks (N, H, W) of images by number, 1 where the label must not move; 0 where a source has none."""

        def read(images: Images, _: Numbers, index: Numbers) -> NDArray[Any]:
            if isinstance(images, ImagesWithPoints):
                return images.masks(index, weight)
            return np.zeros((len(index), *images[index[:1]].shape[1:3]), np.float32)

        return self._mirror(self._collect(numbers, read), numbers)

    def _collect(self, numbers: Numbers, read: Callable[[Images, Numbers, Numbers], NDArray[Any]]) -> NDArray[Any]:
        source, index = self.indices(numbers)
        parts = [np.flatnonzero(source == s) for s in range(len(self.sources))]
        values = [read(self.sources[s], part, index[part]) for s, part in enumerate(parts) if len(part)]
        collected: NDArray[Any] = np.concatenate(values)[np.argsort(np.concatenate(parts))]
        return collected

    def _shuffle(self, source: int, epoch: int) -> Numbers:
        return generator(self.seed, f"{self.stream}/{source}", epoch).permutation(len(self.sources[source]))

    def _draw_mirrored(self, block: int) -> NDArray[np.bool_]:
        return generator(self.seed, f"{self.stream}/flip", block).random(_BLOCK) < 0.5

    def _mirror(self, images: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Mirror half of the images, always the same ones."""
        if not self.flip:
            return images
        mirrored = np.array([self._mirrored(number // _BLOCK)[number % _BLOCK] for number in numbers.tolist()])
        return np.where(mirrored.reshape(-1, *(1,) * (images.ndim - 1)), images[:, :, ::-1], images)
