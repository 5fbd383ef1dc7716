"""Rivals of a refiner, in closed form: synthetic images get statistics of unlabelled real ones, one for each image."""

from collections.abc import Callable

import numpy as np

from simgan.images.arrays import Array

_LEAST, _MOST = 0.01, 0.05  # of Fourier domain adaptation: half of the swapped square as a share of the shorter side


def fda(images: Array, real: Array, generator: np.random.Generator) -> Array:
    """Return images with the low frequencies' amplitudes of random real ones (Yang and Soatto 2020).

    Both are uint8 (N, H, W) or (N, H, W, 3) of one size. The share of frequencies is drawn for each image.
    """
    height, width = images.shape[1:3]
    down, across = (np.abs(np.fft.fftfreq(length, 1 / length)) for length in (height, width))
    changed = np.empty_like(images)
    for place, image in enumerate(images):
        own, other = (np.fft.fft2(one, axes=(0, 1)) for one in (image, real[generator.integers(len(real))]))
        reach = int(min(height, width) * generator.uniform(_LEAST, _MOST))
        low = np.ix_(down <= reach, across <= reach)
        own[low] = np.abs(other[low]) * np.exp(1j * np.angle(own[low]))
        changed[place] = _stored(np.fft.ifft2(own, axes=(0, 1)).real)
    return changed


def matched(images: Array, real: Array, generator: np.random.Generator) -> Array:
    """Return images with mean and covariance of the colours of random real ones, by the least change that does so.

    It is the optimal transport of one Gaussian to another (Pitié and Kokaram 2007); of grey images mean and contrast.
    """
    changed = np.empty_like(images)
    for place, image in enumerate(images):
        own, other = (
            one.reshape(image.shape[0] * image.shape[1], -1).astype(float)
            for one in (image, real[generator.integers(len(real))])
        )
        before, after = (
            np.atleast_2d(np.cov(one.T)) + np.identity(own.shape[1]) for one in (own, other)
        )  # never singular
        root = _power(before, 0.5)
        inverse = _power(before, -0.5)
        transport = inverse @ _power(root @ after @ root, 0.5) @ inverse
        changed[place] = _stored((own - own.mean(0)) @ transport + other.mean(0)).reshape(image.shape)
    return changed


RIVALS: dict[str, Callable[[Array, Array, np.random.Generator], Array]] = {"fda": fda, "matched": matched}
"""Arms in closed form, by name: of synthetic images, real images without labels, and random numbers."""


def _stored(values: Array) -> Array:
    return values.round().clip(0, 255).astype(np.uint8)


def _power(matrix: Array, exponent: float) -> Array:
    """Return a power of a symmetric positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * values**exponent) @ vectors.T)
