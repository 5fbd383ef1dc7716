"""Annotation shift: how far the iris moves when an image is refined, so how far its labels are off (paper, 3.1).

The iris is found by its limbus: circular arcs either side of the pupil (Daugman's integro-differential operator, 1993)
give a first place; edges along rays from there are fitted robustly, and an ellipse (`cv2.fitEllipse`) through those
that agree gives the centre. The lids cut the iris above and below, so only rays to the sides and a little down count.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft, stats

from simgan.errors import ImageError

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

_WIDTH, _RADIUS = 55, 8.6  # of a crop, and of the iris in it: 11.7 mm through MPIIGaze's virtual camera
_ANGLES = np.radians(np.r_[-35:61:5, 120:216:5].astype(float))  # down is 90°
_RAYS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES), np.ones_like(_ANGLES)], axis=1)
_REACH, _STEP = 3.0, 0.25
_CHUNK = 64
_STABLE = 1.0  # px: an iris that is found elsewhere when sought from where it was found counts as not found
_LEAST_EDGE = 0.12  # mean weight of the edges of a side below which the iris counts as not found


PAPER = {"mean": 1.1, "sd": 0.8, "pairs": 100}
"""What the paper reports, in px: pupil centres moved by refining, ellipses fitted by hand."""

_AHEAD = 10.0  # degrees from straight into the camera that still count as ahead


@dataclass(frozen=True)
class Spread:
    """How distances lie, in px of the crop; `failed` (a share of `count`) are left out of all other figures."""

    count: int
    failed: float
    mean: float
    sd: float
    median: float
    p90: float
    p99: float
    share_over_3px: float


@dataclass(frozen=True)
class Shift(Spread):
    """How far the iris moved over pairs of images.

    `finder` is what the finder itself wanders when the first image is blurred a little (σ 0.6 px) and given noise
    (σ 4 of 255) instead of refined, `repeatability` its median; a shift of that size means nothing. Intervals:
    bootstrap, 95 %. `groups`: the same by kind of group and by its name, as `{"gaze": {"ahead": …}, "person": …}`.
    """

    trimmed_mean: float  # without the worst 5 %, where finders fail
    repeatability: float
    finder: Spread
    mean_interval: tuple[float, float]
    median_interval: tuple[float, float]
    groups: dict[str, dict[str, Spread]]
    distances: Floats  # (N,), NaN where it failed


def iris_centres(images: Images, start: Floats | None = None) -> Floats:
    """Find the centre of the iris in each eye crop, uint8 (N, H, W): (N, 2) of x and y in px, NaN where not found.

    `start` (N, 2): look near these places where they are finite, as for the second image of a pair. Made for crops as
    MPIIGaze's (an iris about 17 of 55 pixels wide, equalized or not), at any scale of them. `ImageError` where the
    images are no such array.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or min(images.shape[1:]) < 16:
        raise ImageError(f"irises are found in uint8 (N, H, W) of 16×16 and more, not {images.dtype} {images.shape}")
    if start is not None and start.shape != (len(images), 2):
        raise ImageError(f"{len(images)} images need starts ({len(images)}, 2), not {start.shape}")
    centres = np.zeros((len(images), 2))
    for first in range(0, len(images), _CHUNK):
        some = slice(first, first + _CHUNK)
        guess = _seek(images[some]) if start is None or not np.isfinite(start[some]).all() else start[some]
        if start is not None:
            guess = np.where(np.isfinite(start[some]), start[some], guess)
        centres[some] = _fit(images[some], guess)
    return centres


def annotation_shift(
    before: Images,
    after: Images,
    start: Floats | None = None,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    seed: int = 0,
) -> Shift:
    """Measure how far the iris moved from each image of `before` to that of `after`, both uint8 (N, H, W), N > 0.

    In `after` it is sought from where it was found in `before`, and there from `start` (N, 2) if a simulator tells the
    true centres; `seed` draws the noise of the repeatability and the bootstrap. `groups` names for each kind of group
    (gaze, person) the one of each pair. `ImageError` where the sets or the groups do not fit.
    """
    if before.shape != after.shape or len(before) == 0:
        raise ImageError(f"pairs of images are needed, not {before.shape} and {after.shape}")
    for kind, names in (groups or {}).items():
        if len(names) != len(before):
            raise ImageError(f"{len(before)} pairs need the {kind} of each, not {len(names)} names")
    rng = np.random.default_rng(seed)
    first = iris_centres(before, start)
    found = iris_centres(before, first)  # from a place as near as that from which `after` is sought
    found[np.linalg.norm(found - first, axis=1) > _STABLE] = np.nan
    distances = _distances(found, after)
    finder = _spread(_distances(found, _disturbed(before, rng)))
    rest = distances[np.isfinite(distances)]
    return Shift(
        **vars(_spread(distances)),
        trimmed_mean=float(np.sort(rest)[: int(np.ceil(0.95 * len(rest)))].mean()) if len(rest) else float("nan"),
        repeatability=finder.median,
        finder=finder,
        mean_interval=_interval(rest, np.mean, rng),
        median_interval=_interval(rest, np.median, rng),
        groups={kind: _grouped(distances, names) for kind, names in (groups or {}).items()},
        distances=distances,
    )


def gaze_directions(pitch: Sequence[float], yaw: Sequence[float]) -> list[str]:
    """Name where each eye looks, angles in radians: ahead (within 10°), else up, down, left or right in the image.

    The larger of both angles decides; "unknown" where one is not finite.
    """
    names = []
    for up, left in np.degrees(np.column_stack([pitch, yaw]).astype(float)):
        if not np.isfinite(up + left):
            names.append("unknown")
        elif max(abs(up), abs(left)) <= _AHEAD:
            names.append("ahead")
        elif abs(up) >= abs(left):
            names.append("up" if up > 0 else "down")
        else:
            names.append("left" if left > 0 else "right")
    return names


def _spread(distances: Floats) -> Spread:
    rest = distances[np.isfinite(distances)]
    failed = 1 - len(rest) / len(distances)
    if not len(rest):
        return Spread(len(distances), failed, *(float("nan"),) * 6)
    median, p90, p99 = (float(value) for value in np.quantile(rest, (0.5, 0.9, 0.99)))
    beyond = float((rest > 3).mean())
    return Spread(len(distances), failed, float(rest.mean()), float(rest.std()), median, p90, p99, beyond)


def _grouped(distances: Floats, names: Sequence[str]) -> dict[str, Spread]:
    which = np.asarray(names, dtype=str)
    return {str(name): _spread(distances[which == name]) for name in np.unique(which)}


def _distances(found: Floats, images: Images) -> Floats:
    """How far from `found` the irises of the images are, (N,), NaN where not found in either."""
    return np.linalg.norm(iris_centres(images, found) - found, axis=1)


def _interval(values: Floats, statistic: Callable[..., Any], rng: np.random.Generator) -> tuple[float, float]:
    if len(values) < 2:
        return float("nan"), float("nan")
    result = stats.bootstrap(
        (values,), statistic, n_resamples=1000, batch=100, method="percentile", vectorized=True, rng=rng
    ).confidence_interval
    return float(result.low), float(result.high)


def _disturbed(images: Images, rng: np.random.Generator) -> Images:
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 0.6) for image in images])
    return np.clip(blurred + rng.normal(0, 4, images.shape), 0, 255).round().astype(np.uint8)


def _smooth(images: Images, sigma: float) -> NDArray[np.float32]:
    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]).astype(np.float32)


def _seek(images: Images) -> Floats:
    """First centres (N, 2), whole pixels: where arcs either side darken inwards, around a dark disc, near the middle.

    Arcs are correlated with the gradients by FFT, for three radii.
    """
    _, height, width = images.shape
    scale = width / _WIDTH
    values = _smooth(images, scale)
    down, right = np.gradient(values * scale, axis=(1, 2))
    weight = 1 / np.sqrt(right**2 + down**2 + 60**2)
    pad = int(12 * scale)
    size = (fft.next_fast_len(height + 2 * pad), fft.next_fast_len(width + 2 * pad))
    spectra = [fft.rfft2(plane, size, axes=(1, 2)) for plane in (right * weight, down * weight, 1 - values / 255)]
    y, x = np.mgrid[-pad : pad + 1, -pad : pad + 1] / scale
    rho, angle = np.hypot(x, y) + 1e-6, np.degrees(np.arctan2(y, x)) % 360

    def correlate(*kernels: tuple[Floats, NDArray[np.complex64]]) -> Floats:
        total = np.add.reduce([spectrum * np.conj(fft.rfft2(_centred(kernel, size))) for kernel, spectrum in kernels])
        return fft.irfft2(total, size, axes=(1, 2))[:, :height, :width]

    rows, columns = np.mgrid[:height, :width] / scale
    middle = ((columns - width / scale / 2) ** 2 * 0.3 + (rows - height / scale / 2) ** 2) / 250
    scores = []
    for radius in (7.5, 8.5, 9.5):
        ring = np.exp(-((rho - radius) ** 2) / (2 * 0.8**2))
        arcs = []
        for low, high in ((-30, 30), (150, 210), (50, 130)):
            arc = ring * ((angle - low) % 360 <= high - low)
            arc /= arc.sum()
            arcs.append(correlate((arc * x / rho, spectra[0]), (arc * y / rho, spectra[1])))
        disc = (rho < 0.8 * radius).astype(float)
        dark = correlate((disc / disc.sum(), spectra[2]))
        scores.append(arcs[0] + arcs[1] + 2 * np.minimum(arcs[0], arcs[1]) + 0.2 * arcs[2] + 1.5 * dark - middle)
    best = np.max(scores, axis=0).reshape(len(images), -1).argmax(axis=1)
    return np.stack([best % width, best // width], axis=1).astype(float)


def _centred(kernel: Floats, size: tuple[int, int]) -> Floats:
    """The kernel (2p + 1, 2p + 1) in an array of that size, its middle at the origin."""
    pad = len(kernel) // 2
    plane = np.zeros(size)
    plane[: len(kernel), : len(kernel)] = kernel
    return np.roll(plane, (-pad, -pad), axis=(0, 1))


def _fit(images: Images, start: Floats) -> Floats:
    """Centres (N, 2) of ellipses through the limbus, sought from the centres `start`; NaN where there is none."""
    scale = images.shape[2] / _WIDTH
    values = _smooth(images, 0.7 * scale)
    circles = np.column_stack([start / scale, np.full(len(start), _RADIUS)])
    prior = 0.05 * len(_RAYS)
    for _ in range(8):
        position, strength = _edges(values, circles, scale)
        weight = strength
        for _ in range(3):  # a circle near the last: its radius along a ray is r + dx·cos + dy·sin
            normal = np.einsum("na,ai,aj->nij", weight, _RAYS, _RAYS) + np.diag([1e-3, 1e-3, prior])
            right = np.einsum("na,na,ai->ni", weight, position, _RAYS)
            right[:, 2] += prior * (_RADIUS - circles[:, 2])
            change = np.linalg.solve(normal, right[..., None])[..., 0]
            residual = position - change @ _RAYS.T
            weight = strength / (1 + (residual / 0.7) ** 2)
        circles += np.clip(change, -1.5, 1.5)
    centres = circles[:, :2].copy()
    for n, (circle, agreed) in enumerate(zip(circles, (weight > 0.3), strict=True)):
        if agreed.sum() < 12:
            continue
        points = circle[:2] + (circle[2] + residual[n, agreed, None]) * _RAYS[agreed, :2]
        middle, axes, _ = cv2.fitEllipse(points.astype(np.float32))
        if min(axes) > 0.75 * max(axes):  # an iris seen from 40° aside; flatter ones come of too short an arc
            centres[n] = middle
    sides = [weight[:, side].mean(axis=1) for side in (_RAYS[:, 0] > 0, _RAYS[:, 0] < 0)]
    inside = ((centres >= 0) & (centres < [_WIDTH, images.shape[1] / scale])).all(axis=1)
    found = (np.minimum(*sides) > _LEAST_EDGE) & inside
    return np.where(found[:, None], centres * scale, np.nan)


def _edges(values: NDArray[np.float32], circles: Floats, scale: float) -> tuple[Floats, Floats]:
    """Where each ray brightens outwards near its circle: distances from it (N, rays), and their weights in [0, 1)."""
    _, height, width = values.shape
    reach = np.arange(-_REACH - 1, _REACH + 1 + _STEP / 2, _STEP)
    radius = circles[:, 2, None] + reach
    x = ((circles[:, 0, None, None] + radius[:, None] * _RAYS[:, 0, None]) * scale).astype(np.float32)
    y = ((circles[:, 1, None, None] + radius[:, None] * _RAYS[:, 1, None]) * scale).astype(np.float32)
    polar = np.stack(
        [
            cv2.remap(plane, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane, across, along in zip(values, x, y, strict=True)
        ]
    )
    one = round(1 / _STEP)
    rise = polar[:, :, 2 * one :] - polar[:, :, : -2 * one]
    away = reach[one:-one]
    inside = ((x > 0.5) & (x < width - 1.5) & (y > 0.5) & (y < height - 1.5))[:, :, one:-one]
    window = np.exp(-(away**2) / (2 * 2.0**2))
    energy = np.square(np.maximum(rise, 0), dtype=float) * inside * window
    total = energy.sum(axis=2) + 1e-3
    strength = np.sqrt(total / window.sum())
    return (energy * away).sum(axis=2) / total, strength / (strength + 20)
