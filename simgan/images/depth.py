"""Depth: how millimetres become the values of a tensor, and come back exactly.

A *stored* depth image is uint16 (H, W) in mm, 0 = no reading. A hand lies within a `Window` of depth; its readings are
spread over [−1, 0.8] of a tensor, and all else, the background, is +1. The gap tells the two apart after refining: what
lies above 0.9 is no reading. Nothing here or elsewhere mixes neighbouring readings: the mean of a hand and a wall is
neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simgan.errors import ImageError
from simgan.images.arrays import Array, check_size, to_stored

CUBE = 300.0
"""Millimetres of the sides of the cube around a hand, and of a window."""
BACKGROUND = 1.0
"""The value of what is no reading of the window."""
FAR = 0.8
"""The value of the window's far end."""
THRESHOLD = 0.9
"""A refined value above is background."""
MARGIN = 20.0
"""Millimetres in front of the nearest readings at which a window begins."""
METRES = 20
"""Readings that reach no further than this cannot be millimetres of a hand, but may well be metres."""


@dataclass(frozen=True)
class Window:
    """The depths that a network sees: [near, near + depth] in mm, which become [−1, 0.8] linearly."""

    near: float
    depth: float = CUBE

    def holds(self, image: Array) -> Array:
        """Tell which pixels, bool of the image's shape, have a reading within the window."""
        return (image > 0) & (image >= self.near) & (image <= self.near + self.depth)

    def to_values(self, image: Array) -> Array:
        """Map depths in mm to float32; readings outside the window, nearer ones too, become background like holes."""
        values = (image - np.float64(self.near)) * ((FAR + 1) / self.depth) - 1
        return np.where(self.holds(image), values, BACKGROUND).astype(np.float32)

    def to_depth(self, values: Array) -> Array:
        """Map values back to uint16 mm, rounded to the nearest; those above 0.9 become 0, no reading."""
        mm = (values.clip(-1, 1).astype(np.float64) + 1) * (self.depth / (FAR + 1)) + self.near
        return np.where(values > THRESHOLD, 0, mm.round().clip(1, 65535)).astype(np.uint16)


def find_window(image: Array, depth: float = CUBE, name: str = "the image") -> Window:
    """Find the window of a depth image, uint16 (H, W), from its readings alone: the hand is what is nearest.

    It begins 20 mm before the 0.5th percentile of the readings, so that a few stray ones do not move it; of those no
    farther than its depth from the first such guess, so that a large wall does not make a small hand's tips stray ones.
    `ImageError` for what is no depth image; `name` tells of it.
    """
    check_depth(image, name)
    readings = image[image > 0]
    for _ in range(2):
        nearest = float(np.percentile(readings, 0.5, method="lower"))
        readings = readings[readings <= nearest + depth]
    return Window(max(nearest - MARGIN, 1.0), depth)


def to_tensor(images: Array, windows: Sequence[Window] | None = None) -> Tensor:
    """Map depth images, uint16 (B, H, W) in mm, to (B, 1, H, W) float32 in [−1, 1], each in its own window."""
    windows = [find_window(image) for image in images] if windows is None else windows
    values = [window.to_values(image) for image, window in zip(images, windows, strict=True)]
    return torch.from_numpy(np.stack(values))[:, None]


def to_depth(tensor: Tensor, windows: Sequence[Window]) -> Array:
    """Map (B, 1, H, W), clamped to [−1, 1], to depth images, uint16 (B, H, W): the inverse of `to_tensor`."""
    planes = tensor[:, 0].float().cpu().numpy()
    return np.stack([window.to_depth(values) for values, window in zip(planes, windows, strict=True)])


def check_depth(array: Array, name: str = "the image") -> None:
    """Raise `ImageError` where an array is no depth image: uint16 (H, W) in mm with a reading somewhere."""
    if array.dtype.kind == "f":
        raise ImageError(
            f"{name} has floats, as depth in metres does: multiply by 1000 and round to uint16 millimetres"
        )
    if array.dtype == np.uint8:
        raise ImageError(
            f"{name} has 8 bits a channel, where depth is due: give 16 bits of millimetres, 0 = no reading"
        )
    if array.dtype != np.uint16 or array.ndim != 2:
        raise ImageError(
            f"{name} is {array.dtype} of shape {array.shape}, where depth is due: give uint16 millimetres (H, W)"
        )
    check_size(array, name)
    farthest = int(array.max())
    if farthest == 0:
        raise ImageError(f"{name} has no reading, all of its pixels are 0: leave it out")
    if farthest <= METRES:
        raise ImageError(f"{name} has no depth beyond {farthest}, as if in metres: multiply by 1000 to millimetres")


def stored_depth(image: Any, name: str = "the image") -> Array:
    """Give a PIL image or an array as a depth image, uint16 (H, W); `restored` goes back.

    `ImageError` names one that is none. Colour whose red is 0 is NYU's way to keep 16 bits: see `unpack`.
    """
    if isinstance(image, Image.Image):
        image = np.array(image) if image.mode == "F" else to_stored(image, name)
    if is_packed(image):
        image = unpack(image)
    check_depth(image, name)
    return image


def restored(depth: Array, like: Array) -> Array:
    """Give a depth image, uint16 (H, W), as an array of the kind that another one was stored as."""
    return pack(depth) if is_packed(like) else depth


def is_packed(array: Array) -> bool:
    """Tell whether an array is a PNG of NYU's, uint8 (H, W, 3): no red, and depth in green and blue."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and not array[..., 0].any()


def unpack(array: Array) -> Array:
    """Give the depth in an RGB image of NYU's, uint8 (H, W, 3): 256 · green + blue, uint16 (H, W) mm."""
    return array[..., 1].astype(np.uint16) * 256 + array[..., 2]


def pack(depth: Array) -> Array:
    """Give a depth image, uint16 (H, W), as NYU stores it: RGB, uint8 (H, W, 3)."""
    return np.stack([np.zeros_like(depth), depth >> 8, depth & 255], -1).astype(np.uint8)
