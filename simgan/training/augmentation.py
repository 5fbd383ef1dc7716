"""Differentiable augmentation of all that the discriminator sees (DiffAugment, Zhao et al. 2020).

With few real images the discriminator would know them by heart; augmenting real *and* refined images, and letting the
gradient through, hinders that without teaching the refiner to augment.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.nn import functional as F

from simgan.images.depth import THRESHOLD

BRIGHTNESS, CONTRAST, TRANSLATION = 0.2, 0.2, 3  # of a range of 2; share; pixels
DISTANCE = 0.5  # of a range of 2: 83 mm


def draw(count: int, generator: Generator) -> Tensor:
    """Draw what happens to each of `count` images, (count, 4) in [−1, 1]: brightness, contrast, shift in x and in y."""
    return torch.from_numpy(generator.uniform(-1, 1, (count, 4)).astype(np.float32))


def augment(images: Tensor, draws: Tensor, kinds: Sequence[str]) -> Tensor:
    """Augment a batch (B, C, H, W) in [−1, 1] as drawn, (B, 4); differentiable in the images."""
    amount = draws.to(images)[:, :, None, None, None]
    if "brightness" in kinds:
        images = images + BRIGHTNESS * amount[:, 0]
    if "distance" in kinds:  # of depth: the hand nearer or farther, where there is no reading there is none
        images = torch.where(images > THRESHOLD, images, images + DISTANCE * amount[:, 0])
    if "contrast" in kinds:
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + CONTRAST * amount[:, 1])
    if "translation" in kinds:  # by gathering, as a slice for each image would start as many kernels on a GPU
        channels, height, width = images.shape[1:]
        shift = (draws[:, 2:] * (TRANSLATION + 0.5)).round().clamp(-TRANSLATION, TRANSLATION).long() + TRANSLATION
        columns, rows = (
            (first[:, None] + torch.arange(size)).to(images.device)
            for first, size in zip(shift.T, (width, height), strict=True)
        )
        images = F.pad(images, [TRANSLATION] * 4, mode="reflect")
        images = images.gather(2, rows[:, None, :, None].expand(-1, channels, -1, images.shape[3]))
        images = images.gather(3, columns[:, None, None].expand(-1, channels, height, -1))
    return images
