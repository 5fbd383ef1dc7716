"""Depth: whether refined images have the holes, edges, noise and steps of real ones, and how far their surface moved.

Sets must be cropped alike. OpenCV and SciPy are imported where needed: domains name this, and the core has neither.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError
from simgan.images import depth
from simgan.measures.realism import Realism, Row, measure_patches, patch_swd
from simgan.measures.shift import Shift, measure_shift
from simgan.measures.statistics import Floats, Groups, Persons, estimate_distances

Image = NDArray[np.uint16]  # (H, W)
Images = NDArray[np.uint16]  # (N, H, W)

_PLANE = 5  # px: side of a window to which a plane is fitted
_STEPS = 20  # mm: larger steps are edges, and all alike


def depth_realism(images: Images, real: Images) -> float:
    """Return the mean of the patch distances of detail (noise, steps, edges) and of masks (outlines, holes)."""
    return float(np.mean([patch_swd(view(images), view(real)) for view in (_detail, _mask)]))


def surface_shift(before: Images, after: Images, labels: Mapping[str, Any]) -> Floats:
    """Return median and 90th percentile of how far readings that stay moved, in mm: (N, 2), NaN where none stays."""
    found = np.full((len(before), 2), np.nan)
    for row, one, other in zip(found, before, after, strict=True):
        if (stay := (one > 0) & (other > 0)).any():
            row[:] = np.quantile(np.abs(other.astype(np.int64) - one)[stay], (0.5, 0.9))
    return found


def measure_depth_realism(
    refined: Images, real: Images, raw: Images, *, persons: Persons = (None, None), seed: int = 0
) -> Realism:
    """Measure the realism of depth images, each set uint16 (N, H, W) in mm, 0 = no reading.

    Rows: patch distances of depth, of detail (depth less its local median: noise, steps and edges without the form,
    which differs more between objects than between worlds) and of masks of readings, in the quarter of the crop around
    them. Then Wasserstein distances of distributions over images, those of steps over all pairs of neighbouring pixels.
    `ImageError` for images that are no depth.
    """
    sets = {"refined": refined, "raw": raw, "real": real}
    rows, closed = [], {}
    for name, view in (("depth patches", _tensor), ("detail patches", _detail), ("mask patches", _mask)):
        views = (_around_readings(view(images), images) for images in (refined, real, raw))
        three, closed[name] = measure_patches(*views, persons=persons, seed=seed)
        rows.append(Row(name, *three, factor=1000, digits=1))
    for name, measure, factor, digits, unit in _MEASURED:
        values = {kind: np.array([measure(image) for image in images]) for kind, images in sets.items()}
        distances = partial(_distances, values)
        three, _ = estimate_distances(distances, (len(raw), len(real)), persons, seed=seed)
        rows.append(Row(name, *three, factor, digits, unit, {kind: _mean(one) for kind, one in values.items()}))
    note = "Distances from real images, those of patches × 1000. In brackets: 95 % intervals."
    return Realism(tuple(rows), closed["detail patches"], closed_of="detail patches", note=note)


def measure_surface_shift(
    before: Images, after: Images, labels: Mapping[str, Any] | None = None, seed: int = 0
) -> Shift:
    """Measure how far the surface moved from each image of `before` to that of `after`, uint16 (N, H, W) in mm, N ≥ 2.

    Further figures are means over images. `labels` by column. `ImageError` where the sets do not fit.
    """
    if before.shape != after.shape:
        raise ImageError(f"pairs of images are needed, not {before.shape} and {after.shape}")
    distances, there, now = surface_shift(before, after, {}), before > 0, after > 0
    shares = [moved.sum((1, 2)) / there.sum((1, 2)).clip(1) for moved in (there & ~now, now & ~there)]
    lost, gained = (np.where(np.isfinite(distances[:, 0]), share, np.nan) for share in shares)
    return measure_shift(
        distances,
        labels or {},
        moved="surface",
        unit="mm",
        further={
            "readings lost": (lost, 100, 2, " %"),
            "readings gained": (gained, 100, 2, " %"),
            # Readings are whole mm, so that medians over images are coarse.
            "mean of medians": (distances[:, 0], 1, 2, " mm"),
            "mean of 90th percentiles": (distances[:, 1], 1, 2, " mm"),
        },
        note="Median and percentile are over the pixels of an image that have a reading before and after.",
        seed=seed,
    )


def hole_share(image: Image) -> float:
    """Return the share of pixels without a reading in the silhouette of an image (H, W), its filled outline; or NaN."""
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))  # gaps of an outline up to this are closed
    closed = cv2.morphologyEx((image > 0).astype(np.uint8), cv2.MORPH_CLOSE, disc)
    inside = cv2.drawContours(np.zeros_like(closed), _outlines(closed), -1, 1, cv2.FILLED) > 0
    return float((image[inside] == 0).mean()) if inside.any() else np.nan


def edge_jaggedness(image: Image) -> float:
    """Return the root mean square distance of the outlines of an image (H, W) from themselves smoothed, σ 4 px, in px.

    About 0.25 px for a smooth edge, as pixels are square. NaN where there is no outline of 32 points or more.
    """
    from scipy import ndimage

    squares = [np.empty(0)]
    for outline in _outlines((image > 0).astype(np.uint8)):
        points = outline[:, 0].astype(np.float64)
        away = points - ndimage.gaussian_filter1d(points, 4.0, axis=0, mode="wrap")
        cut = ((points == 0) | (points == np.array(image.shape)[::-1] - 1)).any(1)  # along the border of the crop
        squares.append(np.square(away[~cut]).sum(1))
    every = np.concatenate(squares)
    return float(np.sqrt(every.mean())) if len(every) else np.nan


def plane_residual(image: Image) -> float:
    """Return the median over whole 5 × 5 windows of readings of their RMS distance from a plane, in mm; NaN: none."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (_PLANE, _PLANE)).reshape(-1, _PLANE**2)
    whole = windows[windows.all(1)].astype(np.float64)
    if not len(whole):
        return np.nan
    y, x = np.mgrid[:_PLANE, :_PLANE].reshape(2, -1)
    planes = np.linalg.qr(np.stack([np.ones_like(x), x, y], 1))[0]  # three orthonormal parameters
    away = whole - whole @ planes @ planes.T
    return float(np.median(np.linalg.norm(away, axis=1)) / np.sqrt(_PLANE**2 - 3))


def depth_levels(image: Image) -> float:
    """Return the share of whole mm that occur between the 5th and 95th percentile: 1/3 for steps of 3 mm; else NaN."""
    readings = image[image > 0]
    if not len(readings):
        return np.nan
    low, high = (int(edge) for edge in np.percentile(readings, (5, 95), method="nearest"))
    return len(np.unique(readings[(readings >= low) & (readings <= high)])) / (high - low + 1)


def step_counts(image: Image) -> Floats:
    """Return how many neighbouring readings of an image (H, W) differ by 0, 1, … and by at least 20 mm, (21,)."""
    z, found = image.astype(np.int64), np.zeros(_STEPS + 1)
    for one, other in ((z[:, 1:], z[:, :-1]), (z[1:], z[:-1])):
        steps = np.abs(one - other)[(one > 0) & (other > 0)]
        found += np.bincount(np.minimum(steps, _STEPS), minlength=_STEPS + 1)
    return found


_MEASURED: tuple[tuple[str, Callable[[Image], Any], float, int, str], ...] = (  # with factor, digits and unit
    ("holes", hole_share, 100, 2, " %"),
    ("edge jaggedness", edge_jaggedness, 1, 3, " px"),
    ("plane residual", plane_residual, 1, 2, " mm"),
    ("depth levels", depth_levels, 100, 1, " %"),
    ("depth steps", step_counts, 1, 2, " mm"),
)


def _weighted(values: Floats) -> tuple[Floats, Floats]:
    """Return values of images (N,) that are not NaN, or all sizes that were counted (N, sizes), with their weights."""
    if values.ndim == 2:
        return np.arange(values.shape[1], dtype=np.float64), values.sum(0)
    known = values[np.isfinite(values)]
    return known, np.ones(len(known))


def _mean(values: Floats) -> float:
    known, weights = _weighted(values)
    return float(np.average(known, weights=weights)) if weights.any() else np.nan


def _distances(values: Mapping[str, Floats], kinds: Sequence[str], some: Groups, others: Groups) -> list[float]:
    """Return the Wasserstein distances of the values of kinds of images from those of real ones."""
    from scipy import stats

    found, (real, of_real) = [], _weighted(values["real"][others])
    for one, weights in (_weighted(values[kind][some]) for kind in kinds):
        known = weights.any() and of_real.any()
        found.append(float(stats.wasserstein_distance(one, real, weights, of_real)) if known else np.nan)
    return found


def _tensor(images: Images) -> NDArray[np.float32]:
    """Return depth in [0, 1] as networks get it, (N, H, W); an image without any reading is all background."""
    values = np.ones(images.shape, np.float32)
    some = images.any((1, 2))
    values[some] = (depth.to_tensor(images[some])[:, 0].numpy() + 1) / 2
    return values


def _mask(images: Images) -> NDArray[np.float32]:
    return (images > 0).astype(np.float32)


def _detail(images: Images) -> NDArray[np.float32]:
    """Return depth less its median over 5 × 5 pixels, from −5 to 5 mm mapped to float32 in [0, 1]."""
    import cv2

    scale = depth.CUBE * 2 / (depth.FAR + 1) / 5
    rest = np.stack([plane - cv2.medianBlur(plane, _PLANE) for plane in _tensor(images)])
    return ((np.clip(rest * scale, -1, 1) + 1) / 2).astype(np.float32)


def _around_readings(values: NDArray[np.float32], images: Images) -> NDArray[np.float32]:
    """Return windows of half the height and width, around the mean place of the readings of each image."""
    size = np.array(images.shape[1:]) // 2
    cut = []
    for plane, image in zip(values, images, strict=True):
        middle = np.argwhere(image).mean(0) if image.any() else size
        top, left = np.clip(middle - size / 2, 0, size).astype(int)
        cut.append(plane[top : top + size[0], left : left + size[1]])
    return np.stack(cut)


def _outlines(mask: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the outlines of a mask, (M, 1, 2) each, without those of single pixels and small groups."""
    import cv2

    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [line for line in lines if len(line) >= 32]
