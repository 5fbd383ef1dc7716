"""Depth in the Space: told from images, and turned into colours that are seen.

A depth image is dark as it is: its few thousand millimetres are a twentieth of what 16 bits hold. Shown, a hand's
relief runs through viridis, whose lightness is even to the eye and which colour-blind eyes read alike.
"""

import cv2
import numpy as np
from PIL import Image

from simgan.demo.preview import resized
from simgan.depth import Window, find_window, is_packed, stored_depth, unpack
from simgan.errors import ImageError
from simgan.images import Array, to_stored
from simgan.refiner import Refiner
from simgan.refining import checked, is_of_depth

NEAREST, FARTHEST = 100, 10_000  # mm that depth cameras measure
CHANGE = 25  # mm, of the difference's white and black
LOST, WON = (230, 159, 0), (86, 180, 233)  # orange and sky blue of Okabe and Ito
LEGEND = (
    f"Bright is near, dark is far, black is no reading. In the difference, lighter is farther (white: {CHANGE} mm or "
    "more), orange pixels lost their reading, and blue ones won one."
)
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_VIRIDIS).reshape(256, 3)[:, ::-1]


def check_kind(refiner: Refiner, image: Image.Image, name: str) -> None:
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


def span(depth: Array) -> Window:
    """Give the part of the refiner's window of a depth image that has readings, for the eye: the hand's own relief."""
    found = find_window(depth)
    inside = depth[found.holds(depth)]
    near, far = int(inside.min()), int(inside.max())
    return Window(near, max(1.0, 1.15 * (far - near)))  # leaves some colours to what is refined to lie deeper


def colour(depth: Array, shown: Window) -> Array:
    """Show depth, uint16 (H, W) in mm, as RGB, uint8 (H, W, 3).

    Near is bright, what lies beyond `shown` has the darkest colour, and no reading is black.
    """
    colours = _COLOURS[(255 * _nearness(depth, shown)).round().astype(np.uint8)]
    return np.where(depth[..., None] > 0, colours, 0).astype(np.uint8)


def grey(depth: Array, shown: Window) -> Array:
    """Show depth as `colour` does, but uint8 (H, W), to lie below other colours."""
    return np.where(depth > 0, 48 + 207 * _nearness(depth, shown), 0).round().astype(np.uint8)


def _nearness(depth: Array, shown: Window) -> Array:
    return (1 - (depth - np.float64(shown.near)) / shown.depth).clip(0, 1)


def pair(before: Image.Image, after: Image.Image) -> tuple[Array, Array, Array]:
    """Give a depth image, the refined one and their difference in colours: RGB, equal in size; see `LEGEND`."""
    first, second = stored_depth(before), readings(after)
    shown = span(first)
    moved = (second.astype(np.float64) - first).clip(-CHANGE, CHANGE) * (127 / CHANGE) + 128
    difference = np.repeat(moved.round().astype(np.uint8)[..., None], 3, -1)
    difference[(first > 0) & (second == 0)] = LOST
    difference[(first == 0) & (second > 0)] = WON
    one, other, third = (
        resized(image, mixed=False) for image in (colour(first, shown), colour(second, shown), difference)
    )
    return one, other, third


def readings(image: Image.Image) -> Array:
    """Give a refined depth image as uint16 (H, W) in mm, also where no reading is left in it."""
    stored = to_stored(image)
    return unpack(stored) if is_packed(stored) else stored
