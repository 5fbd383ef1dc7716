"""Realism: how far the patches of one set of images are from those of another.

The sliced Wasserstein distance (Rabin et al. 2011; on patches of several scales, Karras et al. 2018): patches are
projected on random directions of unit length, and the sorted projections of both sets are compared.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError
from simgan.measures.estimates import Beside, Estimate

Images = NDArray[np.uint8] | NDArray[np.float32]


CONTRAST_FLOOR = 0.05  # added to a patch's deviation, so that the noise of a flat patch is not blown up


def patch_swd(
    a: Images,
    b: Images,
    *,
    patch: int = 7,
    scales: int = 2,
    standardize: bool = True,
    projections: int = 128,
    patches: int = 64,
    seed: int = 0,
) -> float:
    """Distance ≥ 0 between the patches of two sets of images (N, H, W), uint8 or float32 in [0, 1], as those values.

    `standardize`: each patch less its mean and over its deviation, so that texture, sharpness and noise count whatever
    the brightness; plain values of equalized images differ little even where anyone sees which are rendered.

    Mean over `scales` levels of a Gaussian pyramid and over `projections` directions of the mean absolute difference of
    the quantiles; `patches` patches of `patch` × `patch` pixels an image, at places that `seed` fixes. A set against
    itself gives 0; only the floor between two sets of real images tells what else a number means. `ImageError` where a
    set is empty, no such array, or smaller than a patch at the coarsest scale.
    """
    for images in (a, b):
        if images.dtype not in (np.uint8, np.float32) or images.ndim != 3 or len(images) == 0:
            raise ImageError(
                f"realism compares uint8 (N, H, W) with N > 0, or float32 in [0, 1], not {images.dtype} {images.shape}"
            )
        if min(images.shape[1:]) >> (scales - 1) < patch:
            raise ImageError(f"images of {images.shape[2]}×{images.shape[1]} hold no {patch}×{patch} patch at 1/2^n")
    distances = []
    for scale in range(scales):
        directions = np.random.default_rng([seed, scale]).standard_normal((patch * patch, projections))
        directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
        curves = [
            _quantiles(_patches(images, scale, patch, patches, seed, standardize) @ directions) for images in (a, b)
        ]
        distances.append(np.abs(curves[0] - curves[1]).mean())
    return float(np.mean(distances))


@dataclass(frozen=True)
class Realism:
    """How near refined images are to real ones, as patch distances beside what they were and what can be hoped for.

    Intervals: 95 %, the value ± 1.96 bootstrap standard errors over images (a resampled set repeats images, which
    alone moves its distance up, so that percentiles of it would lie too high).
    """

    distance: float  # refined to real
    distance_interval: tuple[float, float]
    raw: float  # what was refined, to real
    raw_interval: tuple[float, float]
    floor: float  # the first half of the real images to the second
    floor_interval: tuple[float, float]
    closed: float  # share of the gap from raw to floor; 1: as near as real to real; NaN where there is no gap
    closed_interval: tuple[float, float]

    def beside(self) -> Beside:
        """Give the distances as a row of a table."""
        return Beside(
            refined=Estimate(self.distance, *self.distance_interval),
            raw=Estimate(self.raw, *self.raw_interval),
            floor=Estimate(self.floor, *self.floor_interval),
        )


def measure_realism(refined: Images, real: Images, raw: Images, *, resamples: int = 100, seed: int = 0) -> Realism:
    """Measure `refined` against `real` beside `raw`, the images before refining; each as for `patch_swd`.

    Images are equalized alike. The floor lies between the halves of `real` in the order given: give images of one
    person or film as one block, or near-identical ones make it too low. About 10 s for 500 images each. `ImageError` as
    `patch_swd`, and where a set has fewer than two images.
    """
    for images in (refined, real, raw):
        if len(images) < 2:
            raise ImageError(f"realism needs at least 2 images of each kind to tell how sure it is, not {len(images)}")
    half = len(real) // 2
    distance, before = patch_swd(refined, real, seed=seed), patch_swd(raw, real, seed=seed)
    floor = patch_swd(real[:half], real[half:], seed=seed)

    def closed(refined_distance: float, raw_distance: float) -> float:
        return (raw_distance - refined_distance) / (raw_distance - floor) if raw_distance > floor else float("nan")

    drawn = np.array(_resampled((refined, raw), real, resamples, seed))
    return Realism(
        distance=distance,
        distance_interval=_around(distance, drawn[:, 0]),
        raw=before,
        raw_interval=_around(before, drawn[:, 1]),
        floor=floor,
        floor_interval=_around(floor, np.array(_resampled((real[:half],), real[half:], resamples, seed))[:, 0]),
        closed=closed(distance, before),
        closed_interval=_around(closed(distance, before), np.array([closed(*row) for row in drawn])),
    )


def _around(value: float, drawn: NDArray[np.float64]) -> tuple[float, float]:
    known = drawn[np.isfinite(drawn)]
    error = 1.96 * float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    return value - error, value + error


def _resampled(sets: tuple[Images, ...], real: Images, count: int, seed: int) -> list[list[float]]:
    """Distances of each of the sets to `real`, `count` times, of images drawn anew with replacement."""
    scales = [_projected((*sets, real), scale, seed) for scale in range(2)]
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(count):
        chosen = [rng.integers(len(images), size=len(images)) for images in (*sets, real)]
        distances = np.zeros(len(sets))
        for projected in scales:
            *curves, target = (_curves(values, which) for values, which in zip(projected, chosen, strict=True))
            distances += [np.abs(curve - target).mean() / len(scales) for curve in curves]
        drawn.append(distances.tolist())
    return drawn


def _projected(sets: tuple[Images, ...], scale: int, seed: int) -> list[NDArray[np.float32]]:
    """Each set's patches on 32 directions, (32, N, 64)."""
    directions = np.random.default_rng([seed, scale]).standard_normal((49, 32))
    directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
    values = [_patches(images, scale, 7, 64, seed, True) @ directions for images in sets]
    return [np.ascontiguousarray(v.T).reshape(32, -1, 64) for v in values]


def _curves(projected: NDArray[np.float32], chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    values = np.sort(projected[:, chosen].reshape(len(projected), -1), axis=1)
    return values[:, np.linspace(0, values.shape[1] - 1, 1000).round().astype(int)]


def _quantiles(values: NDArray[np.float32], count: int = 1000) -> NDArray[np.float32]:
    """Quantiles (count, K) of each column of (M, K)."""
    return np.sort(values, axis=0)[np.linspace(0, len(values) - 1, count).round().astype(int)]


def _patches(images: Images, scale: int, size: int, count: int, seed: int, standardize: bool) -> NDArray[np.float32]:
    """Patches (N * count, size²) of the images in [0, 1] reduced `scale` times by two."""
    reduced = np.stack([_reduce(image, scale) for image in images])
    if reduced.dtype == np.uint8:
        reduced = reduced.astype(np.float32) / 255
    rng = np.random.default_rng([seed, scale, len(images)])
    windows = np.lib.stride_tricks.sliding_window_view(reduced, (size, size), axis=(1, 2))
    shape = (len(images), count)
    rows, columns = rng.integers(windows.shape[1], size=shape), rng.integers(windows.shape[2], size=shape)
    chosen = windows[np.arange(len(images))[:, None], rows, columns].reshape(-1, size * size)
    if standardize:
        deviation = chosen.std(1, keepdims=True) + CONTRAST_FLOOR
        chosen = (chosen - chosen.mean(1, keepdims=True)) / deviation
    return chosen.astype(np.float32, copy=False)


def _reduce(image: NDArray[Any], times: int) -> NDArray[Any]:
    for _ in range(times):
        image = cv2.pyrDown(image)
    return image
