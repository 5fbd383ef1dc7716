"""Annotation shift: how far the labelled parts of images move when they are refined, and how much of them is left.

Of any image by dense optical flow (DIS, Kroeger et al. 2016) between how steep its colours are: gradients of all
channels together, on enlarged images, less their local mean and over their local deviation. So light, other colours and
an inverted contrast are no motion. Flow counts at edges, of what labels mark if there are any, where the flow back
returns to where it began and where what lies there looks alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError
from simgan.images import marks
from simgan.images.arrays import Array
from simgan.measures.statistics import Estimate, Floats, estimate_all, group_images

KEPT = 0.95  # share of the images in a trimmed mean: measures fail in a few, and err far
_ENLARGE = 2
_BLUR = 1.0  # px of the image: finer detail is noise
_SIGMA = 4.0  # px: scale of the local mean and deviation
_WINDOW = 7  # px: what is compared about a place
_RETURN = 0.5  # px: how far forward and backward flow may disagree
_ALIKE = 0.5  # correlation with what lies where the flow leads
_EDGES = 0.25  # share of the places that count, the steepest ones
_STEEP = 2.0  # levels (or mm of depth) a px, or of deviation: what is flatter is no edge
_LEAST = 0.3  # share of the edges that must agree; else an image cannot be measured

Single = NDArray[np.float32]


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

    `before` and `after`: uint8 (N, H, W) or (N, H, W, 3), the same shape. `labels`, by column, those of
    `simgan.images.marks.COLUMNS`: edges of what they mark are measured, and nothing where they mark nothing in an
    image; all images' strongest edges without such columns. A domain with another column gives it as one of these:
    `lambda before, after, labels: flow_shift(before, after, {"points": labels["screws"]})`. `ImageError` for labels
    that do not fit.

    Known shifts are found within 0.1 px up to 2 px, and 0.2 px at 4 px, also under other colours, contrast and noise.
    An image blurred by σ = 1 px seems to have moved by about 0.15 px, and its 90th percentile by 0.3 px.
    """
    found = np.full((len(before), 2), np.nan)
    for row, vectors in zip(found, _flow(before, after, labels), strict=True):
        if len(vectors):
            row[:] = np.quantile(np.linalg.norm(vectors, axis=-1), (0.5, 0.9))
    return found


def part_shift(before: Array, after: Array, labels: Mapping[str, Any] | None = None) -> Floats:
    """Return how far what labels mark moved as a whole, in px, (N,): the length of the median flow, else NaN.

    Flow at a single edge errs where light, sharpness or noise change, and errors to all sides cancel out. Images and
    labels are those of `flow_shift`, and known shifts are found as well.
    """
    return np.array(
        [np.linalg.norm(np.median(vectors, 0)) if len(vectors) else np.nan for vectors in _flow(before, after, labels)]
    )


def edges_left(before: Array, after: Array, labels: Mapping[str, Any] | None = None) -> Floats:
    """Return how much is left of the edges that `flow_shift` measures, (N,) in [−1, 1]; NaN where there are none.

    It is the mean over edges of the correlation of a window's gradients with those at the same place after refining,
    times 2r / (1 + r²) where their contrast fell to the share r. So it is 1 for what is untouched, and stays above 0.8
    in other colours or half of the contrast. At a contrast of 30 % it is 0.55, and about 0 where an edge is gone or has
    moved by more than 2 px. Flow cannot see what has faded.
    """
    found = np.full(len(before), np.nan)
    for place, (first, second, edges) in enumerate(_at_edges(before, after, labels)):
        if edges.any():
            correlation, contrast, rest = (values[edges] for values in _correlation(first, second))
            share = np.minimum(rest / contrast, 1)
            found[place] = (correlation * 2 * share / (1 + share**2)).mean()
    return found


def likeness(before: Array, after: Array, labels: Mapping[str, Any] | None = None) -> Floats:
    """Return how alike what labels mark looks, (N,) in [−1, 1]; NaN where they mark nothing, or what has no contrast.

    It is the mean over what is marked of the correlation of the values in a window of 7 px with those at the same place
    after refining, both blurred a little. Unlike gradients, they hardly change with sharpness and noise, and contrast
    does not count. Inverted contrast is −1. Images and labels are those of `flow_shift`.
    """
    found = np.full(len(before), np.nan)
    for place, (first, second, area) in enumerate(_pairs(before, after, labels)):
        correlation, contrast, _ = _correlation(_enlarged(first), _enlarged(second))
        known = contrast >= _STEEP
        if area is not None:
            known[~_enlarged_area(area)] = False
        if known.any():
            found[place] = correlation[known].mean()
    return found


def _flow(before: Array, after: Array, labels: Mapping[str, Any] | None) -> Iterator[Single]:
    """Yield the flow at the edges of each image where it can be trusted, (E, 2) in px; none where too few agree."""
    import cv2  # domains name these measures, and the core has no OpenCV

    flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    for *pair, edges in _at_edges(before, after, labels):
        first, second = (_standardized(steepness) for steepness in pair)
        there, back = flow.calc(first, second, None), flow.calc(second, first, None)
        across, down = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in first.shape[::-1]))
        place = across + there[..., 0], down + there[..., 1]
        returned = there + cv2.remap(back, *place, cv2.INTER_LINEAR)
        alike = _correlation(first, cv2.remap(second, *place, cv2.INTER_LINEAR))[0] >= _ALIKE
        agree = edges & alike & (np.linalg.norm(returned, axis=-1) <= _RETURN * _ENLARGE)
        yield there[agree & (agree.sum() > _LEAST * max(edges.sum(), 1))] / _ENLARGE


def _at_edges(
    before: Array, after: Array, labels: Mapping[str, Any] | None
) -> Iterator[tuple[Single, Single, NDArray[np.bool_]]]:
    """Yield how steep both enlarged images are at each place, (H, W), and where the edges of the first one are."""
    import cv2

    for first, second, area in _pairs(before, after, labels):
        steep = _steepness(first)
        edges = steep >= _STEEP
        if area is not None:  # and a pixel beyond, as a border lies between two pixels
            edges &= _enlarged_area(cv2.dilate(area, np.ones((3, 3), np.uint8)).astype(np.float32, copy=False))
        if edges.any():
            considered = steep if area is None else steep[edges]
            edges &= steep >= np.quantile(considered, 1 - _EDGES)
        yield steep, _steepness(second), edges


def _pairs(
    before: Array, after: Array, labels: Mapping[str, Any] | None
) -> Iterator[tuple[Array, Array, Single | None]]:
    """Yield each image, the same one refined, and what labels mark in it, as `_marked`."""
    if before.shape != after.shape:
        raise ImageError(f"pairs of images have one shape, not {before.shape} and {after.shape}")
    yield from zip(before, after, _marked(before, labels), strict=True)


def _marked(images: Array, labels: Mapping[str, Any] | None) -> Sequence[Single | None]:
    """Return what labels mark in each image, the share of each pixel; None of all images without such labels."""
    known = {name: values for name in marks.COLUMNS if any(map(marks.is_known, values := (labels or {}).get(name, ())))}
    if not known:
        return [None] * len(images)
    for name, values in known.items():
        if len(values) != len(images):
            raise ImageError(f"{len(images)} images need the {name} of each, not {len(values)}")
    size = images.shape[2], images.shape[1]
    drawn = [
        np.max([marks.draw(values[k], name, size, f"image {k}") for name, values in known.items()], 0)
        for k in range(len(images))
    ]
    if not np.any(drawn):
        raise ImageError(f"{' and '.join(known)} mark nothing in any image: give pixels of these images")
    return drawn


def _enlarged(image: Array) -> Single:
    """Return it enlarged and without detail that is noise."""
    import cv2

    large = cv2.resize(image.astype(np.float32), None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
    return cv2.GaussianBlur(large, (0, 0), _BLUR * _ENLARGE).astype(np.float32, copy=False)


def _enlarged_area(area: Single) -> NDArray[np.bool_]:
    """Return which places of the enlarged image are at least half marked."""
    return area.repeat(_ENLARGE, 0).repeat(_ENLARGE, 1) >= 0.5


def _steepness(image: Array) -> Single:
    """Return the length of the gradient of all channels of the enlarged image, (H, W), in levels a px."""
    import cv2

    large = _enlarged(image)
    slopes = np.stack([cv2.Sobel(large, cv2.CV_32F, *order, scale=_ENLARGE / 8) for order in ((1, 0), (0, 1))])
    steepness: Single = np.sqrt((slopes**2).reshape(2, *large.shape[:2], -1).sum((0, 3)))
    return steepness


def _standardized(steepness: Single) -> NDArray[np.uint8]:
    """Return it less its local mean and over its local deviation, about 100."""
    import cv2

    away = steepness - cv2.GaussianBlur(steepness, (0, 0), _SIGMA * _ENLARGE)
    deviation = np.sqrt(cv2.GaussianBlur(away * away, (0, 0), _SIGMA * _ENLARGE)) + 1
    return np.clip(100 + 50 * away / deviation, 0, 255).astype(np.uint8)


def _correlation(first: Array, second: Array) -> tuple[Single, Single, Single]:
    """Return the correlation of both in the window about each place, and the standard deviation of each there."""
    import cv2

    window = (_WINDOW * _ENLARGE, _WINDOW * _ENLARGE)
    one, other = first.astype(np.float32), second.astype(np.float32)
    mean, other_mean = cv2.blur(one, window), cv2.blur(other, window)
    deviation, other_deviation = (
        np.sqrt(np.maximum(cv2.blur(values * values, window) - middle**2, 1e-3))
        for values, middle in ((one, mean), (other, other_mean))
    )
    both = cv2.blur(one * other, window) - mean * other_mean
    return np.clip(both / (deviation * other_deviation), -1, 1), deviation, other_deviation


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
    by kind. `further`: more values (N,) whose mean is a figure, with its factor, digits and unit; NaN ones
    are left out. `ImageError` where
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


def known_mean(values: Floats) -> float:
    """Return the mean of the values (N,) that are finite; NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def known_quantile(values: Floats, share: float) -> float:
    """Return the quantile of the values (N,) that are finite, at a share in [0, 1]; NaN where none is."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else float("nan")


def _figures(rows: Floats) -> list[float]:
    """Return median, 90th percentile and trimmed mean of rows that were measured, and the means of further columns."""
    measured = rows[np.isfinite(rows[:, 0])]
    means = [known_mean(values) for values in rows[:, 2:].T]
    if not len(measured):
        return [float("nan")] * 3 + means
    middle, worst = measured[:, :2].T
    return [float(np.median(middle)), float(np.quantile(worst, 0.9)), trimmed_mean(worst), *means]


def _of_groups(distances: Floats, names: NDArray[np.str_]) -> dict[str, dict[str, float]]:
    own = {str(name): distances[names == name] for name in np.unique(names)}
    keys = ("count", "median", "p90", "trimmed_mean")
    return {name: dict(zip(keys, [len(rows), *_figures(rows)], strict=True)) for name, rows in own.items()}
