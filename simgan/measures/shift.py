"""Annotation shift: how far the labelled parts of images move when the images are refined."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from simgan.errors import ImageError
from simgan.measures.statistics import Estimate, Floats, Names, estimate_all, group_images

KEPT = 0.95  # share of the images in a trimmed mean: measures fail in a few, and err far


@dataclass(frozen=True)
class Figure:
    """A figure, shown as `factor` times its value, with `digits` digits and the `unit`."""

    name: str
    estimate: Estimate
    factor: float = 1
    digits: int = 2
    unit: str = ""

    def show(self) -> str:
        """Return the figure with its interval as text."""
        return self.estimate.show(self.factor, self.digits, self.unit)


@dataclass(frozen=True)
class Further:
    """A further figure of a measure of shift: a function of its array (N, columns) without the images not measured."""

    statistic: Callable[[Floats], float]
    factor: float = 1
    digits: int = 2
    unit: str = ""


@dataclass(frozen=True)
class GroupShift:
    """The shift of the images of one group."""

    count: int
    median: float
    p90: float
    trimmed_mean: float


@dataclass(frozen=True)
class Shift:
    """How far labelled parts moved, in `unit`, over the images where it could be measured."""

    moved: str  # what moved
    unit: str
    count: int
    missed: float  # share of the images where it could not be measured
    median: Estimate  # over images of the image's median
    p90: Estimate  # 90th percentile over images of the image's 90th percentile
    trimmed_mean: Estimate  # of the images' 90th percentiles, without the largest 5 %
    further: tuple[Figure, ...] = ()
    repeatability: float | None = None  # median of what the measure itself errs by; a shift of that size means nothing
    groups: Mapping[str, Mapping[str, GroupShift]] = field(default_factory=dict)  # by kind of group and its name
    resampled: str = ""
    note: str = ""

    def figures(self) -> Iterator[Figure]:
        """Return all figures in the order in which they are shown."""
        unit = f" {self.unit}"
        yield Figure("median", self.median, unit=unit)
        yield Figure("90th percentile", self.p90, unit=unit)
        yield Figure("mean without the worst 5 %", self.trimmed_mean, unit=unit)
        yield from self.further


def measure_shift(
    distances: Floats,
    *,
    moved: str,
    unit: str,
    persons: Names | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    further: Mapping[str, Further] | None = None,
    repeatability: float | None = None,
    note: str = "",
    seed: int = 0,
) -> Shift:
    """Sum up what `Domain.shift` returns, (N, 2) or with more columns; NaN where an image was not measured.

    Args:
        distances: median and 90th percentile of each image; further columns are for `further`.
        moved: what moved.
        unit: of the distances.
        persons: the person on each image, where they are known; they are resampled for the intervals.
        groups: for each kind of group (such as person) the group of each image.
        further: more figures by their name.
        repeatability: what the measure itself errs by.
        note: how to read the figures.
        seed: of the bootstrap.

    `ImageError` where there are fewer than 2 images, or groups that do not fit.
    """
    for kind, names in (groups or {}).items():
        if len(names) != len(distances):
            raise ImageError(f"{len(distances)} images need the {kind} of each, not {len(names)} names")
    further = further or {}
    resampled, what = group_images(len(distances), persons)

    def statistics(chosen: np.ndarray) -> list[float]:
        values = distances[chosen]
        measured = values[np.isfinite(values[:, 0])]
        if not len(measured):
            return [float("nan")] * (3 + len(further))
        return [*_summary(measured), *(one.statistic(measured) for one in further.values())]

    found = estimate_all(statistics, resampled, draws=500, seed=seed)
    median, p90, trimmed, *rest = (replace(one, low=max(one.low, 0.0)) for one in found)  # nothing moves by less
    return Shift(
        moved,
        unit,
        count=len(distances),
        missed=float(1 - np.isfinite(distances[:, 0]).mean()),
        median=median,
        p90=p90,
        trimmed_mean=trimmed,
        further=tuple(
            Figure(name, estimate, one.factor, one.digits, one.unit)
            for (name, one), estimate in zip(further.items(), rest, strict=True)
        ),
        repeatability=repeatability,
        groups={kind: _of_groups(distances, names) for kind, names in (groups or {}).items()},
        resampled=what,
        note=note,
    )


def trimmed_mean(values: Floats) -> float:
    """Return the mean of the smallest 95 % of values (N,), N > 0."""
    return float(np.sort(values)[: int(np.ceil(KEPT * len(values)))].mean())


def _summary(measured: Floats) -> tuple[float, float, float]:
    """Return median, 90th percentile and trimmed mean of distances (N, 2) that are finite."""
    return float(np.median(measured[:, 0])), float(np.quantile(measured[:, 1], 0.9)), trimmed_mean(measured[:, 1])


def _of_groups(distances: Floats, names: Sequence[str]) -> dict[str, GroupShift]:
    which, found = np.asarray(names, dtype=str), {}
    for name in np.unique(which):
        own = distances[which == name]
        measured = own[np.isfinite(own[:, 0])]
        figures = _summary(measured) if len(measured) else (float("nan"),) * 3
        found[str(name)] = GroupShift(len(own), *figures)
    return found
