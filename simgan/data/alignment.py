"""Alignment: scale and centre of a source's crops, checked against real ones without a label of either.

Crop, scale and centre decide more than any network: a pupil that sits 3 px off is a gaze that is 12° off. Means of many
equalized crops show an eye at its usual place; the mean of the source is scaled and moved until it correlates best with
the real one, and its crops are cut anew as that says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from simgan.data.crop import Correction
from simgan.images.arrays import equalize

Mean = NDArray[np.float32]
SCALES = (0.75, 0.87, 1.0, 1.15, 1.33)
LARGEST = (np.log(1.5), 10.0, 8.0)  # correction that is sought: of the scale, and in px along x and y at 55 px width
LIGHT = 0.15  # of the width: what is smoother than this is light and shade, not the eye
WEAK = 0.7  # correlation below which the finding is told with a warning
MAGNIFY = 6


@dataclass(frozen=True)
class Alignment:
    """What was found: the correction, and how well the means correlate before and after it."""

    correction: Correction
    before: float
    after: float

    @property
    def told(self) -> str:
        """One sentence for a person.

        It warns of means that hardly correlate: eyes that look anywhere leave a mean without an iris, and its corners
        alone may tell a shift of 2 px that irises of eyes that look the same way do not have.
        """
        c = self.correction
        warning = ", which is weak: look at both before you trust it" if self.after < WEAK else ""
        return (
            f"crops made {c.scale:.3f} times as wide and moved by ({c.x:+.1f}, {c.y:+.1f}) px: "
            f"the means correlate {self.after:.3f} instead of {self.before:.3f}{warning}"
        )


def mean_image(images: NDArray[np.uint8]) -> Mean:
    """Mean (H, W) of equalized crops, uint8 (N, H, W)."""
    mean: Mean = np.mean([equalize(image) for image in images], axis=0, dtype=np.float32)
    return mean


def align(source: Mean, real: Mean) -> Alignment:
    """Find the correction that brings crops with the mean `source` to those with the mean `real`, both (H, W).

    Light and shade are taken out of both; normalized cross-correlation over where both are known is maximized over
    scale and centre (Powell's method) from several scales. Look at the means: half an eye correlates, too.
    """
    unit = source.shape[1] / 55
    limits = [(-largest, largest) for largest in (LARGEST[0], LARGEST[1] * unit, LARGEST[2] * unit)]
    eyes = [mean - cv2.GaussianBlur(mean, (0, 0), LIGHT * mean.shape[1]) for mean in (source, real)]

    def loss(parameters: NDArray[np.float64]) -> float:
        return -_correlation(eyes[0], eyes[1], *parameters)

    starts = [(np.log(scale), 0.0, 0.0) for scale in SCALES]
    results = [minimize(loss, start, method="Powell", bounds=limits, options={"xtol": 1e-3}) for start in starts]
    best = min(results, key=lambda result: float(result.fun))
    logarithm, x, y = (float(value) for value in best.x)
    return Alignment(Correction(float(np.exp(logarithm)), x, y), -loss(np.zeros(3)), -float(best.fun))


def write_means(path: Path, before: Mean, after: Mean, real: Mean) -> None:
    """Show the means of the source, of the corrected source and of the real crops side by side, in a PNG."""
    row = np.concatenate([np.pad(mean, 1) for mean in (before, after, real)], 1).round().astype(np.uint8)
    image = Image.fromarray(row)
    image.resize((row.shape[1] * MAGNIFY, row.shape[0] * MAGNIFY), Image.Resampling.NEAREST).save(path)


def _correlation(source: Mean, real: Mean, logarithm: float, x: float, y: float) -> float:
    """Correlation of `real` with what crops of a box exp(logarithm) as large and moved by (x, y) px would have."""
    scale = np.exp(logarithm)
    middle = (np.array(source.shape[::-1]) - 1) / 2
    offset = middle + np.array([x, y]) - scale * middle
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (source.shape[1], source.shape[0])
    moved = cv2.warpAffine(source, matrix, size, flags=flags)
    known = cv2.warpAffine(np.ones_like(source), matrix, size, flags=flags) > 0.99
    return float(np.corrcoef(moved[known], real[known])[0, 1])
