"""Noise input, seeded by a hash of the image's pixels: the same in any batch, order and process.

A deterministic refiner outputs the mean of all possible images: one light, one grain. With noise as a second input (the
z of a GAN) it outputs one of them, and networks learn more from such images.
"""

import torch
from torch import Tensor

_PIXEL, _IMAGE = 2, 4  # maps of noise in each pixel, and constant over the image
NOISE_MAPS = _PIXEL + _IMAGE + 2  # with x and y
_MASK = 0xFFFFFFFF


def noise_maps(x: Tensor) -> Tensor:
    """Return maps (B, `NOISE_MAPS`, H, W) of images (B, C, H, W) in [−1, 1]: normal noise, x and y from −1 to 1."""
    count, _, height, width = x.shape
    places = torch.arange(_PIXEL * height * width + _IMAGE, device=x.device)
    mixed = _mix(fingerprints(x.float())[:, None] ^ _mix(places))
    drawn = torch.special.ndtri(((mixed >> 9) + 0.5) / 2**23)  # as many bits as a float32 holds short of 1
    pixels = drawn[:, _IMAGE:].reshape(count, _PIXEL, height, width)
    image = drawn[:, :_IMAGE, None, None].expand(-1, -1, height, width)
    position = torch.stack([axis.expand(height, width) for axis in axes(pixels)]).expand(count, -1, -1, -1)
    return torch.cat([pixels, image, position], 1).to(x)


def fingerprints(x: Tensor) -> Tensor:
    """Return a hash (B,) below 2³¹ of the 8-bit levels of images (B, C, H, W) in [−1, 1], the same on all devices."""
    levels = ((x + 1) * 127.5).round().to(torch.int64).flatten(1)
    place = torch.arange(1, levels.shape[1] + 1, device=x.device)
    mixed = ((levels + 1) * (place * 2654435761 % 2147483647)).sum(1) % 2147483647
    return mixed * 48271 % 2147483647


def axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (1, W) and y (H, 1) of the pixels of images (B, C, H, W), from −1 to 1."""
    # Not `linspace`, with which a graph cannot be exported for any size.
    down, across = (torch.arange(n, device=x.device, dtype=x.dtype) * (2 / (n - 1)) - 1 for n in x.shape[2:])
    return across[None], down[:, None]


def _mix(keys: Tensor) -> Tensor:
    """Return a hash below 2³² of int64 below 2³²; one bit changes about half of its bits (lowbias32, Wellons 2018)."""
    keys = (keys ^ (keys >> 16)) * 0x7FEB352D & _MASK
    keys = (keys ^ (keys >> 15)) * 0x846CA68B & _MASK
    return keys ^ (keys >> 16)
