"""Photographs: crops such as a model was trained on are cut out of them, refined, and the change is put back."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.images.arrays import Array
from simgan.measures.statistics import Floats
from simgan.space.models import Model
from simgan.space.notes import SCALE

EDGE = 0.2  # share of a crop's height over which its change fades out at its border
AFFINE, BICUBIC = Image.Transform.AFFINE, Image.Resampling.BICUBIC


def find_crops(model: Model, photograph: Image.Image) -> list[Floats]:
    """Return the maps (2, 3) of the crops that the model's domain finds in an image much larger than its own."""
    find, size = model.domain.find_crops, model.domain.size
    if find is None or size is None or photograph.mode not in ("L", "RGB", "RGBA"):
        return []
    if photograph.width < SCALE * size[0] or photograph.height < SCALE * size[1]:
        return []
    return find(np.asarray(photograph.convert("RGB")))


def cut(photograph: Image.Image, crop: Floats, size: tuple[int, int]) -> Image.Image:
    """Return a crop of a photograph, of the map and size given, in RGB."""
    factor = max(1, int(np.hypot(*crop[:, 0])))  # so many pixels are averaged where the crop is smaller
    reduced = photograph.convert("RGB").reduce(factor)
    return reduced.transform(size, AFFINE, list((crop / factor).ravel()), BICUBIC)


def put_back(photograph: Image.Image, crop: Floats, before: Array, after: Array) -> Image.Image:
    """Return a photograph with the change of a crop, from `before` to `after`, both uint8 (h, w, 3), added to it."""
    height, width = before.shape[:2]
    y, x = ((np.arange(side) + 0.5) for side in (height, width))
    border = np.minimum(np.minimum(y, height - y)[:, None], np.minimum(x, width - x))
    change = (after.astype(np.float32) - before) * np.minimum(border / (EDGE * height), 1)[..., None]
    turn = np.linalg.inv(crop[:, :2])
    # From the photograph to the crop, in a frame of nothing that keeps the border from being repeated
    back = np.c_[turn, -turn @ crop[:, 2] + 1]
    framed = np.pad(change, ((1, 1), (1, 1), (0, 0)))
    planes = [_transform(np.ascontiguousarray(framed[..., channel]), photograph.size, back) for channel in range(3)]
    colours = np.asarray(photograph.convert("RGB")) + np.stack(planes, -1)
    changed = Image.fromarray(colours.round().clip(0, 255).astype(np.uint8))
    if photograph.mode == "RGBA":
        changed.putalpha(photograph.getchannel("A"))
    return changed.convert(photograph.mode)


def _transform(plane: NDArray[np.float32], size: tuple[int, int], back: Floats) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(plane).transform(size, AFFINE, list(back.ravel()), BICUBIC))
