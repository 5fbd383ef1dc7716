"""Mini-batches of several sources, drawn by number: batch n is the same whenever, and in however many processes.

Nothing of a random generator has to be saved for a resume: every draw follows from (seed, stream, number).
"""

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from simgan.domains.weights import PointsWeight
from simgan.errors import SourceError
from simgan.images.arrays import equalize


class Images(Protocol):
    """Random access to stored images: `images[indices]` gives uint8 or uint16 (N, H, W), or uint8 (N, H, W, 3)."""

    def __len__(self) -> int: ...
    def __getitem__(self, indices: NDArray[np.int64], /) -> NDArray[Any]: ...


@runtime_checkable
class ImagesOfAnySize(Images, Protocol):
    """Images that give windows of their own, (N, size, size), so that they may differ in size."""

    def windows(  # noqa: D102
        self, indices: NDArray[np.int64], size: int, rngs: Sequence[np.random.Generator], /
    ) -> NDArray[Any]: ...


@runtime_checkable
class ImagesWithPoints(Images, Protocol):
    """Images with labelled points: `masks` returns float32 (N, H, W) in [0, 1], 1 where the label must not move."""

    def masks(self, indices: NDArray[np.int64], weight: PointsWeight, /) -> NDArray[np.float32]:  # noqa: D102
        ...


def generator(seed: int, stream: str, number: int) -> np.random.Generator:
    """Give the generator of draw `number` of a stream; streams are told apart by name."""
    return np.random.default_rng([seed, zlib.crc32(stream.encode()), number])


class Batches:
    """Global mini-batches of `size` images, in equal shares from each source, each source in shuffled epochs."""

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

    def _shuffle(self, source: int, epoch: int) -> NDArray[np.int64]:
        return generator(self.seed, f"{self.stream}/{source}", epoch).permutation(len(self.sources[source]))

    def indices(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Give (source, index) of each image of batch `number`, two arrays (size,)."""
        place = number * self.size + np.arange(self.size)
        source, turn = place % len(self.sources), place // len(self.sources)
        index = np.empty_like(turn)
        for i in range(self.size):
            epoch, position = divmod(int(turn[i]), len(self.sources[source[i]]))
            index[i] = self._order(int(source[i]), epoch)[position]
        return source, index

    def draw(self, number: int, part: slice = slice(None)) -> NDArray[Any]:
        """Give a part of batch `number` as stored images (n, H, W) or (n, H, W, 3)."""
        source, index = (values[part] for values in self.indices(number))
        images: NDArray[Any] | None = None
        for s, images_of in enumerate(self.sources):
            mine = np.flatnonzero(source == s)
            if len(mine):
                if self.window and isinstance(images_of, ImagesOfAnySize):
                    rngs = self._of_each(number, part)
                    some = images_of.windows(index[mine], self.window, [rngs[place] for place in mine])
                else:
                    some = images_of[index[mine]]
                if images is None:
                    images = np.empty((len(index), *some.shape[1:]), some.dtype)
                images[mine] = some
        assert images is not None  # a part of a batch is never empty
        if self.equalize:
            images = np.stack([equalize_image(image) for image in images])
        return self._flip(images, number, part)

    def masks(self, weight: PointsWeight, number: int, part: slice = slice(None)) -> NDArray[np.float32]:
        """Return the masks (n, H, W) of a part of batch `number`; 0 where a source has no points."""
        source, index = (values[part] for values in self.indices(number))
        masks = np.zeros((len(index), *self.sources[0][np.array([0])].shape[1:3]), np.float32)
        for s, images_of in enumerate(self.sources):
            mine = np.flatnonzero(source == s)
            if isinstance(images_of, ImagesWithPoints) and len(mine):
                masks[mine] = images_of.masks(index[mine], weight)
        return self._flip(masks, number, part)

    def _of_each(self, number: int, part: slice) -> list[np.random.Generator]:
        """Give a generator for each image's window, by its own place, whatever part of batch `number` it is in."""
        stream, first = f"{self.stream}/window", number * self.size
        return [generator(self.seed, stream, first + place) for place in range(self.size)[part]]

    def _flip(self, images: NDArray[Any], number: int, part: slice) -> NDArray[Any]:
        """Mirror half of the images of batch `number`, the same whatever part of it they are."""
        if not self.flip:
            return images
        flips = generator(self.seed, f"{self.stream}/flip", number).random(self.size)[part] < 0.5
        return np.where(flips.reshape(-1, *(1,) * (images.ndim - 1)), images[:, :, ::-1], images)


def equalize_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Equalize (H, W), or each channel of (H, W, C)."""
    if image.ndim == 2:
        return equalize(image)
    return np.stack([equalize(np.ascontiguousarray(image[..., c])) for c in range(image.shape[2])], -1)
