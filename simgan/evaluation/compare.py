"""One source against another through a refiner: what `simgan evaluate` measures, as library calls.

Every figure stands beside what it has to be compared with: realism beside raw and floor, annotation shift beside the
finder's own repeatability. Gaze has an experiment of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.data import Crops, load
from simgan.evaluation.realism import Realism, measure_realism
from simgan.evaluation.shift import Shift, annotation_shift
from simgan.images import equalize
from simgan.refiner import Refiner

Images = NDArray[np.uint8]


def compare_realism(refiner: Refiner, synthetic: str, real: str, *, limit: int = 500, seed: int = 0) -> Realism:
    """Measure the realism of a synthetic source, refined, against a real one; at most `limit` images of each."""
    before, _ = _images(refiner, synthetic, limit, seed)
    target, _ = _images(refiner, real, limit, seed)
    return measure_realism(_refined(refiner, before), target, before, seed=seed)


def compare_shift(refiner: Refiner, synthetic: str, *, limit: int = 1000, seed: int = 0) -> Shift:
    """Measure how far the iris moves when images of a source are refined; sought at its label where there is one."""
    before, labels = _images(refiner, synthetic, limit, seed)
    start = np.array([_or_nan(pupil) for pupil in labels["pupil"]]) if "pupil" in labels else None
    return annotation_shift(before, _refined(refiner, before), start, seed=seed)


def as_json(result: Any) -> dict[str, Any]:
    """Give the figures of a result without its arrays."""
    values = dataclasses.asdict(result)
    return {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}


def _images(refiner: Refiner, source: str, limit: int | None, seed: int) -> tuple[Images, dict[str, Sequence[Any]]]:
    """Crops of a source as the refiner sees them (equalized if it was trained so), and its labels by column."""
    data = load(source, limit=limit, seed=seed)
    images: Images = Crops(data)[:]
    if refiner.config.equalize:
        images = np.stack([equalize(image) for image in images])
    return images, {name: data[name] for name in ("pupil",) if name in data.column_names}


def _refined(refiner: Refiner, images: Images) -> Images:
    refined: Images = np.stack(list(refiner.refine(iter(images))))
    return refined


def _or_nan(point: Sequence[float] | None) -> Sequence[float]:
    return point if point is not None else (np.nan, np.nan)
