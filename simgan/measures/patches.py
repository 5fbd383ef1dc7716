"""Patch distance: how far the patches of one set of images are from those of another.

The sliced Wasserstein distance (Rabin et al. 2011; on patches of several scales, Karras et al. 2018): patches are
projected on random directions of unit length, and the sorted projections of both sets are compared.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError
from simgan.measures.statistics import Estimate, Groups, estimate_all

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
    """Return the distance ≥ 0 between the patches of two sets of images (N, H, W), uint8 or float32 in [0, 1].

    `standardize`: subtract the mean of each patch and divide by its deviation, so that texture, sharpness and noise
    count, and brightness does not. Plain values of equalized images differ little even where people easily see which
    images are rendered.

    Mean over `scales` levels of a Gaussian pyramid and over `projections` directions of the mean absolute difference of
    the quantiles; `patches` patches of `patch` × `patch` pixels an image, at places that `seed` fixes. A set is at
    distance 0 from itself; compare other values with the floor between two sets of real images. `ImageError` where a
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
        directions = _directions(patch * patch, projections, seed, scale)
        curves = [
            _quantiles(_patches(images, scale, patch, patches, seed, standardize) @ directions) for images in (a, b)
        ]
        distances.append(np.abs(curves[0] - curves[1]).mean())
    return float(np.mean(distances))


def measure_patches(
    refined: Images, real: Images, raw: Images, *, groups: tuple[Groups, Groups], draws: int = 100, seed: int = 0
) -> tuple[tuple[Estimate, Estimate, Estimate], Estimate]:
    """Return the patch distances of refined, raw and real images to real ones, and the share of the gap that is closed.

    The third distance is the floor, between the halves of `real` in the order given. The share is 1 where refined
    images are as near as real ones are to each other, and NaN where raw images are as near as that. Images are as for
    `patch_swd`, with the `groups` that intervals resample, of the synthetic and of the real images. About 10 s for 500
    images of each. `ImageError` as `patch_swd`, and where refined and raw images are no pairs.
    """
    if len(refined) != len(raw):
        raise ImageError(f"realism compares images before and after refining, not {len(raw)} and {len(refined)}")
    half = len(real) // 2
    floor = patch_swd(real[:half], real[half:], seed=seed)

    def with_closed(distance: float, before: float) -> tuple[float, float, float]:
        return distance, before, (before - distance) / (before - floor) if before > floor else float("nan")

    def distances(some: Groups, others: Groups) -> tuple[float, float, float]:
        target = _curves(of_real, others)
        return with_closed(*(_difference(_curves(one, some), target) for one in (of_refined, of_raw)))

    own, theirs = groups
    of_refined, of_raw, of_real = (_project(images, seed) for images in (refined, raw, real))
    distance, before, closed = estimate_all(
        distances,
        own,
        theirs,
        values=with_closed(patch_swd(refined, real, seed=seed), patch_swd(raw, real, seed=seed)),
        draws=draws,
        seed=seed,
    )
    (between,) = estimate_all(
        lambda some, others: [_difference(_curves(of_real, some), _curves(of_real, others + half))],
        theirs[:half],
        theirs[half:],
        values=[floor],
        draws=draws,
        seed=seed,
    )
    return (distance, before, between), closed


def _project(images: Images, seed: int) -> list[NDArray[np.float32]]:
    """Return the patches of images at each scale, projected on 32 directions: (32, N, 64)."""
    projected = []
    for scale in range(2):
        values = _patches(images, scale, 7, 64, seed, True) @ _directions(49, 32, seed, scale)
        projected.append(np.ascontiguousarray(values.T).reshape(32, -1, 64))
    return projected


def _curves(projected: list[NDArray[np.float32]], chosen: Groups) -> list[NDArray[np.float32]]:
    """Return at each scale the 1,000 quantiles of the chosen images of `_project` in each direction, (32, 1000)."""
    ordered = [np.sort(values[:, chosen].reshape(len(values), -1), axis=1) for values in projected]
    return [values[:, np.linspace(0, values.shape[1] - 1, 1000).round().astype(int)] for values in ordered]


def _difference(one: list[NDArray[np.float32]], other: list[NDArray[np.float32]]) -> float:
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(one, other, strict=True)]))


def _directions(size: int, count: int, seed: int, scale: int) -> NDArray[np.float32]:
    """Return random directions of unit length, (size, count)."""
    directions = np.random.default_rng([seed, scale]).standard_normal((size, count))
    return (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)


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
    import cv2  # domains import this module, and the core has no OpenCV

    for _ in range(times):
        image = cv2.pyrDown(image)
    return image
