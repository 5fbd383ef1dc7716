"""Realism: how near refined images are to real ones, compared with the images before refining and with a floor.

The patch distance is a sliced Wasserstein distance (Rabin et al. 2011; on patches of several scales, Karras et al.
2018): patches are projected on random directions of unit length, and the sorted projections of two sets are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError
from simgan.measures.statistics import Compared, Estimate, Groups, Persons, estimate_distances
from simgan.measures.two_sample import measure_two_sample

Images = NDArray[Any]
Curves = list[NDArray[np.float32]]

CONTRAST_FLOOR = 0.05  # added to a patch's deviation, so that the noise of a flat patch is not blown up
SCALES = 2  # levels of a Gaussian pyramid
_SIDE, _PATCHES = 7, 64  # px; patches an image
_QUANTILES = 1000
_UNLIKE = 0.75  # accuracy of a network between halves of one set that differ by themselves


@dataclass(frozen=True)
class Row:
    """One measure of refined, raw and real images compared with real ones, shown as `factor` times its value."""

    name: str
    refined: Estimate
    raw: Estimate
    floor: Estimate  # between the halves of the real images
    factor: float = 1
    digits: int = 2
    unit: str = ""
    means: Mapping[str, float] = field(default_factory=dict)  # of refined, raw and real images, where it has a mean


@dataclass(frozen=True)
class Realism:
    """Measures of realism, and the share of the gap between raw images and the floor that refining closed."""

    rows: tuple[Row, ...]
    closed: Estimate  # 1: as near as real images are to each other; NaN where there is no gap
    closed_of: str  # the row that this share is of
    note: str  # how to read the figures


def measure_realism(
    refined: Images, real: Images, raw: Images, *, persons: Persons = (None, None), seed: int = 0
) -> Realism:
    """Measure the patches of images, uint8 (N, H, W[, 3]) equalized alike, and how well a network recognizes them.

    `raw[i]` is the image of which `refined[i]` was made. Give the real images of one person or film next to each other,
    as the floors compare the halves of their order. `ImageError` where images cannot be compared.
    """
    patches, closed = measure_patches(refined, real, raw, persons=persons, seed=seed)
    accuracies = measure_two_sample(refined, real, raw, persons=persons, seed=seed)
    differ = (
        " The halves of the real images, in their order, differ by themselves, so the floors are high: shuffle images "
        "that are sorted by class."
    )
    rows = Row("patch distance", *patches, factor=1000, digits=1), Row("classifier accuracy", *accuracies, 100, 0, " %")
    return Realism(
        rows,
        closed,
        closed_of="patch distance",
        note="Patch distances × 1000. Classifier accuracy: of a network that distinguishes the images from real "
        "ones; 50 % is chance. In brackets: 95 % intervals." + (differ if accuracies[2].low > _UNLIKE else ""),
    )


def patch_swd(a: Images, b: Images, *, seed: int = 0) -> float:
    """Return the distance ≥ 0 between the patches of two sets, uint8 or float32 in [0, 1], (N, H, W) or (N, H, W, 3).

    Patches are standardized, so that texture, sharpness, noise and hue count, and brightness does not: plain values of
    equalized images differ little even where people easily see which images are rendered. Mean over two scales and 128
    directions of the mean absolute difference of the quantiles; 64 patches of 7×7 pixels an image, at places that
    `seed` fixes. `ImageError` where a set is empty, no such array, or smaller than a patch at the coarsest scale.
    """
    if a.shape[3:] != b.shape[3:]:
        raise ImageError(f"realism compares images of the same channels, not {a.shape} and {b.shape}")
    return _difference(*(_curves(_project(images, 128, seed)) for images in (a, b)))


def measure_patches(
    refined: Images, real: Images, raw: Images, *, persons: Persons = (None, None), draws: int = 100, seed: int = 0
) -> tuple[Compared, Estimate]:
    """As `estimate_distances`, of patches; `ImageError` as `patch_swd`, and where refined and raw are no pairs."""
    if len(refined) != len(raw):
        raise ImageError(f"realism compares images before and after refining, not {len(raw)} and {len(refined)}")
    half = len(real) // 2
    exact = [patch_swd(*pair, seed=seed) for pair in ((refined, real), (raw, real), (real[:half], real[half:]))]
    sets = {"refined": refined, "raw": raw, "real": real}
    projected = {kind: _project(images, 32, seed) for kind, images in sets.items()}

    def distances(kinds: Sequence[str], some: Groups, others: Groups) -> list[float]:
        target = _curves(projected["real"], others)
        return [_difference(_curves(projected[kind], some), target) for kind in kinds]

    return estimate_distances(distances, (len(raw), len(real)), persons, exact=exact, draws=draws, seed=seed)


def grey(images: Images) -> Images:
    """Return uint8 (N, H, W) of images uint8 (N, H, W, 3); all others as they are."""
    return images if images.ndim != 4 else images.mean(-1).round().astype(np.uint8)


def _project(images: Images, count: int, seed: int) -> Curves:
    """Return standardized patches at each scale, projected on random directions of unit length, (N, 64, count)."""
    import cv2  # domains name these measures, and the core has no OpenCV

    if images.dtype not in (np.uint8, np.float32) or images.ndim not in (3, 4) or len(images) == 0:
        raise ImageError(
            f"realism compares uint8 (N, H, W[, 3]) with N > 0, or float32 in [0, 1], not {images.dtype} {images.shape}"
        )
    values = _SIDE**2 * (images.shape[3] if images.ndim == 4 else 1)
    if min(images.shape[1:3]) >> (SCALES - 1) < _SIDE:
        raise ImageError(f"images of {images.shape[2]}×{images.shape[1]} hold no {_SIDE}×{_SIDE} patch at 1/2^n")
    projected = []
    for scale in range(SCALES):
        if scale:
            images = np.stack([cv2.pyrDown(image) for image in images])
        directions = np.random.default_rng([seed, scale]).standard_normal((values, count))
        directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)
        rng = np.random.default_rng([seed, scale, len(images)])
        windows = np.lib.stride_tricks.sliding_window_view(images, (_SIDE, _SIDE), axis=(1, 2))
        rows, columns = (rng.integers(size, size=(len(images), _PATCHES)) for size in windows.shape[1:3])
        patches = windows[np.arange(len(images))[:, None], rows, columns].reshape(-1, values)
        if patches.dtype == np.uint8:
            patches = patches.astype(np.float32) / 255
        patches = (patches - patches.mean(1, keepdims=True)) / (patches.std(1, keepdims=True) + CONTRAST_FLOOR)
        projected.append((patches @ directions).reshape(len(images), _PATCHES, count))
    return projected


def _curves(projected: Curves, chosen: Groups | slice = np.s_[:]) -> Curves:
    """Return at each scale 1,000 quantiles of the chosen images of `_project` in each direction, (1000, directions)."""
    ordered = [np.sort(values[chosen].reshape(-1, values.shape[2]), axis=0) for values in projected]
    return [values[np.linspace(0, len(values) - 1, _QUANTILES).round().astype(int)] for values in ordered]


def _difference(one: Curves, other: Curves) -> float:
    return float(np.mean([np.abs(a - b).mean() for a, b in zip(one, other, strict=True)]))
