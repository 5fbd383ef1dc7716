"""Random numbers by hashing: those of image i are the same in any batch, and no generator is set up for an image."""

from collections.abc import Sequence

import numpy as np

from simgan.errors import ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def image_numbers(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return image numbers as (N,) int64; `ConfigError` for anything but whole numbers from 0 on."""
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


class RandomNumbers:
    """Independent random numbers for each of N keys, such as image numbers, in a fixed order of calls.

    Every call returns one number for each key, (N,) float32 unless said otherwise. `stream` separates draws that share
    a seed, such as those of persons and of images.
    """

    def __init__(self, seed: int, stream: int, keys: np.ndarray) -> None:
        start = np.array([seed & 0xFFFFFFFFFFFFFFFF, stream], np.uint64)
        key = _mix(_mix(start[:1] + _GOLDEN) + start[1:] * _GOLDEN)
        self._state = _mix(key + keys.astype(np.uint64) * _GOLDEN)
        self._calls = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Uniform in [low, high)."""
        self._calls += 1
        call = np.array([self._calls], np.uint64)  # arrays wrap around without a warning, scalars do not
        bits = _mix(self._state + call * _GOLDEN) >> np.uint64(40)
        return np.float32(low) + np.float32(high - low) * (bits.astype(np.float32) * np.float32(2**-24))

    def normal(self, mean: float, deviation: float) -> np.ndarray:
        """About normal (Irwin-Hall, a sum of four), never further than 3.5 deviations from the mean."""
        total = self.uniform() + self.uniform() + self.uniform() + self.uniform() - np.float32(2)
        return np.float32(mean) + np.float32(deviation * 3**0.5) * total

    def happens(self, probability: float) -> np.ndarray:
        """1 with the given probability, else 0."""
        return (self.uniform() < probability).astype(np.float32)

    def integer(self, below: int) -> np.ndarray:
        """Whole numbers in [0, below), int64."""
        return np.minimum((self.uniform() * below).astype(np.int64), below - 1)
