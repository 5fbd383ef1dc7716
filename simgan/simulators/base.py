"""What simulators share: how they are described, persons, random numbers, noise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np

from simgan.errors import ConfigError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Rendered = tuple[np.ndarray, dict[str, np.ndarray]]  # images and labels


class RandomNumbers:
    """Random numbers (N,), float32 unless said otherwise, for each of N keys, such as those of images.

    They are hashes, so a key has the same ones in any batch. `stream` separates draws that share a seed.
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
        total = self.uniform() + self.uniform() + self.uniform() + self.uniform() - 2
        return np.float32(mean) + np.float32(deviation * 3**0.5) * total

    def happens(self, probability: float) -> np.ndarray:
        """1 with the given probability, else 0."""
        return (self.uniform() < probability).astype(np.float32)

    def integer(self, below: int) -> np.ndarray:
        """Whole numbers in [0, below), int64."""
        return np.minimum((self.uniform() * below).astype(np.int64), below - 1)


def _mix(value: np.ndarray) -> np.ndarray:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014): (N,) uint64 to well-mixed (N,) uint64."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@dataclass(frozen=True, kw_only=True)
class Simulator(ABC):
    """A source that renders images of persons, who keep their looks from image to image."""

    domain: ClassVar[str]
    size: ClassVar[tuple[int, int]]  # width and height
    labels: ClassVar[tuple[str, ...]]  # beside the person
    batch: ClassVar[int]  # images that are rendered together

    stream: int  # separates its random numbers from those of other simulators
    persons: int
    prefix: str  # of the persons' names
    camera: Callable[[RandomNumbers], Any] | None = None  # the settings of a camera, if one takes the images

    @abstractmethod
    def draw(self, person: RandomNumbers, image: RandomNumbers, camera: RandomNumbers) -> Rendered:
        """Return N images and their labels from the random numbers of persons, images and the camera."""

    def render(self, indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> Rendered:
        """Return stored images (N, height, width) by number, and labels, N rows each; `ConfigError` below 0."""
        numbers, names = self.numbers(indices, seed)
        images, labels = self.draw(*numbers)
        return images, {**labels, "person": names}

    def numbers(self, indices: Sequence[int] | np.ndarray, seed: int) -> tuple[list[RandomNumbers], np.ndarray]:
        """Return the random numbers of each image's person, of the image and of the camera, and the persons' names."""
        keys = np.asarray(indices)
        if keys.size and (keys.ndim != 1 or keys.dtype.kind not in "iu" or (keys < 0).any()):
            raise ConfigError(f"indices is {indices!r:.50}: give a whole number from 0 on for each image")
        image = RandomNumbers(seed, self.stream, keys)
        who = image.integer(self.persons)
        names = np.array([f"{self.prefix}{number:03}" for number in range(self.persons)])[who]
        return [RandomNumbers(seed, self.stream + 1, who), image, RandomNumbers(seed, self.stream + 2, keys)], names


class Batch(dict[str, np.ndarray]):
    """Arrays with one row for each image, by name; they are attributes, too."""

    def __getattr__(self, name: str) -> np.ndarray:
        return self[name]

    def part(self, rows: slice) -> "Batch":
        """Return some of the rows."""
        return Batch({name: value[rows] for name, value in self.items()})


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (..., 3) with length 1."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def matrices(*rows: tuple[np.ndarray, ...]) -> np.ndarray:
    """Return matrices (N, R, C) of R rows of C entries (N,)."""
    return np.stack([np.stack(row, -1) for row in rows], -2)


@cache
def noise_fields(seed: int, side: int, sigmas: tuple[tuple[str, tuple[float, ...]], ...]) -> dict[str, np.ndarray]:
    """Return noise (side, side), mean 0, deviation 1, by name: sums of white noise blurred by pairs of sigmas."""
    generator, fields = np.random.default_rng(seed), {}
    for name, octaves in sigmas:
        total = np.zeros((side, side), np.float32)
        for across, down in zip(octaves[::2], octaves[1::2], strict=True):
            noise: np.ndarray = generator.standard_normal((side, side)).astype(np.float32)
            if across:
                noise = cv2.GaussianBlur(noise, (0, 0), across, sigmaY=down)
            total += (noise - noise.mean()) / noise.std()
        fields[name] = total / total.std()
    return fields
