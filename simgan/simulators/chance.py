"""Random numbers by hashing: image i gets the same ones whatever batch it is drawn in, and no generator is set up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simgan.errors import ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def numbers(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Image numbers as a checked (N,) int64 array; anything but whole numbers from 0 on is a `ConfigError`."""
    array = np.asarray(indices)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        kind = f"an array of shape {array.shape} and type {array.dtype}"
        raise ConfigError(f"indices is {kind}: pass a sequence of whole numbers, one for each image")
    if array.min() < 0:
        raise ConfigError(f"indices holds {array.min()}: simulated images are numbered from 0")
    return array.astype(np.int64)


def _mix(value: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): (N,) uint64 to well-mixed (N,) uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


class Dice:
    """Independent draws for each of N numbers, in a fixed order: every call throws once for all of them.

    `stream` keeps apart what shares a seed (worlds; persons and images). All results are (N,) float32.
    """

    def __init__(self, seed: int, stream: int, numbers: np.ndarray) -> None:
        start = np.array([seed & 0xFFFFFFFFFFFFFFFF, stream], np.uint64)
        key = _mix(_mix(start[:1] + _GOLDEN) + start[1:] * _GOLDEN)
        self._state = _mix(key + numbers.astype(np.uint64) * _GOLDEN)
        self._thrown = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform in [low, high)."""
        self._thrown += 1
        throw = np.array([self._thrown], np.uint64)  # arrays wrap around without a warning, scalars do not
        bits = _mix(self._state + throw * _GOLDEN) >> np.uint64(40)
        return np.float32(low) + np.float32(high - low) * (bits.astype(np.float32) * np.float32(2**-24))

    def normal(self, mean: float, deviation: float) -> np.ndarray:
        """Bell-shaped (Irwin-Hall, four throws), never further than 3.5 deviations from the mean."""
        total = self.uniform() + self.uniform() + self.uniform() + self.uniform() - np.float32(2)
        return np.float32(mean) + np.float32(deviation * 3**0.5) * total

    def happens(self, probability: float) -> np.ndarray:
        """1 with the given probability, else 0."""
        return (self.uniform() < probability).astype(np.float32)

    def integer(self, below: int) -> np.ndarray:
        """Whole numbers in [0, below), int64."""
        return np.minimum((self.uniform() * below).astype(np.int64), below - 1)
