"""Kinds of input: files in any form are read, and the values and axes of tensors and arrays are put in order."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simgan.errors import ImageError
from simgan.images.arrays import Array
from simgan.images.files import read, upright

ALONE = str | Path | bytes | dict | Image.Image | np.ndarray | Tensor  # no list of images, though some are iterable
LAYOUTS = ("NCHW", "NHWC", "NHW")
T = TypeVar("T", Tensor, Array)


def is_alone(images: Any) -> bool:
    """Return whether this is one image (or one batch in a tensor or an array), not a list or an iterator."""
    return isinstance(images, ALONE) or hasattr(images, "read")


def opened(image: Any, name: str) -> tuple[Any, str]:
    """Return the upright image of a path, bytes, an open file or a cell of `datasets`, and its name; or as given."""
    if isinstance(image, dict) and image.keys() == {"bytes", "path"}:
        image, name = image["path"] if image["bytes"] is None else image["bytes"], image["path"] or name
    if hasattr(image, "read"):
        image, name = image.read(), str(getattr(image, "name", name))
        if not isinstance(image, bytes):
            raise ImageError(f'{name} is open as text: open it with mode "rb"')
    if isinstance(image, str | Path):
        return upright(read(image)), str(image)
    return upright(read(image, name)) if isinstance(image, bytes) else image, name


@dataclass(frozen=True)
class Numbers:
    """What the numbers in tensors and arrays mean; `ImageError` for values that say nothing."""

    value_range: tuple[float, float] | None = None  # black and white of floats
    layout: str | None = None  # one of `LAYOUTS`; a single image leaves out N

    def __post_init__(self) -> None:
        if self.layout not in (None, *LAYOUTS):
            raise ImageError(f"layout must be one of {', '.join(LAYOUTS)}, not {self.layout!r}")
        try:
            low, high = self.value_range or (-1, 1)
            fits = -math.inf < low < high < math.inf
        except (TypeError, ValueError):
            fits = False
        if not fits:
            raise ImageError(f"value_range must be the values of black and white, as (0, 1), not {self.value_range!r}")

    def axes(self, image: Tensor | Array, name: str) -> str:
        """Return the axes of an image in their order, such as "HWC"; without a layout those usual for its kind."""
        usual = "NCHW" if isinstance(image, Tensor) else "NHW" if image.ndim == 2 else "HWC"
        layout = self.layout or usual
        if image.ndim not in (len(layout), len(layout) - 1):
            raise ImageError(f"{name} has shape {tuple(image.shape)}, not axes {layout}: say by layout which it has")
        return layout[-image.ndim :]

    def to_signed(self, image: Tensor, name: str) -> Tensor:
        """Return a tensor of floats with values in [−1, 1]; `ImageError` where they lie outside the range, or in none.

        Without a range it must be [−1, 1]; values in [0, 1] alone may be meant as black to white, so they are refused.
        """
        low, high = self.value_range or (-1, 1)
        least, greatest = (float(bound) for bound in image.detach().aminmax()) if image.numel() else (low, high)
        if not low <= least <= greatest <= high:
            raise ImageError(f"{name} has values outside [{low}, {high}]: say by value_range what black and white are")
        if self.value_range is None and least >= 0:
            raise ImageError(
                f"{name} has values in [0, 1] alone, which may mean black to white or a bright image in [-1, 1]: "
                "say which by value_range=(0, 1) or value_range=(-1, 1)"
            )
        return image if (low, high) == (-1, 1) else (image - low) * (2 / (high - low)) - 1

    def from_signed(self, x: Tensor) -> Tensor:
        """Return what `to_signed` made of an image."""
        low, high = self.value_range or (-1, 1)
        return x if (low, high) == (-1, 1) else (x + 1) * ((high - low) / 2) + low


def to_nchw(image: T, axes: str) -> T:
    """Return (N, C, H, W) of a tensor or an array with these axes; those that it lacks are 1 long."""
    order = _full(axes)
    whole = image[(None,) * (4 - image.ndim)]
    return _move(whole, [order.index(axis) for axis in "NCHW"])


def from_nchw(x: T, axes: str) -> T:
    """Return what `to_nchw` made (N, C, H, W) of."""
    whole = _move(x, ["NCHW".index(axis) for axis in _full(axes)])
    return whole[(0,) * (4 - len(axes))]


def _full(axes: str) -> str:
    return "".join(axis for axis in "NCHW" if axis not in axes) + axes


def _move(x: T, order: list[int]) -> T:
    return x.permute(order) if isinstance(x, Tensor) else x.transpose(order)


def to_stored_images(array: Array, axes: str) -> Array:
    """Return uint8 or uint16 with these axes as stored images (N, H, W) or (N, H, W, C)."""
    images = np.moveaxis(to_nchw(array, axes), 1, -1)
    return images[..., 0] if images.shape[-1] == 1 else images


def from_stored_images(images: Array, axes: str) -> Array:
    """Return what `to_stored_images` made stored images of."""
    images = images if images.ndim == 4 else images[..., None]
    return np.ascontiguousarray(from_nchw(np.moveaxis(images, -1, 1), axes))


def to_floats(array: Array, name: str) -> Tensor:
    """Return an array of floats as a tensor of its own."""
    if array.dtype.itemsize > 8:
        raise ImageError(f"{name} has type {array.dtype}: give float16, float32 or float64")
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
