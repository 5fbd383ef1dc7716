"""Depth realism: do refined depth images have the holes, edges, noise and steps of real ones; and where did they move?

Each measure lies between its floor, real images against real ones, and its ceiling, what was refined. Sets must be cut
alike: the same cube, the same size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from simgan.errors import ImageError
from simgan.images import depth
from simgan.measures import bootstrap
from simgan.measures.estimates import Beside, Estimate, Names, groups_of
from simgan.measures.patches import Realism, measure_realism

Images = NDArray[np.uint16]
Floats = NDArray[np.float64]

_CLOSED = 5  # px, gaps of an outline that are closed
_SMOOTH = 4.0  # px along an outline, the deviation of the Gaussian that makes it smooth
_PLANE = 5  # px, side of a plane's patch
_DETAIL = 5.0  # mm
_STEPS = 20  # mm, beyond which a step is an edge, however high
_LEAST_OUTLINE = 32  # points; what is smaller is a flying pixel or a few
_DRAWS = 200


@dataclass(frozen=True)
class DepthRealism:
    """How near refined depth images are to real ones, beside raw and floor.

    `patches`, `detail` and `masks` are patch distances: of depth, of depth less its median over 5 × 5 pixels (noise,
    steps and edges without the hand's form, which differs more between hands than between worlds), and of where there
    is any; all in the quarter of the crop around the middle of the readings, as most of the rest is background. The
    others are Wasserstein distances of the distributions over images, in the unit of what is measured; `steps` over all
    pairs of neighbouring pixels.
    """

    patches: Realism  # of depth, as a network sees it
    detail: Realism
    masks: Realism
    holes: Beside
    jaggedness: Beside  # px
    residual: Beside  # mm
    levels: Beside
    steps: Beside  # mm
    means: dict[str, dict[str, float]]  # of refined, raw and real images: what each of the five is itself
    step_shares: dict[str, list[float]]  # of steps of 0, 1, … and at least 20 mm

    UNITS: ClassVar[dict[str, tuple[float, int, str]]] = {
        "depth patches": (1000, 1, ""),
        "detail patches": (1000, 1, ""),
        "mask patches": (1000, 1, ""),
        "holes": (100, 2, " %"),
        "edge jaggedness": (1, 3, " px"),
        "plane residual": (1, 2, " mm"),
        "depth levels": (100, 1, " %"),
        "depth steps": (1, 2, " mm"),
    }
    """Of each row the factor, the digits and the unit to show it with."""
    ROWS: ClassVar[tuple[str, ...]] = (
        *("patches", "detail", "masks"),
        *("holes", "jaggedness", "residual", "levels", "steps"),
    )
    """The field of each row."""
    TOLD: ClassVar[str] = "distances from real images; those of patches × 1000; in brackets 95 % intervals"

    def rows(self) -> dict[str, Beside]:
        """Give all as rows of one table."""
        found = [patches.beside() for patches in (self.patches, self.detail, self.masks)]
        found += [self.holes, self.jaggedness, self.residual, self.levels, self.steps]
        return dict(zip(self.UNITS, found, strict=True))


@dataclass(frozen=True)
class SurfaceShift:
    """How far refining moves the surface, in mm where both images have a reading, and what readings it loses and gains.

    Each is the mean over images of what it is in one, with a 95 % interval that resamples persons (or blocks).
    """

    count: int
    median: bootstrap.Estimate  # mm
    p90: bootstrap.Estimate  # mm
    lost: bootstrap.Estimate  # share of the readings of the raw image
    gained: bootstrap.Estimate  # the same
    resampled: str


def measure_depth_realism(
    refined: Images,
    real: Images,
    raw: Images,
    *,
    persons: Names | None = None,
    real_persons: Names | None = None,
    seed: int = 0,
) -> DepthRealism:
    """Measure `refined` against `real` beside `raw`, the images before refining: each uint16 (N, H, W) in mm, 0 = none.

    `persons` are those of raw and refined. The floors lie between the halves of `real` in the order given: images of
    one person or film must come as one block. `ImageError` for what is no depth, or too few images.
    """
    sets = {"refined": refined, "real": real, "raw": raw}
    for name, images in sets.items():
        _check(images, name)
    patches, detail, masks = (
        measure_realism(*(_around_hands(view(images), images) for images in (refined, real, raw)), seed=seed)
        for view in (_tensor, detail_of, mask_of)
    )
    names = groups_of(len(refined), persons), groups_of(len(real), real_persons)
    measures = {
        "holes": hole_shares,
        "jaggedness": edge_jaggedness,
        "residual": plane_residuals,
        "levels": depth_levels,
    }
    found = {key: {name: measure(images) for name, images in sets.items()} for key, measure in measures.items()}
    counts = {name: step_counts(images) for name, images in sets.items()}
    means = {key: {name: float(np.nanmean(one)) for name, one in each.items()} for key, each in found.items()}
    shares = {name: one.sum(0) / max(one.sum(), 1) for name, one in counts.items()}
    means["steps"] = {name: float(share @ np.arange(_STEPS + 1)) for name, share in shares.items()}
    return DepthRealism(
        patches=patches,
        detail=detail,
        masks=masks,
        **{key: _beside(each, names, _wasserstein, seed) for key, each in found.items()},
        steps=_beside(counts, names, _step_distance, seed),
        means=means,
        step_shares={name: share.tolist() for name, share in shares.items()},
    )


def measure_surface_shift(before: Images, after: Images, *, persons: Sequence[str] | None = None) -> SurfaceShift:
    """Measure how far the surface moved from each image of `before` to that of `after`, uint16 (N, H, W) in mm, N > 0.

    `ImageError` where the sets do not fit or are no depth.
    """
    if before.shape != after.shape or len(before) == 0:
        raise ImageError(f"pairs of images are needed, not {before.shape} and {after.shape}")
    for name, images in (("before", before), ("after", after)):
        _check(images, name)
    rows = np.array([moved_surface(*pair) for pair in zip(before, after, strict=True)], np.float64)
    groups, resampled = bootstrap.group_images(len(before), persons)
    median, p90, lost, gained = (bootstrap.estimate(column[None], groups, _mean) for column in rows.T)
    return SurfaceShift(len(before), median, p90, lost, gained, resampled)


def hole_shares(images: Images) -> Floats:
    """Share of the pixels without a reading within each silhouette, (N,): its outlines, small gaps closed, filled."""
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
    """How far the outlines of the readings lie from themselves made smooth, root mean square in px, (N,).

    0.25 px or so is a smooth edge in pixels. NaN where there is no outline to speak of.
    """
    found = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        squares = [np.empty(0)]
        for outline in _outlines((image > 0).astype(np.uint8)):
            points = outline[:, 0].astype(np.float64)
            away = points - ndimage.gaussian_filter1d(points, _SMOOTH, axis=0, mode="wrap")
            last = np.array(image.shape)[::-1] - 1
            cut = ((points == 0) | (points == last)).any(1)  # by the crop's border, not by the sensor
            squares.append(np.square(away[~cut]).sum(1))
        if len(every := np.concatenate(squares)):
            found[number] = np.sqrt(every.mean())
    return found


def plane_residuals(images: Images) -> Floats:
    """How far readings lie from the plane through 5 × 5 of them, root mean square in mm, (N,): the median of an image.

    Only where all 25 are there; NaN where that is nowhere.
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
        found[number] = np.median(np.sqrt(np.maximum(rest, 0) / (count - 3)))  # three are the plane's own
    return found


def depth_levels(images: Images) -> Floats:
    """Of the whole millimetres between the 5th and the 95th percentile of the readings, the share that occurs, (N,).

    1 is depth to the millimetre, 1/3 is depth in steps of 3 mm.
    """
    found = np.full(len(images), np.nan)
    for number, image in enumerate(images):
        readings = image[image > 0]
        if len(readings):
            low, high = (int(edge) for edge in np.percentile(readings, (5, 95), method="nearest"))
            found[number] = len(np.unique(readings[(readings >= low) & (readings <= high)])) / (high - low + 1)
    return found


def step_counts(images: Images) -> Floats:
    """How many neighbouring readings differ by 0, 1, … and by at least 20 mm, (N, 21)."""
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
    """Depth in [0, 1] as networks see it, (N, H, W); an image without any reading is all background."""
    values = np.ones(images.shape, np.float32)
    some = images.any((1, 2))
    values[some] = (depth.to_tensor(images[some])[:, 0].numpy() + 1) / 2
    return values


def mask_of(images: Images) -> NDArray[np.float32]:
    """Give float32 of the images' shape: 1 where there is a reading, else 0."""
    return (images > 0).astype(np.float32)


def detail_of(images: Images) -> NDArray[np.float32]:
    """Give what stands out of its 5 × 5 pixels, as far as 5 mm either way, as float32 in [0, 1]."""
    scale = depth.Window(0).depth * 2 / (depth.FAR + 1) / _DETAIL
    rest = np.stack([plane - cv2.medianBlur(plane, _PLANE) for plane in _tensor(images)])
    return ((np.clip(rest * scale, -1, 1) + 1) / 2).astype(np.float32)


def _around_hands(values: NDArray[np.float32], images: Images) -> NDArray[np.float32]:
    """Half of the height and of the width of each, around the mean place of the readings."""
    high, wide = (side // 2 for side in images.shape[1:])
    cut = []
    for plane, image in zip(values, images, strict=True):
        rows, columns = np.nonzero(image) if image.any() else (np.array([high]), np.array([wide]))
        top, left = (int(np.clip(place.mean() - side / 2, 0, side)) for place, side in ((rows, high), (columns, wide)))
        cut.append(plane[top : top + high, left : left + wide])
    return np.stack(cut)


def _outlines(mask: NDArray[Any]) -> list[NDArray[Any]]:
    """Closed lines around what is set, (M, 1, 2) each; flying pixels have none."""
    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [line for line in lines if len(line) >= _LEAST_OUTLINE]


def moved_surface(before: Images, after: Images) -> tuple[float, float, float, float]:
    """Give median and 90th percentile of the move of one image (H, W), in mm, and the shares lost and gained."""
    there, now = before > 0, after > 0
    moved = np.abs(after.astype(np.int64) - before)[there & now]
    median, p90 = np.quantile(moved, (0.5, 0.9)) if len(moved) else (np.nan, np.nan)
    readings = max(int(there.sum()), 1)
    return float(median), float(p90), (there & ~now).sum() / readings, (now & ~there).sum() / readings


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _wasserstein(a: Floats, b: Floats) -> float:
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    return float(stats.wasserstein_distance(a, b)) if len(a) and len(b) else float("nan")


def _step_distance(a: Floats, b: Floats) -> float:
    shares = [counts.sum(0) / max(counts.sum(), 1) for counts in (a, b)]
    return float(np.abs(np.cumsum(shares[0] - shares[1])).sum())


def _beside(
    values: dict[str, Floats],
    names: tuple[NDArray[np.str_], NDArray[np.str_]],
    distance: Callable[[Floats, Floats], float],
    seed: int,
) -> Beside:
    """A distance of refined and raw values from real ones, and of one half of these from the other."""
    real, half = values["real"], len(values["real"]) // 2
    of_refined, of_real = names

    def measured(one: Floats, other: Floats, groups: tuple[NDArray[np.str_], NDArray[np.str_]]) -> Estimate:
        rng = np.random.default_rng(seed)
        drawn = [distance(one[_drawn(groups[0], rng)], other[_drawn(groups[1], rng)]) for _ in range(_DRAWS)]
        value, error = distance(one, other), 1.96 * float(np.nanstd(drawn, ddof=1))
        return Estimate(value, value - error, value + error)  # percentiles would lie too high: doubles are far apart

    return Beside(
        refined=measured(values["refined"], real, (of_refined, of_real)),
        raw=measured(values["raw"], real, (of_refined, of_real)),
        floor=measured(real[:half], real[half:], (of_real[:half], of_real[half:])),
    )


def _drawn(groups: NDArray[np.str_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of images whose groups are drawn with replacement."""
    known = np.unique(groups)
    return np.concatenate([np.flatnonzero(groups == one) for one in rng.choice(known, len(known))])
