"""Depth in the Space: told from other images, and shown in colours beside what came of it."""

import numpy as np
from PIL import Image

from simgan.errors import ImageError
from simgan.images.arrays import Array, to_stored
from simgan.images.colours import colour, difference, span
from simgan.images.depth import is_packed, stored_depth, unpack
from simgan.refiner import Refiner
from simgan.refining.engine import checked, is_of_depth
from simgan.space.preview import resized

NEAREST, FARTHEST = 100, 10_000  # mm that depth cameras measure
CHANGE = 25  # mm, of the difference's white and black
LEGEND = (
    f"Bright is near, dark is far, black is no reading. In the difference, lighter is farther (white: {CHANGE} mm or "
    "more), orange pixels lost their reading, and blue ones won one."
)


def check_kind(refiner: Refiner, image: Image.Image | Array, name: str) -> None:
    """Raise `ImageError` where an image is none that the refiner takes, depth for one of eyes among them."""
    stored = checked(refiner, image, name)
    if not is_of_depth(refiner) and _looks_like_depth(stored):
        raise ImageError(f"{name} looks like depth in millimetres, and this is no model of hands: choose one")


def _looks_like_depth(stored: Array) -> bool:
    """Whether an image has holes and readings of a depth camera, with nothing between."""
    depth = unpack(stored) if is_packed(stored) else stored
    if depth.dtype != np.uint16 or depth.ndim != 2 or depth.all() or not depth.any():
        return False
    return bool(depth[depth > 0].min() >= NEAREST and depth.max() <= FARTHEST)


def pair(before: Image.Image, after: Image.Image) -> tuple[Array, Array, Array]:
    """Give a depth image, the refined one and their difference in colours: RGB, equal in size; see `LEGEND`."""
    first, second = stored_depth(before), readings(after)
    shown = span(first)
    pictures = colour(first, shown), colour(second, shown), difference(first, second, CHANGE)
    one, other, third = (resized(picture, mixed=False) for picture in pictures)
    return one, other, third


def readings(image: Image.Image) -> Array:
    """Give a refined depth image as uint16 (H, W) in mm, also where no reading is left in it."""
    stored = to_stored(image)
    return unpack(stored) if is_packed(stored) else stored
