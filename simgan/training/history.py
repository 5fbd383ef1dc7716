"""The history of refined images (section 2.3): the discriminator also sees images from earlier refiners.

A mini-batch of b refined images takes b/2 from the buffer, once it holds so many; after each discriminator update
b/2 random places of it are replaced with newly refined images, which are appended while it fills. Which places follows
from the number of the update alone, so that they are known ahead.
"""

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

Places = NDArray[np.int64]


def as_signed(stored: Tensor) -> Tensor:
    """Return uint16 as int16 in the same memory: PyTorch does not assign to places of the former."""
    return stored.view(torch.int16) if stored.dtype == torch.uint16 else stored


class History:
    """A buffer of at most `capacity` > 0 stored images, B of the paper, for mini-batches of `size` refined images."""

    def __init__(self, capacity: int, size: int) -> None:
        self.capacity, self.size = capacity, size
        self._images = torch.empty(0)
        self._held = [0]  # before each update, until it is full
        while self._held[-1] < capacity:
            self._held.append(min(capacity, self._held[-1] + size - self.past(len(self._held) - 1)))

    def held(self, update: int) -> int:
        """Return how many images it holds before an update of the discriminator."""
        return self._held[min(update, len(self._held) - 1)]

    def new_before(self, update: int) -> int:
        """Return how many new images all updates before this one take."""
        filling = min(update, len(self._held) - 1)
        new = [self.size - self.past(number) for number in range(filling)]
        return sum(new) + (update - filling) * (self.size - self.past(update))

    def past(self, update: int) -> int:
        """Return how many images of an update's mini-batch come from it: half of them, or none."""
        return self.size // 2 if self.held(update) >= self.size // 2 else 0

    def plan(self, update: int, generator: Generator) -> tuple[Places, Places]:
        """Return which images an update sees, and the places that its new images go to: all different in each."""
        held, new = self.held(update), min(self.size - self.past(update), self.capacity)
        sampled = generator.choice(held, self.past(update), replace=False) if held else np.empty(0, np.int64)
        appended = np.arange(held, min(held + new, self.capacity))
        replaced = generator.choice(held, new - len(appended), replace=False) if held else np.empty(0, np.int64)
        return sampled, np.concatenate([appended, replaced])

    def sample(self, places: Tensor) -> Tensor:
        """Return stored images (N, C, H, W) at these places."""
        return self._images[places]

    def replace(self, images: Tensor, places: Tensor) -> None:
        """Put stored images (N, C, H, W), uint8 or uint16, at as many places; those beyond are left out."""
        if not len(self._images):
            self._images = images.new_empty((self.capacity, *images.shape[1:]))  # takes memory as it fills
        as_signed(self._images)[places] = as_signed(images[: len(places)])

    def state(self, update: int) -> Tensor:
        """Return the images that it holds before an update."""
        return self._images[: self.held(update)]

    def restore(self, images: Tensor, device: torch.device) -> None:
        """Go on with what `state` returned."""
        if len(images):
            self.replace(images.to(device), torch.arange(len(images), device=device))
