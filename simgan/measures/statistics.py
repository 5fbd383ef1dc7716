"""Confidence intervals: one cluster bootstrap for every figure of this package.

Images of one person look alike, and so do neighbouring frames of a film. So groups of images are resampled: of n groups
n − 1 are drawn with replacement (Rao and Wu 1988), so that the variance is not understated when there are few. Seeds of
networks are resampled in the same way. The interval is the value ± t standard errors, with Student's t of n − 1 degrees
of freedom. Percentiles would be too high for a distance: a set with repeated images is farther from any other.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError

Groups = NDArray[np.int64]  # (N,): the number of the group of each image
Floats = NDArray[np.float64]
Names = Sequence[str] | NDArray[np.str_]
Persons = tuple[Names | None, Names | None]  # on the synthetic images and on the real ones, where they are known


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval, which is NaN where it cannot be estimated."""

    value: float
    low: float
    high: float

    def show(self, factor: float = 1, digits: int = 2, unit: str = "", *, sign: bool = False) -> str:
        """Return the figure with its interval as text: "12.3 mm (11.0 to 13.6)"."""
        plus = "+" if sign else ""
        value, low, high = (f"{factor * end:{plus}.{digits}f}" for end in (self.value, self.low, self.high))
        return f"{value}{unit} ({low} to {high})"


Compared = tuple[Estimate, Estimate, Estimate]  # refined, raw and real images (the floor), each with real ones


def group_images(
    count: int, persons: Names | None = None, recordings: Names | None = None, *, fewest: int = 10, blocks: int = 50
) -> tuple[Groups, str]:
    """Return the group of each image, (count,), and what groups are, else `ImageError`.

    They are persons, recordings, or blocks: the first of which there are enough.
    """
    if count < 2:
        raise ImageError(f"an interval needs at least 2 images, not {count}")
    for what, given in (("persons", persons), ("recordings", recordings)):
        if given is None:
            continue
        if len(given) != count:
            raise ImageError(f"{count} images need the {what[:-1]} of each, not {len(given)} names")
        names, groups = np.unique(np.asarray(given, dtype=str), return_inverse=True)
        if len(names) >= fewest:
            return groups.astype(np.int64), f"{len(names)} {what}"
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

    `statistics` takes the indices of the images of each set, in the order of `groups`; before them, the indices of the
    networks, if they were trained with that number of `seeds`. `values` are the statistics of all images, where they
    were computed more exactly. The bootstrap draws `draws` times, with random numbers of `seed`.
    """
    from scipy import stats  # heavy, and only intervals need it

    generator = np.random.default_rng(seed)
    members = [[np.flatnonzero(own == group) for group in np.unique(own)] for own in groups]
    reach = stats.t.ppf(0.975, min(map(len, members)) - 1)  # NaN where there is one group
    if seeds:
        members.insert(0, list(np.arange(seeds)[:, None]))
    if values is None:
        values = statistics(*(np.arange(sum(map(len, own))) for own in members))
    drawn = []
    for _ in range(draws):
        chosen = [[own[k] for k in generator.integers(len(own), size=max(len(own) - 1, 1))] for own in members]
        drawn.append(statistics(*map(np.concatenate, chosen)))
    found = []
    for value, column in zip(values, np.transpose(drawn), strict=True):
        known = column[np.isfinite(column)]
        error = reach * known.std(ddof=1) if len(known) > 1 else np.nan
        found.append(Estimate(float(value), float(value - error), float(value + error)))
    return found


def estimate_errors(errors: Floats, groups: Groups, *, median: bool = False, draws: int = 1000) -> Estimate:
    """Return the mean over seeds of the mean (or median) over images of errors (seeds, images), with its interval.

    Of differences of two networks on the same images, it is a paired test at 5 %: significant if 0 lies outside.
    """
    summarize = np.median if median else np.mean

    def figure(seeds: Groups, images: Groups) -> list[float]:
        return [float(summarize(errors[np.ix_(seeds, images)], axis=1).mean())]

    return estimate_all(figure, groups, seeds=len(errors), draws=draws)[0]


def estimate_distances(
    distances: Callable[[Sequence[str], Groups, Groups], list[float]],
    counts: tuple[int, int],
    persons: Persons,
    *,
    exact: Sequence[float] | None = None,
    **options: Any,
) -> tuple[Compared, Estimate]:
    """Return how far refined, raw and real images are from real ones, and the share of the gap that refining closed.

    `distances` takes kinds of images ("refined", "raw", "real"), their indices, and indices of real images; it returns
    the distance of each kind from the real ones. `counts` and `persons` are of the synthetic and the real images. The
    third distance is the floor, between the halves of the real images; the share is NaN if raw images are no farther.
    `exact`: the three distances where they were computed more exactly. `options` as for `estimate_all`.
    """
    own, theirs = (group_images(count, names)[0] for count, names in zip(counts, persons, strict=True))
    halves = np.split(theirs, [half := len(theirs) // 2])
    (floor,) = estimate_all(
        lambda some, others: distances(["real"], some, others + half), *halves, values=exact and exact[2:], **options
    )

    def with_closed(refined: float, raw: float) -> list[float]:
        return [refined, raw, (raw - refined) / (raw - floor.value) if raw > floor.value else float("nan")]

    refined, raw, closed = estimate_all(
        lambda some, others: with_closed(*distances(["refined", "raw"], some, others)),
        *(own, theirs),
        values=exact and with_closed(*exact[:2]),
        **options,
    )
    return (refined, raw, floor), closed
