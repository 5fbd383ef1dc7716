"""The history of refined images (section 2.3): the discriminator also sees images from earlier refiners.

A mini-batch of b refined images takes b/2 from the current refiner and b/2 from the buffer; after each discriminator
update b/2 random places of the buffer are replaced with newly refined images. While the buffer fills, new images are
appended and none is replaced; until it holds b/2 of them, the whole mini-batch comes from the current refiner.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.errors import ConfigError, TrainingError

Stored = NDArray[np.generic]  # images (N, C, H, W), uint8 or uint16


class History:
    """A buffer of at most `capacity` stored images of one shape and type: B of the paper."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ConfigError(f"the history must hold at least one image, not {capacity}")
        self.capacity = capacity
        self._images: Stored = np.empty((0, 1, 1, 1), np.uint8)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def sample(self, count: int, generator: Generator) -> Stored:
        """Return `count` different images, or none if it does not hold that many yet."""
        if self._size < count:
            return self._images[:0]
        return self._images[generator.choice(self._size, count, replace=False)]

    def replace(self, images: Stored, generator: Generator) -> None:
        """Append refined images while there is room; the rest replaces images at random places."""
        if not self._size:
            self._images = np.empty((self.capacity, *images.shape[1:]), images.dtype)  # takes memory as it fills
        if images.shape[1:] != self._images.shape[1:] or images.dtype != self._images.dtype:
            raise TrainingError(
                f"the history holds {self._images.dtype} images of {self._images.shape[1:]}, "
                f"not {images.dtype} of {images.shape[1:]}"
            )
        room = min(self.capacity - self._size, len(images))
        if len(images) - room > self.capacity:
            raise TrainingError(
                f"a history of {self.capacity} images cannot take {len(images)} at once: make it larger"
            )
        self._images[self._size : self._size + room] = images[:room]
        self._size += room
        rest = images[room:]
        if len(rest):
            self._images[generator.choice(self.capacity, len(rest), replace=False)] = rest

    def state(self) -> Stored:
        """Return the images that it holds."""
        return self._images[: self._size]

    def restore(self, images: Stored) -> None:
        """Hold the images that `state` returned; `TrainingError` if they are too many."""
        if len(images) > self.capacity:
            raise TrainingError(f"a history of {len(images)} images does not fit one of {self.capacity}")
        self._size = 0
        self.replace(images, np.random.default_rng(0))  # appends, so nothing is drawn
