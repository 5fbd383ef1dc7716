"""Depth: whether refined images have the holes, edges, noise and steps of real ones, and how far their surface moved.

Sets must be cropped alike: the same cube, the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from simgan.errors import ImageError
from simgan.images import depth
from simgan.measures.patches import measure_patches
from simgan.measures.realism import Realism, Row
from simgan.measures.shift import Further, Shift, measure_shift
from simgan.measures.statistics import Estimate, Floats, Groups, Names, estimate, estimate_all, group_images

Images = NDArray[np.uint16]

_CLOSED = 5  # px: gaps of an outline up to this are closed
_SMOOTH = 4.0  # px along an outline: σ of the Gaussian that smooths it
_PLANE = 5  # px: side of a window to which a plane is fitted
_DETAIL = 5.0  # mm
_STEPS = 20  # mm: larger steps are edges, and all alike
_LEAST_OUTLINE = 32  # points


def measure_depth_realism(
    refined: Images,
    real: Images,
    raw: Images,
    *,
    persons: Names | None = None,
    real_persons: Names | None = None,
    seed: int = 0,
) -> Realism:
    """Measure the realism of depth images, each set uint16 (N, H, W) in mm, 0 = no reading.

    Rows: patch distances of depth, of detail (depth less its median over 5 × 5 pixels: noise, steps and edges without
    the form of the object, which differs more between objects than between worlds) and of masks (where there is a
    reading), in the quarter of the crop around the middle of the readings. Then Wasserstein distances of the
    distributions over images of what is measured, those of steps over all pairs of neighbouring pixels. Arguments are
    as for `measure_realism`. `ImageError` for images that are no depth.
    """
    sets = {"refined": refined, "raw": raw, "real": real}
    for name, images in sets.items():
        _check(images, name)
    groups = group_images(len(refined), persons)[0], group_images(len(real), real_persons)[0]
    rows, closed = [], {}
    for name, view in (("depth patches", _tensor), ("detail patches", detail_of), ("mask patches", mask_of)):
        views = (_around_readings(view(images), images) for images in (refined, real, raw))
        distances, closed[name] = measure_patches(*views, groups=groups, seed=seed)
        rows.append(Row(name, *distances, factor=1000, digits=1))
    for name, measure, factor, digits, unit in (
        ("holes", hole_shares, 100, 2, " %"),
        ("edge jaggedness", edge_jaggedness, 1, 3, " px"),
        ("plane residual", plane_residuals, 1, 2, " mm"),
        ("depth levels", depth_levels, 100, 1, " %"),
    ):
        values = {kind: measure(images) for kind, images in sets.items()}
        means = {kind: float(np.nanmean(one)) if np.isfinite(one).any() else np.nan for kind, one in values.items()}
        rows.append(Row(name, *_compare(values, groups, _wasserstein, seed), factor, digits, unit, means))
    counts = {kind: step_counts(images) for kind, images in sets.items()}
    means = {kind: float(_shares(one) @ np.arange(_STEPS + 1)) for kind, one in counts.items()}
    rows.append(Row("depth steps", *_compare(counts, groups, _step_distance, seed), 1, 2, " mm", means))
    return Realism(
        rows=tuple(rows),
        closed=closed["detail patches"],
        closed_of="detail patches",
        note="Distances from real images, those of patches × 1000. In brackets: 95 % intervals.",
    )


def measure_surface_shift(
    before: Images, after: Images, *, persons: Names | None = None, moved: str = "surface", seed: int = 0
) -> Shift:
    """Measure how far the surface moved from each image of `before` to that of `after`, uint16 (N, H, W) in mm, N ≥ 2.

    Further figures are means over images: of their medians and 90th percentiles, and of the shares of their readings
    that were lost and gained.
    `ImageError` where the sets do not fit or are no depth.
    """
    if before.shape != after.shape:
        raise ImageError(f"pairs of images are needed, not {before.shape} and {after.shape}")
    for name, images in (("before", before), ("after", after)):
        _check(images, name)
    return measure_shift(
        np.array([moved_surface(*pair) for pair in zip(before, after, strict=True)], np.float64),
        moved=moved,
        unit="mm",
        persons=persons,
        further={
            "readings lost": Further(lambda rows: float(rows[:, 2].mean()), 100, 2, " %"),
            "readings gained": Further(lambda rows: float(rows[:, 3].mean()), 100, 2, " %"),
            # Readings are whole mm, so that medians over images are coarse.
            "mean of medians": Further(lambda rows: float(rows[:, 0].mean()), unit=" mm"),
            "mean of 90th percentiles": Further(lambda rows: float(rows[:, 1].mean()), unit=" mm"),
        },
        note="Median and percentile are over the pixels of an image that have a reading before and after.",
        seed=seed,
    )


def hole_shares(images: Images) -> Floats:
    """Return the share of pixels without a reading within the silhouette of each image, (N,).

    A silhouette is the filled outline of the readings, with small gaps closed. NaN where there is none.
    """
    shares = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        closed = cv2.morphologyEx(
            (image > 0).astype(np.uint8), cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_CLOSED,) * 2)
        )
        if outlines := _outlines(closed):
            inside = cv2.drawContours(np.zeros_like(closed), outlines, -1, 1, cv2.FILLED) > 0
            shares[number] = (image[inside] == 0).mean()
    return shares


def edge_jaggedness(images: Images) -> Floats:
    """Return the root mean square distance of outlines from the smoothed outlines, in px, (N,).

    About 0.25 px for a smooth edge, as pixels are square. NaN where there is no outline of 32 points or more.
    """
    found = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        squares = [np.empty(0)]
        for outline in _outlines((image > 0).astype(np.uint8)):
            points = outline[:, 0].astype(np.float64)
            away = points - ndimage.gaussian_filter1d(points, _SMOOTH, axis=0, mode="wrap")
            last = np.array(image.shape)[::-1] - 1
            cut = ((points == 0) | (points == last)).any(1)  # along the border of the crop
            squares.append(np.square(away[~cut]).sum(1))
        if len(every := np.concatenate(squares)):
            found[number] = np.sqrt(every.mean())
    return found


def plane_residuals(images: Images) -> Floats:
    """Return the root mean square distance of 5 × 5 readings from their plane, in mm: the median of each image, (N,).

    Only windows with all 25 readings count; NaN where there is none.
    """
    reach = np.arange(_PLANE) - _PLANE // 2
    count, spread = _PLANE**2, _PLANE * float(np.square(reach).sum())
    ones, ramp = np.ones(_PLANE), reach.astype(np.float64)
    found = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        z = image.astype(np.float64)
        whole = cv2.erode((image > 0).astype(np.uint8), np.ones((_PLANE, _PLANE), np.uint8), borderValue=0) > 0
        if not whole.any():
            continue
        squares, level, across, down = (
            cv2.sepFilter2D(values, cv2.CV_64F, along, upright)[whole]
            for values, along, upright in ((z * z, ones, ones), (z, ones, ones), (z, ramp, ones), (z, ones, ramp))
        )
        rest = squares - level**2 / count - (across**2 + down**2) / spread
        found[number] = np.median(np.sqrt(np.maximum(rest, 0) / (count - 3)))  # a plane has three parameters
    return found


def depth_levels(images: Images) -> Floats:
    """Return the share of whole millimetres that occur between the 5th and 95th percentile of the readings, (N,).

    1 where depth is stored to the millimetre, 1/3 where it has steps of 3 mm.
    """
    found = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        readings = image[image > 0]
        if len(readings):
            low, high = (int(edge) for edge in np.percentile(readings, (5, 95), method="nearest"))
            found[number] = len(np.unique(readings[(readings >= low) & (readings <= high)])) / (high - low + 1)
    return found


def step_counts(images: Images) -> Floats:
    """Return how many neighbouring readings differ by 0, 1, … and by at least 20 mm, (N, 21)."""
    found = np.zeros((len(images), _STEPS + 1))
    for number, image in enumerate(images):
        z = image.astype(np.int64)
        for one, other in ((z[:, 1:], z[:, :-1]), (z[1:], z[:-1])):
            steps = np.abs(one - other)[(one > 0) & (other > 0)]
            found[number] += np.bincount(np.minimum(steps, _STEPS), minlength=_STEPS + 1)
    return found


def _check(images: Images, name: str) -> None:
    if images.dtype != np.uint16 or images.ndim != 3 or len(images) == 0:
        raise ImageError(f"{name} must be depth, uint16 (N, H, W) with N > 0, not {images.dtype} {images.shape}")


def _tensor(images: Images) -> NDArray[np.float32]:
    """Return depth in [0, 1] as networks get it, (N, H, W); an image without any reading is all background."""
    values = np.ones(images.shape, np.float32)
    some = images.any((1, 2))
    values[some] = (depth.to_tensor(images[some])[:, 0].numpy() + 1) / 2
    return values


def mask_of(images: Images) -> NDArray[np.float32]:
    """Return float32 of the shape of the images: 1 where there is a reading, else 0."""
    return (images > 0).astype(np.float32)


def detail_of(images: Images) -> NDArray[np.float32]:
    """Return depth less its median over 5 × 5 pixels, from −5 to 5 mm mapped to float32 in [0, 1]."""
    scale = depth.Window(0).depth * 2 / (depth.FAR + 1) / _DETAIL
    rest = np.stack([plane - cv2.medianBlur(plane, _PLANE) for plane in _tensor(images)])
    return ((np.clip(rest * scale, -1, 1) + 1) / 2).astype(np.float32)


def _around_readings(values: NDArray[np.float32], images: Images) -> NDArray[np.float32]:
    """Return windows of half the height and width, around the mean place of the readings of each image."""
    high, wide = (side // 2 for side in images.shape[1:])
    cut = []
    for plane, image in zip(values, images, strict=True):
        rows, columns = np.nonzero(image) if image.any() else (np.array([high]), np.array([wide]))
        top, left = (int(np.clip(place.mean() - side / 2, 0, side)) for place, side in ((rows, high), (columns, wide)))
        cut.append(plane[top : top + high, left : left + wide])
    return np.stack(cut)


def _outlines(mask: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the outlines of a mask, (M, 1, 2) each; those of single pixels and small groups are left out."""
    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [line for line in lines if len(line) >= _LEAST_OUTLINE]


def moved_surface(before: Images, after: Images) -> tuple[float, float, float, float]:
    """Return median and 90th percentile of how far readings of an image (H, W) moved in mm, and shares lost and gained.

    The first two are NaN where no reading is left.
    """
    there, now = before > 0, after > 0
    moved = np.abs(after.astype(np.int64) - before)[there & now]
    median, p90 = np.quantile(moved, (0.5, 0.9)) if len(moved) else (np.nan, np.nan)
    readings = max(int(there.sum()), 1)
    return float(median), float(p90), (there & ~now).sum() / readings, (now & ~there).sum() / readings


def _wasserstein(a: Floats, b: Floats) -> float:
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    return float(stats.wasserstein_distance(a, b)) if len(a) and len(b) else float("nan")


def _shares(counts: Floats) -> Floats:
    """Return the shares of steps of each size, of what `step_counts` returns for some images."""
    shares: Floats = counts.sum(0) / max(counts.sum(), 1)
    return shares


def _step_distance(a: Floats, b: Floats) -> float:
    return float(np.abs(np.cumsum(_shares(a) - _shares(b))).sum())


def _compare(
    values: dict[str, Floats], groups: tuple[Groups, Groups], distance: Callable[[Floats, Floats], float], seed: int
) -> tuple[Estimate, Estimate, Estimate]:
    """Return the distances of refined and raw values from real ones, and of one half of these from the other."""
    (own, theirs), real, half = groups, values["real"], len(values["real"]) // 2
    refined, raw = estimate_all(
        lambda some, others: [distance(values[kind][some], real[others]) for kind in ("refined", "raw")],
        *(own, theirs),
        seed=seed,
    )
    floor = estimate(
        lambda some, others: distance(real[:half][some], real[half:][others]), theirs[:half], theirs[half:], seed=seed
    )
    return refined, raw, floor
