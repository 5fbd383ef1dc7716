"""The history of refined images (section 2.3): the discriminator also sees images from earlier refiners.

A mini-batch of b refined images takes b/2 from the buffer, once it holds so many; after each discriminator update
b/2 random places of it are replaced with newly refined images, which are appended while it fills.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Stored = NDArray[np.generic]  # images (N, C, H, W), uint8 or uint16


class History:
    """A buffer of at most `capacity` > 0 stored images of one shape and type: B of the paper."""

    def __init__(self, capacity: int) -> None:
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
        """Append refined images while there is room; the rest, at most `capacity`, replaces images at random places."""
        if not self._size:
            self._images = np.empty((self.capacity, *images.shape[1:]), images.dtype)  # takes memory as it fills
        new, rest = np.split(images, [self.capacity - self._size])
        self._images[self._size : self._size + len(new)] = new
        self._size += len(new)
        if len(rest):
            self._images[generator.choice(self.capacity, len(rest), replace=False)] = rest

    def state(self) -> Stored:
        """Return the images that it holds; an empty history that appends them goes on alike."""
        return self._images[: self._size]
