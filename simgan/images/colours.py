"""Depth as colours: in 16 bits a few thousand millimetres are a twentieth of the range, which looks black.

Depth is shown in viridis, whose lightness is perceptually uniform and which colour-blind people can read.
"""

import numpy as np

from simgan.images.arrays import Array
from simgan.images.depth import Window, find_window

LOST, WON = (230, 159, 0), (86, 180, 233)  # orange and sky blue of Okabe and Ito
_ANCHORS = np.frombuffer(
    bytes.fromhex(
        "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c"
        "1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e21aeae51afde725"
    ),
    np.uint8,
).reshape(-1, 3)  # viridis at 33 evenly spaced values; linear in between, it is at most 2 of 255 off
_COLOURS = np.stack(
    [np.interp(np.arange(256), np.rint(np.linspace(0, 255, len(_ANCHORS))), channel) for channel in _ANCHORS.T], 1
).round()


def span(depth: Array) -> Window:
    """Return the depths to show of an image, uint16 (H, W): from the nearest to the farthest reading of its window."""
    found = find_window(depth)
    inside = depth[found.holds(depth)]
    near, far = int(inside.min()), int(inside.max())
    return Window(near, max(1.0, 1.15 * (far - near)))  # some colours are left for refined depth behind the farthest


def colour(depth: Array, shown: Window) -> Array:
    """Return depth, uint16 (H, W) in mm, as RGB, uint8 (H, W, 3).

    Near is bright, depths beyond `shown` have the darkest colour, and no reading is black.
    """
    colours = _COLOURS[(255 * _nearness(depth, shown)).round().astype(np.uint8)]
    return np.where(depth[..., None] > 0, colours, 0).astype(np.uint8)


def grey(depth: Array, shown: Window) -> Array:
    """Return depth as grey levels, uint8 (H, W), so that other colours can be drawn over it; else as `colour`."""
    return np.where(depth > 0, 48 + 207 * _nearness(depth, shown), 0).round().astype(np.uint8)


def _nearness(depth: Array, shown: Window) -> Array:
    return (1 - (depth - np.float64(shown.near)) / shown.depth).clip(0, 1)


def difference(before: Array, after: Array, change: float) -> Array:
    """Return how far the surface moved between two depth images, uint16 (H, W), as RGB, uint8 (H, W, 3).

    Grey: not at all. White: `change` mm or more farther. Black: as much nearer. Orange: the reading was lost. Blue: a
    reading was gained.
    """
    moved = (after.astype(np.float64) - before).clip(-change, change) * (127 / change) + 128
    shown = np.repeat(moved.round().astype(np.uint8)[..., None], 3, -1)
    shown[(before > 0) & (after == 0)] = LOST
    shown[(before == 0) & (after > 0)] = WON
    return shown
