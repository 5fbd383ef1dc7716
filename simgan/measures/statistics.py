"""Confidence intervals: one cluster bootstrap for every figure of this package.

Images of one person look alike, and so do neighbouring frames of a film, so images are not independent. The bootstrap
therefore resamples groups of images: of n groups it draws n − 1 with replacement (Rao and Wu 1988), so that the
variance is not understated when there are few. Seeds of trained networks are resampled in the same way.

The interval is the value ± t standard errors of the resampled values, with Student's t of as many groups less one.
Percentiles of the resampled values would be wrong for a distance between two sets: a resampled set holds images twice,
which by itself moves it away from the other set, so that the percentiles lie too high. The standard error does not
depend on that shift, and for means and medians both intervals agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError

Groups = NDArray[np.int64]  # (N,): the number of the group of each image
Floats = NDArray[np.float64]
Names = Sequence[str] | NDArray[np.str_]

_LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval, which is NaN where it cannot be estimated."""

    value: float
    low: float
    high: float

    def show(self, factor: float = 1, digits: int = 2, unit: str = "", *, sign: bool = False) -> str:
        """Return the figure with its interval as text: "12.3 mm (11.0 to 13.6)"."""
        value, low, high = (
            f"{factor * end:{'+' if sign else ''}.{digits}f}" for end in (self.value, self.low, self.high)
        )
        return f"{value}{unit} ({low} to {high})"


def group_images(count: int, persons: Names | None = None, *, fewest: int = 10, blocks: int = 50) -> tuple[Groups, str]:
    """Return the group of each of `count` images, (count,), and what the groups are.

    Groups are persons where at least `fewest` are known, else at most `blocks` blocks of neighbouring images, as frames
    next to each other look alike. `ImageError` where there are fewer than 2 images, or the persons are not as many.
    """
    if count < 2:
        raise ImageError(f"an interval needs at least 2 images, not {count}")
    if persons is not None:
        if len(persons) != count:
            raise ImageError(f"{count} images need the person of each, not {len(persons)} names")
        names, groups = np.unique(np.asarray(persons, dtype=str), return_inverse=True)
        if len(names) >= fewest:
            return groups.astype(np.int64), f"{len(names)} persons"
    blocks = min(blocks, count)
    return np.arange(count) * blocks // count, f"{blocks} blocks of neighbouring images"


def estimate_all(
    statistics: Callable[..., Sequence[float]],
    *groups: Groups,
    values: Sequence[float] | None = None,
    seeds: int = 0,
    draws: int = 200,
    seed: int = 0,
) -> list[Estimate]:
    """Return several statistics of the same sets of images, each with its interval.

    Args:
        statistics: a function of the indices of the images of each set, in the order of `groups`. Where there are
            seeds, the indices of the seeds come first.
        groups: for each set the group of each of its images.
        values: the statistics of all images where they were computed more exactly than `statistics` does.
        seeds: how many networks were trained, each with its own seed; 0 where none was.
        draws: of the bootstrap.
        seed: of the random numbers of the bootstrap.
    """
    generator = np.random.default_rng(seed)
    members = [[np.flatnonzero(own == group) for group in np.unique(own)] for own in groups]
    whole = [np.arange(len(own)) for own in groups]
    if values is None:
        values = statistics(*([np.arange(seeds)] if seeds else []), *whole)
    drawn = np.empty((draws, len(values)))
    for row in drawn:
        chosen = [_draw(seeds, generator)] if seeds else []
        chosen += [np.concatenate([own[group] for group in _draw(len(own), generator)]) for own in members]
        row[:] = statistics(*chosen)
    errors = [
        float(known.std(ddof=1)) if len(known := column[np.isfinite(column)]) > 1 else np.nan for column in drawn.T
    ]
    reach = _quantile_of_t(min(map(len, members)) - 1)
    return [Estimate(float(v), float(v - reach * e), float(v + reach * e)) for v, e in zip(values, errors, strict=True)]


def estimate(
    statistic: Callable[..., float], *groups: Groups, seeds: int = 0, draws: int = 200, seed: int = 0
) -> Estimate:
    """Return one statistic with its interval; arguments as for `estimate_all`."""
    return estimate_all(lambda *chosen: [statistic(*chosen)], *groups, seeds=seeds, draws=draws, seed=seed)[0]


def estimate_errors(errors: Floats, groups: Groups, *, median: bool = False, draws: int = 1000) -> Estimate:
    """Return the mean over seeds of the mean (or median) over images of errors (seeds, images), with its interval.

    The difference of the errors of two networks on the same images makes a paired test at 5 %: it is passed where the
    interval does not hold 0.
    """
    summarize = np.median if median else np.mean
    return estimate(
        lambda chosen, images: float(summarize(errors[np.ix_(chosen, images)], axis=1).mean()),
        groups,
        seeds=len(errors),
        draws=draws,
    )


def _draw(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.integers(count, size=max(count - 1, 1))


def _quantile_of_t(freedom: int) -> float:
    """Quantile of Student's t for a two-sided interval; NaN where there is one group."""
    from scipy import stats  # heavy, and only intervals need it

    return float(stats.t.ppf((1 + _LEVEL) / 2, freedom)) if freedom > 0 else float("nan")
