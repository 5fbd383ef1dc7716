"""Annotation shift: how far the labelled parts of images move when the images are refined.

Of any image by dense optical flow (DIS, Kroeger et al. 2016) on enlarged images without their local mean and contrast,
so that light is no motion. Flow counts where there are edges and where the flow back returns to where it began.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.images.arrays import Array
from simgan.measures.statistics import Estimate, Floats, estimate_all, group_images

KEPT = 0.95  # share of the images in a trimmed mean: measures fail in a few, and err far
_ENLARGE = 4
_SIGMA = 4.0  # px of the image: scale of the local mean and contrast
_RETURN = 0.5  # px: how far forward and backward flow may disagree
_EDGES = 0.25  # share of pixels with the steepest gradients that count
_LEAST = 0.3  # share of these pixels that must agree; else an image cannot be measured


@dataclass(frozen=True)
class Figure:
    """A figure, shown as `factor` times its value, with `digits` digits and the `unit`."""

    name: str
    estimate: Estimate
    factor: float = 1
    digits: int = 2
    unit: str = ""


@dataclass(frozen=True)
class Shift:
    """How far labelled parts moved, in `unit`, over the images where it could be measured."""

    moved: str  # what moved
    unit: str
    count: int
    missed: float  # share of the images where it could not be measured
    median: Estimate  # over images of the image's median
    p90: Estimate  # 90th percentile over images of the image's 90th percentile
    trimmed_mean: Estimate  # of the images' 90th percentiles, without the largest 5 %
    further: tuple[Figure, ...] = ()
    repeatability: float | None = None  # median of what the measure itself errs by; a shift of that size means nothing
    # By kind of group and its name: count, median, p90 and trimmed_mean.
    groups: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    resampled: str = ""
    note: str = ""


def flow_shift(before: Array, after: Array, labels: Mapping[str, Any] | None = None) -> Floats:
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
        edges = steep >= max(np.quantile(steep, 1 - _EDGES), 1e-3)
        agree = edges & (np.linalg.norm(returned, axis=-1) <= _RETURN * _ENLARGE)
        if agree.sum() > _LEAST * max(edges.sum(), 1):
            row[:] = np.quantile(np.linalg.norm(there[agree], axis=-1) / _ENLARGE, (0.5, 0.9))
    return found


def _normalized(image: Array) -> NDArray[np.uint8]:
    """Return the enlarged luminance (H, W) less its local mean and over its local deviation."""
    import cv2

    grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    away = grey.astype(np.float32) - cv2.GaussianBlur(grey.astype(np.float32), (0, 0), _SIGMA)
    deviation = np.sqrt(cv2.GaussianBlur(away * away, (0, 0), _SIGMA)) + 8
    large = cv2.resize(away / deviation, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * large, 0, 255).astype(np.uint8)


def measure_shift(
    distances: Floats,
    labels: Mapping[str, Any],
    *,
    moved: str,
    unit: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    further: Mapping[str, tuple[NDArray[Any], float, int, str]] | None = None,
    repeatability: float | None = None,
    note: str = "",
    seed: int = 0,
) -> Shift:
    """Sum up what `Domain.shift` returns, (N, 2), N ≥ 2, of images with `labels` by column.

    Persons, the column `person`, are resampled for the intervals, and are one kind of `groups`: the group of each image
    by kind. `further`: more values (N,) whose mean is a figure, with its factor, digits and unit. `ImageError` where
    there are fewer than 2 images, or persons that do not fit.
    """
    persons = [str(name) for name in labels["person"]] if "person" in labels else None
    groups = {**(groups or {}), **({"person": persons} if persons else {})}
    further = further or {}
    resampled, what = group_images(len(distances), persons)
    rows = np.column_stack([distances, *(values for values, *_ in further.values())])
    found = estimate_all(lambda chosen: _figures(rows[chosen]), resampled, draws=500, seed=seed)
    median, p90, trimmed, *rest = (replace(one, low=max(one.low, 0.0)) for one in found)  # nothing moves by less
    return Shift(
        moved,
        unit,
        count=len(distances),
        missed=float(1 - np.isfinite(distances[:, 0]).mean()),
        median=median,
        p90=p90,
        trimmed_mean=trimmed,
        further=tuple(
            Figure(name, estimate, factor, digits, unit)
            for (name, (_, factor, digits, unit)), estimate in zip(further.items(), rest, strict=True)
        ),
        repeatability=repeatability,
        groups={kind: _of_groups(distances, np.asarray(names, str)) for kind, names in groups.items()},
        resampled=what,
        note=note,
    )


def trimmed_mean(values: Floats) -> float:
    """Return the mean of the smallest 95 % of values (N,), N > 0."""
    return float(np.sort(values)[: int(np.ceil(KEPT * len(values)))].mean())


def _figures(rows: Floats) -> list[float]:
    """Return median, 90th percentile and trimmed mean of rows that were measured, and the means of further columns."""
    measured = rows[np.isfinite(rows[:, 0])]
    if not len(measured):
        return [float("nan")] * (rows.shape[1] + 1)
    middle, worst, *others = measured.T
    means = [float(values.mean()) for values in others]
    return [float(np.median(middle)), float(np.quantile(worst, 0.9)), trimmed_mean(worst), *means]


def _of_groups(distances: Floats, names: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    own = {str(name): distances[names == name] for name in np.unique(names)}
    keys = ("count", "median", "p90", "trimmed_mean")
    return {name: dict(zip(keys, [len(rows), *_figures(rows)], strict=True)) for name, rows in own.items()}
