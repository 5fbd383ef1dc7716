"""Depth: how millimetres become the values of a tensor, and come back exactly.

A *stored* depth image is uint16 (H, W) in mm, 0 = no reading. Depths in the `Window` of the nearest object become
[−1, 0.8] of a tensor, all else is background, +1. Readings are never averaged: the mean of object and wall is neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from simgan.errors import ImageError
from simgan.images.arrays import Array, check_size

CUBE = 300  # mm, the depth of a window
BACKGROUND = 1.0  # the value of pixels without a reading in the window
FAR = 0.8  # the value of the window's far end
FARTHEST_M = 20  # greater values are no metres
THRESHOLD = 0.9  # refined values above it are background


@dataclass(frozen=True)
class Window:
    """The depths that a network sees: [near, near + 300] in mm, which become [−1, 0.8] linearly."""

    near: float

    def holds(self, image: Array) -> Array:
        """Return which pixels have a reading within the window, bool of the image's shape."""
        return (image > 0) & (image >= self.near) & (image <= self.near + CUBE)

    def to_values(self, image: Array) -> Array:
        """Return depths in mm as float32 values; holes and readings outside the window become background."""
        values = (image - np.float64(self.near)) * ((FAR + 1) / CUBE) - 1
        return np.where(self.holds(image), values, BACKGROUND).astype(np.float32)

    def to_depth(self, values: Array) -> Array:
        """Return values as uint16 mm, rounded to the nearest; those above 0.9 become 0, no reading."""
        mm = (values.clip(-1, 1).astype(np.float64) + 1) * (CUBE / (FAR + 1)) + self.near
        return np.where(values > THRESHOLD, 0, mm.round().clip(1, 65535)).astype(np.uint16)


@dataclass(frozen=True)
class Windows:
    """The depths of each of B images that a network sees: [near, near + 300] in mm, which become [−1, 0.8] linearly."""

    near: Tensor  # (B, 1, 1), whole mm in int32
    middle: Tensor  # (B, 1, 1), the median reading in the window, float64 mm

    @classmethod
    def of(cls, images: Tensor) -> "Windows":
        """Return the windows of the nearest objects, 20 mm before them, in depth images, int32 (B, H, W) in mm.

        Each image must have a reading, see `check_depth`.
        """
        depths = images.flatten(1).long()
        counts = torch.zeros(images.shape[0], 2**16, dtype=torch.int32, device=images.device)
        counts.scatter_add_(1, depths, (depths > 0).int())
        up_to = counts.cumsum(1, dtype=torch.int32)  # readings of no more than so many mm

        def reading(rank: Tensor) -> Tensor:
            return torch.searchsorted(up_to, rank, right=True)

        total = up_to[:, -1:]
        for _ in range(2):  # stray readings do not move a percentile, and the second time there is no large wall to
            nearest = reading((0.005 * (total - 1).double()).int())
            total = up_to.gather(1, (nearest + CUBE).clamp_max(2**16 - 1))
        near = (nearest - 20).clamp_min(1)
        before, last = (up_to.gather(1, mm.clamp_max(2**16 - 1)) for mm in (near - 1, near + CUBE))
        ranks = (before + (last - before - 1) // 2, before + (last - before) // 2)
        middle = sum(reading(rank) for rank in ranks) / torch.tensor(2, dtype=torch.float64)
        return cls(near.int()[..., None], middle[..., None])

    def hold(self, images: Tensor) -> Tensor:
        """Return which pixels have a reading within the window, bool (B, H, W)."""
        return (images > 0) & (images >= self.near) & (images <= self.near + CUBE)

    def to_values(self, images: Tensor) -> Tensor:
        """Return depths in mm as float32 values; holes and readings outside the window become background."""
        values = (images - self.near).double() * ((FAR + 1) / CUBE) - 1
        return torch.where(self.hold(images), values, BACKGROUND).float()

    def to_depth(self, values: Tensor) -> Tensor:
        """Return values as int32 mm, rounded to the nearest; those above 0.9 become 0, no reading."""
        mm = (values.clamp(-1, 1).double() + 1) * (CUBE / (FAR + 1)) + self.near
        return torch.where(values > THRESHOLD, 0, mm.round().clamp(1, 65535)).int()


def find_window(image: Array) -> Window:
    """Return the window of the nearest object, 20 mm before it, in depth, uint16 (H, W); `ImageError` if it is none."""
    check_depth(image)
    readings = image[image > 0]
    for _ in range(2):  # stray readings do not move a percentile, and the second time there is no large wall to do so
        nearest = float(np.percentile(readings, 0.5, method="lower"))
        readings = readings[readings <= nearest + CUBE]
    return Window(max(nearest - 20, 1.0))


def to_tensor(images: Array, windows: Sequence[Window] | None = None) -> Tensor:
    """Return depth images, uint16 (B, H, W) in mm, as (B, 1, H, W) float32 in [−1, 1], each in its own window."""
    windows = [find_window(image) for image in images] if windows is None else windows
    values = [window.to_values(image) for image, window in zip(images, windows, strict=True)]
    return torch.from_numpy(np.stack(values))[:, None]


def check_depth(array: Array, name: str = "the image") -> None:
    """Raise `ImageError` where an array is no depth image: uint16 (H, W) in mm with a reading somewhere."""
    if array.dtype != np.uint16 or array.ndim != 2:
        what = f"{array.dtype} of shape {array.shape}, and depth is needed"
        in_mm = array.ndim == 2 and array.dtype.kind in "fi" and array.size and np.nanmax(array) > FARTHEST_M
        way = "save these mm as uint16" if in_mm else "give uint16 mm (H, W), 0 = no reading; metres times 1000"
        raise ImageError(f"{name} is {what}: {way}")
    check_size(array, name)
    farthest = int(array.max())
    if farthest == 0:
        raise ImageError(f"{name} has no reading, all of its pixels are 0: leave it out")
    if farthest <= FARTHEST_M:
        raise ImageError(f"{name} has no depth beyond {farthest}, as if in metres: multiply by 1000 to millimetres")


def is_packed(array: Array) -> bool:
    """Return whether an array is depth as NYU stores it, uint8 (H, W, 3): no red, and depth in green and blue."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and not array[..., 0].any()


def unpack(array: Array) -> Array:
    """Return the depth in an RGB image of NYU's, uint8 (H, W, 3): 256 · green + blue, uint16 (H, W) mm."""
    return array[..., 1].astype(np.uint16) * 256 + array[..., 2]


def pack(depth: Array) -> Array:
    """Return a depth image, uint16 (H, W), as NYU stores it: RGB, uint8 (H, W, 3)."""
    return np.stack([np.zeros_like(depth), depth >> 8, depth & 255], -1).astype(np.uint8)


def looks_like_depth(stored: Array) -> bool:
    """Return whether a stored image has holes and otherwise only depths that cameras measure, 0.1 to 10 m."""
    depth = unpack(stored) if is_packed(stored) else stored
    if depth.dtype != np.uint16 or depth.ndim != 2 or depth.all() or not depth.any():
        return False
    return bool(depth[depth > 0].min() >= 100 and depth.max() <= 10_000)
