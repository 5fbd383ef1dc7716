"""Stored images: PIL images and arrays become tensors, and come back with their size, mode and bit depth.

A *stored* image is uint8 or uint16, (H, W) or (H, W, 3), or either with alpha; a tensor is (B, C, H, W) float32 in
[−1, 1]. Modes of Pillow that hold the same are taken and come back; those that would lose something are refused.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from simgan.errors import ImageError

Array = NDArray[Any]
MINIMUM_SIZE = 16  # px of the shorter side of an image that a refiner takes
MODES = ("L", "LA", "RGB", "RGBA", "I;16")
REMEDIES = {
    "P": "it has a colour palette, which refined colours do not fit: convert it to RGB",
    "1": "it has 1 bit, and a refined image needs 8: convert it to L",
    "I": "it has values that do not fit 16 bits: scale it to 16",
    "F": "its floats have no known range: save it with 8 or 16 bits, or give a tensor in [-1, 1]",
}


def to_stored(image: Image.Image, name: str = "the image") -> Array:
    """Return a PIL image as an array (H, W) or (H, W, C), alpha included, in its bit depth; `to_pil` is the inverse."""
    if image.mode in MODES:
        return np.array(image)
    if image.mode == "P" and "transparency" not in image.info:
        palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
        if (palette == palette[:, :1]).all():  # of greys
            return np.array(image.convert("L"))
    if image.mode in ("I;16B", "I;16L", "I;16N", "I"):
        values = np.array(image)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)
    remedy = REMEDIES.get(image.mode, f"convert it to one of {', '.join(MODES)}")
    raise ImageError(f"{name} has mode {image.mode}: {remedy}")


def to_pil(array: Array, mode: str) -> Image.Image:
    """Return a stored image as a PIL image of a mode that `to_stored` takes."""
    if mode == "P":
        return Image.fromarray(array).convert("P")  # with the grey palette
    if mode == "I":
        return Image.fromarray(array.astype(np.int32))
    return Image.fromarray(array.astype(">u2") if mode == "I;16B" else array)


def check_size(array: Array, name: str) -> None:
    """Raise `ImageError` where an array (H, W) or (H, W, C) is too small for a refiner."""
    if min(array.shape[:2]) < MINIMUM_SIZE:
        least = f"{MINIMUM_SIZE}×{MINIMUM_SIZE}"
        raise ImageError(f"{name} is {array.shape[1]}×{array.shape[0]} pixels: at least {least} are needed")


def equalize(array: Array) -> Array:
    """Return (..., H, W), uint8 or uint16, each plane with its histogram equalized over the whole range of its type.

    8 bits become what `cv2.equalizeHist` returns; it is in single precision, and 16 bits need double.
    """
    planes = array.reshape(-1, array.shape[-2] * array.shape[-1])
    top = np.iinfo(array.dtype).max
    precision: Any = np.float32 if top == 255 else np.float64
    counts = np.zeros((len(planes), top + 1), np.int64)
    for count, plane in zip(counts, planes, strict=True):
        for start in range(0, plane.size, 2**20):  # as bincount needs 8 bytes for each pixel
            count += np.bincount(plane[start : start + 2**20], minlength=top + 1)
    rank = counts.cumsum(1)
    rank -= np.take_along_axis(counts, (counts > 0).argmax(1)[:, None], 1)  # of the darkest level
    scale = precision(top) / rank[:, -1:].clip(1).astype(precision)
    tables = np.rint(rank.astype(precision) * scale).clip(0).astype(array.dtype)
    tables[rank[:, -1] == 0] = np.arange(top + 1)  # a plane of one level stays as it is
    if top > 255:
        return np.stack([table[plane] for plane, table in zip(planes, tables, strict=True)]).reshape(array.shape)
    mapped = b"".join(plane.tobytes().translate(table.tobytes()) for plane, table in zip(planes, tables, strict=True))
    return np.frombuffer(bytearray(mapped), np.uint8).reshape(array.shape)


def equalize_tensor(x: Tensor) -> Tensor:
    """Return (B, C, H, W) in [−1, 1], rounded to 8 bits, with each channel equalized, to the bit as by `equalize`.

    It has no gradient: levels are counted. NaN stays.
    """
    levels = to_levels(x.nan_to_num(-1), 255).int()
    return torch.where(x.isnan(), x, to_signed(equalize_levels(levels, 255), 255).to(x))


def equalize_levels(levels: Tensor, top: int) -> Tensor:
    """Return whole numbers (B, C, H, W) from 0 to `top`, int32, with each channel equalized, as by `equalize`."""
    flat = levels.flatten(2).long()
    counts = flat.new_zeros(*flat.shape[:2], top + 1).scatter_add_(2, flat, flat.new_ones(()).expand_as(flat))
    rank = counts.cumsum(2) - counts.gather(2, flat.amin(2, keepdim=True))
    precision = torch.float32 if top == 255 else torch.float64
    most = rank[..., -1:].clamp_min(1).to(precision)
    tables = (rank.to(precision) * (torch.full_like(most, top) / most)).round().int().clamp_min(0)
    same = torch.arange(top + 1, dtype=torch.int32, device=levels.device)
    tables = torch.where(rank[..., -1:] > 0, tables, same)  # a plane of one level stays as it is
    return tables.gather(2, flat).view_as(levels)


def to_signed(levels: Tensor, top: int) -> Tensor:
    """Return whole numbers from 0 to `top` as float32 in [−1, 1]."""
    return levels.float() * (2 / top) - 1


def to_levels(x: Tensor, top: int) -> Tensor:
    """Return x in [−1, 1], clamped, as whole numbers from 0 to `top`, in float32, rounded to the nearest."""
    return ((x.float().clamp(-1, 1) + 1) * (top / 2)).round()


def equalize_images(images: Array) -> Array:
    """Return images (N, H, W) or (N, H, W, C) with each channel equalized."""
    return equalize(images) if images.ndim == 3 else np.moveaxis(equalize(np.moveaxis(images, -1, 1)), 1, -1)


def luminance(colours: Array) -> Array:
    """Return the luminance (..., H, W) of RGB, uint8 or uint16 (..., H, W, 3), as `cv2.cvtColor` computes it."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return ((red * 4899 + green * 9617 + blue * 1868 + 8192) >> 14).astype(colours.dtype)


def to_tensor(planes: Array) -> Tensor:
    """Return stored images (B, H, W) or (B, H, W, C) as (B, C, H, W) float32 in [−1, 1]."""
    maximum = np.iinfo(planes.dtype).max
    values = torch.from_numpy(planes.astype(np.float32) * np.float32(2 / maximum) - 1)
    return values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2)


def to_array(tensor: Tensor, dtype: Any) -> Array:
    """Return (B, C, H, W) in [−1, 1], clamped, as stored images (B, H, W) or (B, H, W, C), rounded to the nearest."""
    maximum = np.iinfo(dtype).max
    array = to_levels(tensor, maximum).permute(0, 2, 3, 1).cpu().numpy().astype(dtype)
    return array[..., 0] if array.shape[-1] == 1 else array
