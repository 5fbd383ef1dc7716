"""What a camera that triangulates does to depth, learnt in closed form from its images: steps and shadows.

A pattern is thrown from beside the camera, and depth is found by how far it is shifted, the disparity. So depth comes
in steps that grow with its square (Khoshelham and Oude Elberink 2012), and a surface that something nearer hides from
the projector has no reading. A refiner draws neither by itself: it sees depth from the nearest reading on, where steps
hang on that from the camera, and half-way to a hole every pixel looks wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from simgan.errors import ConfigError
from simgan.images.arrays import Array
from simgan.images.depth import CUBE, find_window

FINEST, COARSEST = 1.0, 30.0  # mm, steps at the middle of the readings that are looked for
COHERENCE = 0.2  # of readings with steps 0.3 and more, of readings to the millimetre 0.05
_APART = 25.0  # between scales that are tried: from 400 mm to 2 m they drift a twentieth of a step apart
_PIXELS = 224 / CUBE  # a mm at the median depth, as in all crops of depth here


@dataclass(frozen=True)
class Triangulation:
    """What is known of a camera; 0 where there is no such thing.

    Depth is `scale` / (n + `phase`) mm, n whole: steps of z² / `scale` mm at a depth of z mm. The projector stands
    `baseline` mm to the left of the camera (to the right where it is below 0); of its shadows those less than `bridged`
    px wide or high have readings. `ConfigError` for what no camera has.
    """

    scale: float = 0.0
    phase: float = 0.0
    baseline: float = 0.0
    bridged: int = 1

    def __post_init__(self) -> None:
        finite = self.scale < math.inf and abs(self.baseline) < math.inf
        if not (finite and self.scale >= 0 and abs(self.phase) <= 0.5 and self.bridged >= 1):
            raise ConfigError(f"no camera has {self}: scale must be at least 0, phase within 0.5, bridged at least 1")

    def shade(self, image: Array) -> Array:
        """Take away the readings of a hand, uint16 (H, W) in mm, that the projector does not light.

        300 mm at the hand's distance are 224 px, as all crops of hands here. `ImageError` for what is no depth image.
        """
        if not self.baseline:
            return image
        hand = find_window(image).holds(image)
        (top, bottom), (left, right) = (
            (lines[0], lines[-1] + 1) for lines in (np.flatnonzero(hand.any(1)), np.flatnonzero(hand.any(0)))
        )
        part, there = image[top:bottom, left:right], hand[top:bottom, left:right]
        shift = abs(self.baseline) * _PIXELS * float(np.median(image[hand]))
        disparity = (shift / np.where(there, part, part[there].max())).astype(np.float32)
        side = slice(None, None, 1 if self.baseline > 0 else -1)
        lost = (unlit(disparity[:, side])[:, side] & there).astype(np.uint8)
        wide = cv2.morphologyEx(lost, cv2.MORPH_OPEN, np.ones((self.bridged,) * 2, np.uint8))
        shaded = image.copy()
        shaded[top:bottom, left:right][wide > 0] = 0
        return shaded

    def snap(self, depth: Array) -> Array:
        """Move readings, uint16 in mm, to the nearest step in disparity; 0 stays 0."""
        if not self.scale:
            return depth
        n = np.maximum(np.rint(self.scale / np.maximum(depth, 1) - self.phase), 1)
        return np.where(depth > 0, np.rint(self.scale / (n + self.phase)).clip(1, 65535), 0).astype(np.uint16)


def find_steps(images: Iterable[Array]) -> tuple[float, float]:
    """Find scale and phase of the steps of depth images, uint16 (H, W) in mm, from the readings of their hands.

    Of all scales the one at which scale / z lies most alike between whole numbers, over all readings z; how it lies is
    the phase. Zeros where there are no steps to speak of, as where depth is exact to the millimetre.
    """
    counts = np.zeros(65536)
    for image in images:
        counts += np.bincount(image[find_window(image).holds(image)], minlength=len(counts))
    depths = np.flatnonzero(counts).astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    middle = float(depths @ shares)
    scales = np.arange(middle**2 / COARSEST, middle**2 / FINEST, _APART)
    around = np.array([np.exp(2j * np.pi * scale / depths) @ shares for scale in scales])
    best = int(np.abs(around).argmax())
    if abs(around[best]) < COHERENCE:
        return 0.0, 0.0
    return float(scales[best]), float(np.angle(around[best]) / (2 * np.pi))


def unlit(disparity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where the projector's ray to a pixel's point is barred, bool (H, W): `disparity` px further right there."""
    high, wide = disparity.shape
    first = int(disparity.min())
    reach = wide + int(disparity.max()) - first + 3
    there = np.rint(disparity + np.arange(-first, wide - first, dtype=np.float32)).astype(np.int64)
    there += np.arange(high)[:, None] * reach
    nearest = np.zeros((high, reach), np.float32)
    np.maximum.at(nearest.reshape(-1), there.reshape(-1), disparity.reshape(-1))
    nearest = cv2.dilate(nearest, np.ones((1, 3), np.uint8))
    barred: NDArray[np.bool_] = nearest.reshape(-1)[there] > disparity + np.float32(1)
    return barred
