"""Kernel distance: MMD² with the cubic kernel of the KID (Bińkowski et al. 2018), on the texture that filters see.

The features are generic and made by hand (nothing is learned or fetched): magnitudes of a bank of Gabor filters
(Daugman 1985) at three wavelengths and four orientations, pooled over the whole image and over 2 × 3 parts of it.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from simgan.errors import ImageError
from simgan.measures.estimates import Beside, Estimate, Names, groups_of

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]

_WAVELENGTHS = (3.0, 6.0, 12.0)  # px: sensor noise and edges, lashes and limbus, lids
_ORIENTATIONS = np.pi * np.arange(4) / 4
_ROWS, _COLUMNS = 2, 3
_QUIET = 0.002  # of [0, 1]: added to magnitudes before their logarithm, so that a flat image has one


def texture_features(images: Images) -> Floats:
    """Describe images uint8 (N, H, W) by log magnitudes of Gabor filters, (N, 96): how much of each, where, how uneven.

    `ImageError` where they are no such array of 16×16 and more.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) == 0 or min(images.shape[1:]) < 16:
        raise ImageError(f"textures are those of uint8 (N, H, W), N > 0, 16×16 up, not {images.dtype} {images.shape}")
    filters = _filters()
    return np.stack([_pooled(image.astype(np.float32) / 255, filters) for image in images])


def kernel_distance(a: Floats, b: Floats, *, groups: tuple[Names, Names] | None = None) -> Estimate:
    """Estimate the MMD² between two sets of features, (N, D) and (M, D), without bias: 0 on average for one world.

    The kernel is (x·y / D + 1)³: scale the features to deviations of about 1. Interval: by the
    jackknife that leaves out one group of images at a time (`groups` of each set; without, 10 blocks of the order), and
    Student's t of as many groups.
    `ImageError` where a set has fewer than 2 images, or one is not finite or of another D.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ImageError(f"a kernel distance needs finite features (N, D) and (M, D), not {a.shape} and {b.shape}")
    names = [groups_of(len(x), None if groups is None else groups[k]) for k, x in enumerate((a, b))]
    sets = [[x[name == one] for one in np.unique(name)] for x, name in zip((a, b), names, strict=True)]
    sums = [_sums(x, y) for x, y in ((sets[0], sets[0]), (sets[1], sets[1]), (sets[0], sets[1]))]
    for own, groups_here in zip(sums, sets, strict=False):
        own[np.diag_indices(len(own))] -= [_kernel(x, x, paired=True).sum() for x in groups_here]
    counts = [np.array([len(x) for x in groups_here], float) for groups_here in sets]
    value = _mmd(sums, counts)
    variance = 0.0
    for which in (0, 1):
        size = len(counts[which])
        left = [
            _mmd(*_without(sums, counts, which, one))
            for one in range(size)
            if counts[which].sum() - counts[which][one] > 1
        ]
        variance += (size - 1) * float(np.var(left)) if len(left) > 1 else float("nan")
    error = float(stats.t.ppf(0.975, min(map(len, counts)) - 1) * np.sqrt(variance))
    return Estimate(value, value - error, value + error)


def measure_kernel_distance(
    refined: Images,
    real: Images,
    raw: Images,
    *,
    persons: Names | None = None,
    real_persons: Names | None = None,
) -> Beside:
    """Measure refined, raw and real against real; each uint8 (N, H, W), `persons` those of the synthetic images.

    Features are scaled by those of all real images. The floor lies between the halves of `real` in the order given.
    """
    features = [texture_features(images) for images in (refined, raw, real)]
    mean, deviation = features[2].mean(0), features[2].std(0) + 1e-6
    refined_features, raw_features, real_features = ((x - mean) / deviation for x in features)
    own, theirs = groups_of(len(refined), persons), groups_of(len(real), real_persons)
    half = len(real) // 2
    return Beside(
        refined=kernel_distance(refined_features, real_features, groups=(own, theirs)),
        raw=kernel_distance(raw_features, real_features, groups=(own, theirs)),
        floor=kernel_distance(real_features[:half], real_features[half:], groups=(theirs[:half], theirs[half:])),
    )


def _kernel(x: Floats, y: Floats, *, paired: bool = False) -> Floats:
    """Values (N, M) of all pairs, or (N,) of each with its like."""
    products = (x * y).sum(1) if paired else x @ y.T
    base: Floats = products / x.shape[1] + 1
    return base * base * base  # a power would be ten times as slow


def _sums(a: list[Floats], b: list[Floats]) -> Floats:
    """Sums of the kernel over the pairs of each two groups, (G, H)."""
    return np.array([[_kernel(x, y).sum() for y in b] for x in a])


def _mmd(sums: Sequence[Floats], counts: Sequence[Floats]) -> float:
    n, m = (count.sum() for count in counts)
    return float(sums[0].sum() / (n * (n - 1)) + sums[1].sum() / (m * (m - 1)) - 2 * sums[2].sum() / (n * m))


def _without(
    sums: Sequence[Floats], counts: Sequence[Floats], which: int, one: int
) -> tuple[list[Floats], list[Floats]]:
    """The sums and counts where set `which` lacks its group `one`."""
    left, kept = list(sums), list(counts)
    left[which] = np.delete(np.delete(sums[which], one, 0), one, 1)
    left[2] = np.delete(sums[2], one, which)
    kept[which] = np.delete(counts[which], one)
    return left, kept


def _filters() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Pairs of even and odd Gabor filters without mean; a sinusoid of amplitude 1 gives magnitude 1."""
    pairs = []
    for wavelength in _WAVELENGTHS:
        size = 2 * int(np.ceil(wavelength)) + 1
        for angle in _ORIENTATIONS:
            even, odd = (
                cv2.getGaborKernel((size, size), 0.5 * wavelength, angle, wavelength, 1.0, phase, cv2.CV_32F)
                for phase in (0.0, np.pi / 2)
            )
            envelope = cv2.getGaborKernel((size, size), 0.5 * wavelength, angle, 1e9, 1.0, 0.0, cv2.CV_32F)
            even = even - envelope * (even.sum() / envelope.sum())
            pairs.append((2 * even / envelope.sum(), 2 * odd / envelope.sum()))
    return pairs


def _pooled(image: NDArray[np.float32], filters: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Floats:
    values = []
    for even, odd in filters:
        magnitude = np.hypot(
            cv2.filter2D(image, cv2.CV_32F, even, borderType=cv2.BORDER_REFLECT_101),
            cv2.filter2D(image, cv2.CV_32F, odd, borderType=cv2.BORDER_REFLECT_101),
        )
        parts = cv2.resize(magnitude, (_COLUMNS, _ROWS), interpolation=cv2.INTER_AREA)
        values += [magnitude.mean(), magnitude.std(), *parts.ravel()]
    return np.log(np.array(values, float) + _QUIET)
