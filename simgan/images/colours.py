"""Depth turned into colours that are seen: as it is, a few thousand millimetres are a twentieth of 16 bits, near black.

A hand's relief runs through viridis, whose lightness is even to the eye and which colour-blind eyes read alike.
"""

import cv2
import numpy as np

from simgan.images.arrays import Array
from simgan.images.depth import Window, find_window

LOST, WON = (230, 159, 0), (86, 180, 233)  # orange and sky blue of Okabe and Ito
_COLOURS = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_VIRIDIS).reshape(256, 3)[:, ::-1]


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


def difference(before: Array, after: Array, change: float) -> Array:
    """Show how far the surface moved between two depth images, uint16 (H, W), as RGB, uint8 (H, W, 3).

    Grey where it did not, white where it is `change` mm or more farther, black as much nearer; orange pixels lost their
    reading, blue ones won one.
    """
    moved = (after.astype(np.float64) - before).clip(-change, change) * (127 / change) + 128
    shown = np.repeat(moved.round().astype(np.uint8)[..., None], 3, -1)
    shown[(before > 0) & (after == 0)] = LOST
    shown[(before == 0) & (after > 0)] = WON
    return shown
