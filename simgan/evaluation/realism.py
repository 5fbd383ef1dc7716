"""Realism: how far the patches of one set of images are from those of another.

The sliced Wasserstein distance (Rabin et al. 2011; on patches of several scales, Karras et al. 2018): patches are
projected on random directions of unit length, and the sorted projections of both sets are compared.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError

Images = NDArray[np.uint8]


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
    """Distance ≥ 0 between the patches of two sets of stored images, uint8 (N, H, W), taken as values in [0, 1].

    `standardize`: each patch less its mean and over its deviation, so that texture, sharpness and noise count whatever
    the brightness; plain values of equalized images differ little even where anyone sees which are rendered.

    Mean over `scales` levels of a Gaussian pyramid and over `projections` directions of the mean absolute difference of
    the quantiles; `patches` patches of `patch` × `patch` pixels an image, at places that `seed` fixes. A set against
    itself gives 0; only the floor between two sets of real images tells what else a number means. `ImageError` where a
    set is empty, not uint8 (N, H, W), or smaller than a patch at the coarsest scale.
    """
    for images in (a, b):
        if images.dtype != np.uint8 or images.ndim != 3 or len(images) == 0:
            raise ImageError(f"realism compares uint8 (N, H, W) with N > 0, not {images.dtype} {images.shape}")
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


def _quantiles(values: NDArray[np.float32], count: int = 1000) -> NDArray[np.float32]:
    """Quantiles (count, K) of each column of (M, K)."""
    return np.sort(values, axis=0)[np.linspace(0, len(values) - 1, count).round().astype(int)]


def _patches(images: Images, scale: int, size: int, count: int, seed: int, standardize: bool) -> NDArray[np.float32]:
    """Patches (N * count, size²) of the images in [0, 1] reduced `scale` times by two."""
    reduced = np.stack([_reduce(image, scale) for image in images]).astype(np.float32) / 255
    rng = np.random.default_rng([seed, scale, len(images)])
    windows = np.lib.stride_tricks.sliding_window_view(reduced, (size, size), axis=(1, 2))
    shape = (len(images), count)
    rows, columns = rng.integers(windows.shape[1], size=shape), rng.integers(windows.shape[2], size=shape)
    chosen = windows[np.arange(len(images))[:, None], rows, columns].reshape(-1, size * size)
    if standardize:
        deviation = chosen.std(1, keepdims=True) + CONTRAST_FLOOR
        chosen = (chosen - chosen.mean(1, keepdims=True)) / deviation
    return chosen.astype(np.float32, copy=False)


def _reduce(image: Images, times: int) -> Images:
    for _ in range(times):
        image = cv2.pyrDown(image).astype(np.uint8, copy=False)
    return image
