"""The history of refined images (section 2.3): the discriminator also sees what earlier refiners made.

A mini-batch of b refined images takes b/2 from the current refiner and b/2 from the buffer; after each discriminator
update b/2 random places of the buffer are replaced with newly refined images. While the buffer fills, new images are
appended and none is replaced; until it holds b/2 of them, the whole mini-batch comes from the current refiner.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simgan.errors import ConfigError, TrainingError


class History:
    """A buffer of at most `capacity` stored images (uint8 or uint16), each (C, H, W)."""

    def __init__(self, capacity: int, shape: tuple[int, int, int], dtype: str = "uint8") -> None:
        if capacity < 1:
            raise ConfigError(f"the history must hold at least one image, not {capacity}")
        self._images = np.empty((capacity, *shape), dtype)  # pages are touched, hence taken, only as it fills
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def capacity(self) -> int:
        """B of the paper: how many images it holds when full."""
        return len(self._images)

    def sample(self, count: int, generator: Generator) -> NDArray[np.generic]:
        """Draw `count` different images (count, C, H, W); none where it does not hold that many yet."""
        if self._size < count:
            return self._images[:0]
        return self._images[generator.choice(self._size, count, replace=False)]

    def replace(self, images: NDArray[np.generic], generator: Generator) -> None:
        """Put newly refined images (n, C, H, W) at n random places, or append them while there is room."""
        if images.shape[1:] != self._images.shape[1:] or images.dtype != self._images.dtype:
            raise TrainingError(
                f"the history holds {self._images.dtype} images of {self._images.shape[1:]}, "
                f"not {images.dtype} of {images.shape[1:]}"
            )
        room = min(self.capacity - self._size, len(images))
        self._images[self._size : self._size + room] = images[:room]
        self._size += room
        rest = images[room:]
        if len(rest):
            self._images[generator.choice(self.capacity, len(rest), replace=False)] = rest

    def state(self) -> NDArray[np.generic]:
        """Give the images that it holds, (n, C, H, W), in their places."""
        return self._images[: self._size]

    def restore(self, images: NDArray[np.generic]) -> None:
        """Take up a state that `state` gave; `TrainingError` where it does not fit."""
        if len(images) > self.capacity or images.shape[1:] != self._images.shape[1:]:
            raise TrainingError(
                f"a history of {len(images)} images of {images.shape[1:]} does not fit one of {self.capacity} "
                f"of {self._images.shape[1:]}"
            )
        self._images[: len(images)] = images
        self._size = len(images)
