"""One source against another through a refiner: what `simgan evaluate` measures, as library calls.

Every figure stands beside what it has to be compared with: realism beside raw and floor, annotation shift beside the
finder's own repeatability. Gaze has an experiment of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from simgan import __version__
from simgan.data import Crops, load
from simgan.domains import find
from simgan.domains.iris import Shift, annotation_shift, gaze_directions
from simgan.images.arrays import equalize
from simgan.measures.depth import (
    DepthRealism,
    SurfaceShift,
    measure_depth_realism,
    measure_surface_shift,
)
from simgan.measures.estimates import Beside, Names
from simgan.measures.patches import Realism, measure_realism
from simgan.measures.two_sample import measure_two_sample
from simgan.refiner import Refiner

Images = NDArray[Any]  # uint8, and uint16 where they are depth


@dataclass(frozen=True)
class RealismMeasures:
    """What two measures that see different things say about the same images; each beside raw and floor."""

    patches: Realism
    told_apart: Beside

    UNITS: ClassVar[dict[str, tuple[float, int, str]]] = {
        "patch distance": (1000, 1, ""),
        "told from real": (100, 0, " %"),
    }
    """Of each row the factor, the digits and the unit to show it with."""
    ROWS: ClassVar[tuple[str, ...]] = ("patches", "told_apart")
    """The field of each row."""
    TOLD: ClassVar[str] = "patch distances × 1000; told from real: 50 % is chance; in brackets 95 % intervals"

    def rows(self) -> dict[str, Beside]:
        """Give all as rows of one table."""
        found = (self.patches.beside(), self.told_apart)
        return dict(zip(self.UNITS, found, strict=True))


def measure_all_realism(
    refined: Images,
    real: Images,
    raw: Images,
    *,
    persons: Names | None = None,
    real_persons: Names | None = None,
    seed: int = 0,
) -> RealismMeasures:
    """Measure patches and how well a classifier tells refined, raw and real images from real ones.

    All are uint8 (N, H, W), equalized alike; `persons` are those of raw and refined. Real images of one person or film
    must come as one block, as the floors lie between the halves of their order.
    """
    return RealismMeasures(
        patches=measure_realism(refined, real, raw, seed=seed),
        told_apart=measure_two_sample(refined, real, raw, persons=persons, real_persons=real_persons, seed=seed),
    )


def compare_realism(
    refiner: Refiner, synthetic: str, real: str, *, limit: int = 500, seed: int = 0
) -> RealismMeasures | DepthRealism:
    """Measure the realism of a synthetic source, refined, against a real one; at most `limit` images of each."""
    before, labels = _images(refiner, synthetic, limit, seed)
    target, theirs = _images(refiner, real, limit, seed)
    persons, real_persons = (_persons(known) for known in (labels, theirs))
    measure = measure_depth_realism if _is_depth(refiner) else measure_all_realism
    return measure(_refined(refiner, before), target, before, persons=persons, real_persons=real_persons, seed=seed)


def compare_shift(refiner: Refiner, synthetic: str, *, limit: int = 1000, seed: int = 0) -> Shift | SurfaceShift:
    """Measure how far the iris moves when images of a source are refined; sought at its label where there is one.

    Told for each direction of gaze and for each person as well, where the source labels them. Of depth images it is
    the surface that is measured.
    """
    before, labels = _images(refiner, synthetic, limit, seed)
    if _is_depth(refiner):
        return measure_surface_shift(before, _refined(refiner, before), persons=_persons(labels))
    start = np.array([_or_nan(pupil) for pupil in labels["pupil"]]) if "pupil" in labels else None
    groups: dict[str, list[str]] = {}
    if {"pitch", "yaw"} <= labels.keys():
        groups["gaze"] = gaze_directions(labels["pitch"], labels["yaw"])
    if (persons := _persons(labels)) is not None:
        groups["person"] = persons
    return annotation_shift(before, _refined(refiner, before), start, groups=groups, seed=seed)


def measured_on(
    refiner: Refiner, synthetic: str, real: str | None = None, *, limit: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Tell what figures are of, to be written beside them: sources, refiner and its step, limit, seed, version."""
    told = {
        "synthetic": synthetic,
        "real": real,
        "model": refiner.origin,
        "revision": refiner.revision,
        "step": (refiner.metadata or {}).get("step"),
        "limit": limit,
        "seed": seed,
        "simgan_version": __version__,
    }
    return {"measured_on": told}


def as_json(result: Any) -> dict[str, Any]:
    """Give the figures of a result without its arrays."""
    values = dataclasses.asdict(result)
    return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}


def _is_depth(refiner: Refiner) -> bool:
    """Whether what a refiner takes, and so all that is measured of it, is depth."""
    return find(refiner.config.domain).codec == "depth16"


def _images(refiner: Refiner, source: str, limit: int | None, seed: int) -> tuple[Images, dict[str, Sequence[Any]]]:
    """Crops of a source as the refiner sees them (equalized if it was trained so), and its labels by column."""
    domain = find(refiner.config.domain)
    data = load(source, size=domain.size, limit=limit, seed=seed)
    images: Images = Crops(data)[:]
    if refiner.config.equalize:
        images = np.stack([equalize(image) for image in images])
    return images, {name: data[name] for name in ("pitch", "yaw", "pupil", "person") if name in data.column_names}


def _refined(refiner: Refiner, images: Images) -> Images:
    refined: Images = np.stack(list(refiner.refine(iter(images))))
    return refined


def _persons(labels: dict[str, Sequence[Any]]) -> list[str] | None:
    return ["unknown" if name is None else str(name) for name in labels["person"]] if "person" in labels else None


def _or_nan(point: Sequence[float] | None) -> Sequence[float]:
    return point if point is not None else (np.nan, np.nan)
