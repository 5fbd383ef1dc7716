"""Differentiable augmentation of all that the discriminator sees (DiffAugment, Zhao et al. 2020).

With few real images the discriminator would memorize them. Augmenting both real and refined images prevents that, and
as the gradient passes through the augmentation, the refiner does not learn to augment.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from simgan.images.depth import THRESHOLD
from simgan.runtime import reflect_pad

BRIGHTNESS, CONTRAST, TRANSLATION = 0.2, 0.2, 3  # of a range of 2; share; pixels
DISTANCE = 0.5  # of a range of 2: 83 mm


def augment(images: Tensor, draws: Tensor, kinds: Sequence[str]) -> Tensor:
    """Return a batch (B, C, H, W) in [−1, 1], augmented and differentiable.

    `draws` (B, 4) in [−1, 1]: brightness or distance, contrast, shift in x and shift in y of each image.
    """
    amount = draws.to(images)[:, :, None, None, None]
    if "brightness" in kinds:
        images = images + BRIGHTNESS * amount[:, 0]
    if "distance" in kinds:  # of depth; where there is no reading, none appears
        images = torch.where(images > THRESHOLD, images, images + DISTANCE * amount[:, 0])
    if "contrast" in kinds:
        mean = images.mean((1, 2, 3), keepdim=True)
        images = mean + (images - mean) * (1 + CONTRAST * amount[:, 1])
    if "translation" in kinds:  # by gathering: slicing image by image would start a GPU kernel for each
        channels, height, width = images.shape[1:]
        shift = (draws[:, 2:] * (TRANSLATION + 0.5)).round().clamp(-TRANSLATION, TRANSLATION).long() + TRANSLATION
        columns, rows = (
            first[:, None] + torch.arange(size, device=images.device)
            for first, size in zip(shift.T, (width, height), strict=True)
        )
        images = reflect_pad(images, TRANSLATION)
        images = images.gather(2, rows[:, None, :, None].expand(-1, channels, -1, images.shape[3]))
        images = images.gather(3, columns[:, None, None].expand(-1, channels, height, -1))
    return images
