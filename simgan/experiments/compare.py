"""What `simgan evaluate realism` and `shift` measure: a source before and after refining, by its domain's measures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from simgan import __version__
from simgan.data import Crops, load
from simgan.domains import Domain, find
from simgan.images.arrays import Array, equalize_images
from simgan.measures.realism import Realism
from simgan.measures.shift import Shift, measure_shift
from simgan.refiner import Refiner

Labels = dict[str, list[Any]]  # by column


def compare_realism(refiner: Refiner, synthetic: str, real: str, *, limit: int = 500, seed: int = 0) -> Realism:
    """Measure the realism of a synthetic source, refined, against a real one; at most `limit` images of each."""
    domain = find(refiner.config.domain)
    (raw, labels), (target, theirs) = (_read(refiner, domain, source, limit, seed) for source in (synthetic, real))
    persons = labels.get("person"), theirs.get("person")
    return domain.measure_realism(_refine(refiner, raw), target, raw, persons=persons, seed=seed)


def compare_shift(refiner: Refiner, synthetic: str, *, limit: int = 1000, seed: int = 0) -> Shift:
    """Measure how far refining moves the labelled parts of at most `limit` images of a source."""
    domain = find(refiner.config.domain)
    before, labels = _read(refiner, domain, synthetic, limit, seed)
    after = _refine(refiner, before)
    if domain.measure_shift is not None:
        return domain.measure_shift(before, after, labels, seed=seed)
    words, distances = domain.words, domain.shift(before, after, labels)
    return measure_shift(distances, labels, moved=words.part, unit=words.unit, note=words.paper, seed=seed)


def as_json(
    result: Realism | Shift, refiner: Refiner, synthetic: str, real: str | None = None, **settings: int
) -> dict[str, Any]:
    """Return a result as it is written, with what it was measured on: sources, refiner and its step, limit and seed."""
    measured_on = {
        "synthetic": synthetic,
        "real": real,
        "model": refiner.origin,
        "revision": refiner.revision,
        "step": (refiner.metadata or {}).get("step"),
        "simgan_version": __version__,
    }
    kind = "realism" if isinstance(result, Realism) else "shift"
    return {"kind": kind, "measured_on": measured_on | settings} | asdict(result)


def _read(refiner: Refiner, domain: Domain, source: str, limit: int, seed: int) -> tuple[Array, Labels]:
    """Return images of a source as the refiner sees them (equalized if it was trained so), and their labels."""
    data = load(source, size=domain.size, limit=limit, seed=seed)
    images = Crops(data, channels=refiner.config.channels)[:]
    if refiner.config.equalize:
        images = equalize_images(images)
    labels = {name: list(data[name]) for name in (*domain.labels, "person") if name in data.column_names}
    if "person" in labels:
        labels["person"] = ["unknown" if name is None else str(name) for name in labels["person"]]
    return images, labels


def _refine(refiner: Refiner, images: Array) -> Array:
    return np.stack(list(refiner.refine(iter(images))))
