"""The steps of a camera's depth, learnt in closed form from its readings.

A camera that triangulates (structured light, stereo) finds disparity in whole steps, and depth is its inverse: so the
steps of depth grow with its square (Khoshelham and Oude Elberink 2012). A network cannot draw them: it sees depth from
the nearest reading on, and they hang on that from the camera.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from simgan.depth import find_window
from simgan.images import Array

FINEST, COARSEST = 1.0, 30.0  # mm, steps at the middle of the readings that are looked for
COHERENCE = 0.2  # of readings with steps 0.3 and more, of readings to the millimetre 0.05
_APART = 25.0  # between scales that are tried: a hundredth of a step apart, from 400 mm to 2 m


@dataclass(frozen=True)
class Disparity:
    """Depth is `scale` / (n + `phase`) mm, n whole: steps of z² / `scale` mm at a depth of z mm."""

    scale: float
    phase: float = 0.0

    @classmethod
    def learn(cls, images: Iterable[Array]) -> Disparity | None:
        """Find the steps of depth images, uint16 (H, W) in mm, from the readings of their hands.

        Of all scales the one at which scale / z lies most alike between whole numbers, over all readings z; how it lies
        is the phase. None where there are no steps to speak of, as where depth is exact to the millimetre.
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
            return None
        return cls(float(scales[best]), float(np.angle(around[best]) / (2 * np.pi)))

    def snap(self, depth: Array) -> Array:
        """Move readings, uint16 in mm, to the nearest step in disparity; 0 stays 0."""
        n = np.maximum(np.rint(self.scale / np.maximum(depth, 1) - self.phase), 1)
        return np.where(depth > 0, np.rint(self.scale / (n + self.phase)).clip(1, 65535), 0).astype(np.uint16)
