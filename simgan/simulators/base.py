"""What simulators share: how they are described, persons, noise, and work in several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np

from simgan.simulators.random_numbers import RandomNumbers

Render = Callable[..., tuple[np.ndarray, dict[str, np.ndarray]]]
B = TypeVar("B", bound="Batch")
_PART = 32  # images: arrays of 35 × 55 float32 each take 250 kB and stay in the processor's cache


@dataclass(frozen=True)
class Simulator:
    """A source that renders its images.

    `render(indices, seed=0)` returns stored images (N, height, width) and a dictionary of labels, N rows each, for
    image numbers from 0 on. `ConfigError` if an index is negative or not a whole number.
    """

    domain: str
    size: tuple[int, int]  # width and height
    labels: tuple[str, ...]
    batch: int  # images that are rendered together
    render: Render


@dataclass(frozen=True)
class Population:
    """Persons that a simulator draws. `stream` separates its random numbers from those of other populations."""

    stream: int
    persons: int
    prefix: str  # of their names

    def draw(self, indices: np.ndarray, seed: int) -> tuple[RandomNumbers, RandomNumbers, np.ndarray]:
        """Return for each image the random numbers of the image, those of its person, and the person's name."""
        image = RandomNumbers(seed, self.stream, indices)
        who = image.integer(self.persons)
        names = np.array([f"{self.prefix}{number:03}" for number in range(self.persons)])
        return image, RandomNumbers(seed, self.stream + 1, who), names[who]

    def camera(self, indices: np.ndarray, seed: int) -> RandomNumbers:
        """Return the random numbers of the camera that takes the images."""
        return RandomNumbers(seed, self.stream + 2, indices)


class Batch:
    """Base of dataclasses whose fields are arrays with one row for each image."""

    def part(self: B, rows: slice) -> B:
        """Return some of the rows."""
        return type(self)(**{name: value[rows] for name, value in vars(self).items()})


def smooth_noise(generator: np.random.Generator, side: int, sigma_x: float, sigma_y: float) -> np.ndarray:
    """Return blurred white noise (side, side), float32, of mean 0 and standard deviation 1; sigma 0 does not blur."""
    noise: np.ndarray = generator.standard_normal((side, side)).astype(np.float32)
    if sigma_x:
        noise = cv2.GaussianBlur(noise, (0, 0), sigma_x, sigmaY=sigma_y)
    return (noise - noise.mean()) / noise.std()


def run_in_threads(work: Callable[[slice], None], count: int) -> None:
    """Call `work` on slices that together cover range(count), in any order, on all cores; its errors are raised here.

    Array code releases the interpreter's lock, so threads are enough.
    """
    parts = [slice(start, min(start + _PART, count)) for start in range(0, count, _PART)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(parts) <= 1 or cores == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(min(cores, len(parts), 8)) as pool:
        list(pool.map(work, parts))
