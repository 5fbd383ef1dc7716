"""Annotation shift of any image: dense optical flow between an image and what was refined of it.

DIS flow (Kroeger et al. 2016) on enlarged images with their local mean and contrast removed, so that light and tone do
not count as motion. Flow counts where there are edges and where the flow back returns to where it began.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.images.arrays import Array

ENLARGE = 4
SIGMA = 4.0  # px of the image: scale of the local mean and contrast
RETURN = 0.5  # px: how far forward and backward flow may disagree
EDGES = 0.25  # share of pixels with the steepest gradients that count
LEAST = 0.3  # share of these pixels that must agree; else an image cannot be measured


def flow_shift(before: Array, after: Array, labels: Mapping[str, Any] | None = None) -> NDArray[np.float64]:
    """Return how far edges moved, in px: (N, 2), median and 90th percentile of each image; NaN where no flow is found.

    `before` and `after`: uint8 (N, H, W) or (N, H, W, 3), the same shape.
    """
    import cv2  # domains name this measure, and the core has no OpenCV

    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    found = np.full((len(before), 2), np.nan)
    for row, *pair in zip(found, before, after, strict=True):
        first, second = (_normalized(image) for image in pair)
        there, back = flow.calc(first, second, None), flow.calc(second, first, None)
        across, down = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in first.shape[::-1]))
        returned = there + cv2.remap(back, across + there[..., 0], down + there[..., 1], cv2.INTER_LINEAR)
        steep = np.hypot(*(cv2.Sobel(first, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
        edges = steep >= max(np.quantile(steep, 1 - EDGES), 1e-3)
        agree = edges & (np.linalg.norm(returned, axis=-1) <= RETURN * ENLARGE)
        if agree.sum() > LEAST * max(edges.sum(), 1):
            row[:] = np.quantile(np.linalg.norm(there[agree], axis=-1) / ENLARGE, (0.5, 0.9))
    return found


def _normalized(image: Array) -> NDArray[np.uint8]:
    """Return the enlarged luminance (H, W) less its local mean and over its local deviation."""
    import cv2

    grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    away = grey.astype(np.float32) - cv2.GaussianBlur(grey.astype(np.float32), (0, 0), SIGMA)
    deviation = np.sqrt(cv2.GaussianBlur(away * away, (0, 0), SIGMA)) + 8
    large = cv2.resize(away / deviation, None, fx=ENLARGE, fy=ENLARGE, interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * large, 0, 255).astype(np.uint8)
