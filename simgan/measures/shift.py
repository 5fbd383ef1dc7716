"""Annotation shift: how far the labelled parts of images move when the images are refined."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.measures.statistics import Estimate, Floats, estimate_all, group_images

KEPT = 0.95  # share of the images in a trimmed mean: measures fail in a few, and err far


@dataclass(frozen=True)
class Figure:
    """A figure, shown as `factor` times its value, with `digits` digits and the `unit`."""

    name: str
    estimate: Estimate
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
    labels: Mapping[str, Any],
    *,
    moved: str,
    unit: str,
    groups: Mapping[str, Sequence[str]] | None = None,
    further: Mapping[str, tuple[NDArray[Any], float, int, str]] | None = None,
    repeatability: float | None = None,
    note: str = "",
    seed: int = 0,
) -> Shift:
    """Sum up what `Domain.shift` returns, (N, 2), N ≥ 2, of images with `labels` by column.

    Persons, the column `person`, are resampled for the intervals; they are also one kind of `groups`, which hold the
    group of each image. `further`: means of more values (N,) by their name, with factor, digits and unit of the figure.
    `ImageError` where there are fewer than 2 images, or persons that do not fit.
    """
    persons = [str(name) for name in labels["person"]] if "person" in labels else None
    groups = {**(groups or {}), **({"person": persons} if persons else {})}
    further = further or {}
    resampled, what = group_images(len(distances), persons)
    rows = np.column_stack([distances, *(values for values, *_ in further.values())])
    found = estimate_all(lambda chosen: _figures(rows[chosen]), resampled, draws=500, seed=seed)
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
            Figure(name, estimate, factor, digits, unit)
            for (name, (_, factor, digits, unit)), estimate in zip(further.items(), rest, strict=True)
        ),
        repeatability=repeatability,
        groups={kind: _of_groups(distances, np.asarray(names, str)) for kind, names in groups.items()},
        resampled=what,
        note=note,
    )


def trimmed_mean(values: Floats) -> float:
    """Return the mean of the smallest 95 % of values (N,), N > 0."""
    return float(np.sort(values)[: int(np.ceil(KEPT * len(values)))].mean())


def _figures(rows: Floats) -> list[float]:
    """Return median, 90th percentile and trimmed mean of rows that were measured, and the means of further columns."""
    measured = rows[np.isfinite(rows[:, 0])]
    if not len(measured):
        return [float("nan")] * (rows.shape[1] + 1)
    means = [float(values.mean()) for values in measured[:, 2:].T]
    worst = measured[:, 1]
    return [float(np.median(measured[:, 0])), float(np.quantile(worst, 0.9)), trimmed_mean(worst), *means]


def _of_groups(distances: Floats, names: NDArray[np.str_]) -> dict[str, GroupShift]:
    own = {str(name): distances[names == name] for name in np.unique(names)}
    return {name: GroupShift(len(rows), *_figures(rows)) for name, rows in own.items()}
