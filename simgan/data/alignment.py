"""Alignment: scale and centre of a source's crops are fitted to those of real ones, without labels.

Scale and centre matter more than any network. The mean of many equalized crops shows the object at its usual place. The
mean of the source is scaled and moved until its correlation with the real mean is largest; then crops are cut again
with this correction.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import minimize

from simgan.data.crop import Correction, Wanted
from simgan.data.loader import Crops
from simgan.data.sources import read
from simgan.domains.base import Images
from simgan.images.arrays import equalize

Mean = NDArray[np.float32]
SCALES = (0.75, 0.87, 1.0, 1.15, 1.33)
LARGEST = (np.log(1.5), 10 / 55, 8 / 55)  # limits of the correction: log of the scale, shares of the width in x and y
LIGHT = 0.15  # of the width: smoother structures are light and shade
WEAK = 0.7  # correlation below which the summary warns
MAGNIFY = 6
ROUNDS = 3
CROPS = 1000  # of either side, from which means are computed


@dataclass(frozen=True)
class Alignment:
    """The correction that was found, and the correlation of the means before and after it."""

    correction: Correction
    before: float
    after: float

    @property
    def summary(self) -> str:
        """One sentence for a person, with a warning where the means correlate weakly: what moves is not in them."""
        c = self.correction
        warning = ", which is weak: look at both before you trust it" if self.after < WEAK else ""
        return (
            f"crops made {c.scale:.3f} times as wide and moved by ({c.x:+.1f}, {c.y:+.1f}) px: "
            f"the means correlate {self.after:.3f} instead of {self.before:.3f}{warning}"
        )


def align_crops(source: str, real: str, wanted: Wanted, picture: Path) -> Alignment:
    """Find the correction of a source's crops, and write means as a PNG: first, best and real ones side by side.

    Crops are cut again in each round, as the borders of the first ones distort the fit a little. The round that
    correlates best is taken: crops that may not leave their photographs do not go where a fit wants them.
    """
    wanted = replace(wanted, channels=1, limit=CROPS)
    target = mean_image(real, wanted)
    corrections, means = [Correction()], [mean_image(source, wanted)]
    for _ in range(ROUNDS):
        corrections.append(corrections[-1].then(align(means[-1], target).correction))
        means.append(mean_image(source, replace(wanted, correction=corrections[-1])))
    found = [_correlation(_flat(mean), _flat(target)) for mean in means]
    best = int(np.argmax(found))
    row = np.concatenate([np.pad(mean, 1) for mean in (means[0], means[best], target)], 1).round().astype(np.uint8)
    size = (row.shape[1] * MAGNIFY, row.shape[0] * MAGNIFY)
    Image.fromarray(row).resize(size, Image.Resampling.NEAREST).save(picture)
    return Alignment(corrections[best], found[0], found[best])


def mean_image(source: str, wanted: Wanted) -> Mean:
    """Return the mean (H, W) of a source's equalized crops."""
    return mean_of(Crops(read(source, wanted))[:])


def mean_of(images: Images) -> Mean:
    """Return the mean (H, W) of images uint8 (N, H, W), each equalized."""
    mean: Mean = np.mean([equalize(image) for image in images], axis=0, dtype=np.float32)
    return mean


def align(source: Mean, real: Mean) -> Alignment:
    """Find the correction that maps crops with the mean `source` to those with the mean `real`, both (H, W).

    Light and shade are removed from both. The normalized cross-correlation where both are known is maximized over scale
    and centre (Powell's method) from several scales. Look at the means: half an object correlates, too.
    """
    wide = source.shape[1]
    limits = [(-largest, largest) for largest in (LARGEST[0], LARGEST[1] * wide, LARGEST[2] * wide)]
    flat = _flat(source), _flat(real)

    def loss(parameters: NDArray[np.float64]) -> float:
        return -_correlation(*flat, *parameters)

    starts = [(np.log(scale), 0.0, 0.0) for scale in SCALES]
    results = [minimize(loss, start, method="Powell", bounds=limits, options={"xtol": 1e-3}) for start in starts]
    best = min(results, key=lambda result: float(result.fun))
    logarithm, x, y = (float(value) for value in best.x)
    return Alignment(Correction(float(np.exp(logarithm)), x, y), -loss(np.zeros(3)), -float(best.fun))


def _flat(mean: Mean) -> Mean:
    """Return it without light and shade."""
    return mean - cv2.GaussianBlur(mean, (0, 0), LIGHT * mean.shape[1])


def _correlation(source: Mean, real: Mean, logarithm: float = 0.0, x: float = 0.0, y: float = 0.0) -> float:
    """Return the correlation of `real` with the mean of crops exp(logarithm) times as large and moved by (x, y) px."""
    scale = np.exp(logarithm)
    middle = (np.array(source.shape[::-1]) - 1) / 2
    offset = middle + np.array([x, y]) - scale * middle
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (source.shape[1], source.shape[0])
    moved = cv2.warpAffine(source, matrix, size, flags=flags)
    known = cv2.warpAffine(np.ones_like(source), matrix, size, flags=flags) > 0.99
    return float(np.corrcoef(moved[known], real[known])[0, 1])
