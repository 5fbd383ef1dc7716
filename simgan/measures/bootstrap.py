"""Intervals of errors whose images are not independent: groups of images and seeds are resampled, not images.

Frames of one person look alike, and so do neighbours in file order; of such a group all images are drawn, or none. Of n
groups, and of n seeds, n − 1 are drawn with replacement (Rao and Wu 1988), so that variance is not understated with
the few seeds that there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Errors = NDArray[np.float64]
Statistic = Callable[[Errors], float]

_PERSONS = 10  # fewer are too few to resample
_BLOCKS = 50
_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def group_images(count: int, persons: Sequence[str] | None = None) -> tuple[NDArray[np.int64], str]:
    """Number the group of each of `count` images, (count,), and say what the groups are.

    Persons where at least 10 are known, else at most 50 blocks of file order, all about as long.
    """
    if persons is not None:
        names, groups = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
        if len(names) >= _PERSONS:
            return groups.astype(np.int64), f"{len(names)} persons"
    blocks = min(_BLOCKS, count)
    return np.arange(count) * blocks // count, f"{blocks} blocks of neighbouring images"


def mean_error(errors: Errors) -> float:
    """The mean over seeds and images."""
    return float(errors.mean())


def median_error(errors: Errors) -> float:
    """The median over images, averaged over seeds."""
    return float(np.median(errors, axis=1).mean())


def estimate(
    errors: Errors,
    groups: NDArray[np.int64],
    statistic: Statistic = mean_error,
    *,
    draws: int = 1000,
    seed: int = 0,
) -> Estimate:
    """Give a statistic of errors (seeds, images) with its percentile interval over `draws` resamplings.

    For two arms paired by image and seed, give the difference of their errors: an interval away from zero is a paired
    test passed at 5 %.
    """
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = np.empty(draws)
    for draw in range(draws):
        images = np.concatenate([members[group] for group in _drawn(len(members), generator)])
        values[draw] = statistic(errors[_drawn(len(errors), generator)][:, images])
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Estimate(statistic(errors), float(low), float(high))


def _drawn(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.integers(count, size=max(count - 1, 1))
