"""The commands `simgan evaluate ...`."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from simgan import __version__
from simgan.data import load
from simgan.domains import DEFAULT_MODEL, find
from simgan.domains.base import Size
from simgan.errors import ImageError
from simgan.experiments import COMMANDS
from simgan.experiments.base import Real, Synthetic
from simgan.experiments.files import write_json
from simgan.experiments.sources import read_images
from simgan.images.arrays import Array, equalize_images
from simgan.measures.realism import Realism
from simgan.measures.shift import Figure, Shift, measure_shift
from simgan.refiner import Refiner


def evaluate_realism(
    synthetic: Synthetic,
    real: Real,
    /,
    model: str = DEFAULT_MODEL,
    limit: int = 500,
    size: Size | None = None,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Compare refined images with real ones, by the measures of their domain: patches, a network that recognizes them.

    Of depth images: patches, holes, edges, residuals of planes, levels and steps.

    Args:
        synthetic: a source of synthetic images.
        real: a source of real ones that training did not see.
        model: a shipped refiner, a folder, or a Hub id.
        limit: at most so many images of each.
        size: width and height to which images are resized, where the model's domain has no size of its own.
        seed: draws them.
        output: a JSON file for the figures.
    """
    refiner = Refiner.from_pretrained(model)
    (raw, labels), (target, theirs) = (_read(refiner, source, size, limit, seed) for source in (synthetic, real))
    if raw.shape[1:] != target.shape[1:]:
        raise ImageError("images of the two sides differ in size: give --size W H, to which all are resized")
    refined, persons = np.stack(list(refiner.refine(iter(raw)))), (labels.get("person"), theirs.get("person"))
    result = find(refiner.config.domain).measure_realism(refined, target, raw, persons=persons, seed=seed)
    if output is not None:
        write_json(output, as_json(result, refiner, synthetic, real, limit=limit, seed=seed))
    print(f"{'':20}  {'refined':>26}  {'raw':>26}  {'between real (floor)':>26}")
    for row in result.rows:
        cells = [one.show(row.factor, row.digits, row.unit) for one in (row.refined, row.raw, row.floor)]
        print(f"{row.name:20}  " + "  ".join(f"{cell:>26}" for cell in cells))
    closed = "not measured, as there is no gap: images are as near to the real ones as those to one another"
    if np.isfinite(result.closed.value):
        closed = result.closed.show(100, 0, " %")
    print(f"share of the gap closed, of the {result.closed_of}: {closed}")
    print(result.note)
    if with_means := [row for row in result.rows if row.means]:
        print(f"{'mean of':20}  {'refined':>10}  {'raw':>10}  {'real':>10}")
        for row in with_means:
            cells = [f"{row.factor * row.means[kind]:.{row.digits}f}{row.unit}" for kind in ("refined", "raw", "real")]
            print(f"{row.name:20}  " + "  ".join(f"{cell:>10}" for cell in cells))


def evaluate_shift(
    synthetic: Synthetic,
    /,
    model: str = DEFAULT_MODEL,
    limit: int = 1000,
    size: Size | None = None,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Measure how far refining moves the labelled parts of images, by the measure of their domain.

    Args:
        synthetic: a source of synthetic images.
        model: a shipped refiner, a folder, or a Hub id.
        limit: at most so many images.
        size: width and height to which images are resized, where the model's domain has no size of its own.
        seed: draws them.
        output: a JSON file for the figures.
    """
    refiner = Refiner.from_pretrained(model)
    domain, (before, labels) = find(refiner.config.domain), _read(refiner, synthetic, size, limit, seed)
    after = np.stack(list(refiner.refine(iter(before))))
    if domain.measure_shift is not None:
        result = domain.measure_shift(before, after, labels, seed=seed)
    else:
        words, distances = domain.words, domain.shift(before, after, labels)
        further: dict[str, Any] = {}
        if words.unit == "px":
            further["mean of 90th percentiles"] = (distances[:, 1] / before.shape[2], 100, 2, " % of the width")
        if domain.edges_left is not None:
            further["edges left"] = (domain.edges_left(before, after, labels), 100, 1, " %")
        result = measure_shift(
            distances, labels, moved=words.part, unit=words.unit, further=further, note=words.paper, seed=seed
        )
    if output is not None:
        write_json(output, as_json(result, refiner, synthetic, limit=limit, seed=seed))
    print(f"how far the {result.moved} moved, over {result.count} pairs of images; not measured in {result.missed:.1%}")
    unit = f" {result.unit}"
    main = {"median": result.median, "90th percentile": result.p90, "mean without the worst 5 %": result.trimmed_mean}
    for figure in (*(Figure(name, one, unit=unit) for name, one in main.items()), *result.further):
        print(f"{figure.name:26} {figure.estimate.show(figure.factor, figure.digits, figure.unit)}")
    if result.repeatability is not None:
        print(f"{'median, the measure alone':26} {result.repeatability:.2f} {result.unit}")
    print(f"In brackets: 95 % intervals that resample {result.resampled}. {result.note}")
    for kind, groups in result.groups.items():
        shown = sorted(groups.items(), key=lambda item: -item[1]["count"])[:12]
        print(f"by {kind:12} pairs  median  mean of 95 %  90th percentile")
        for name, one in shown:
            print("   {:12} {count:5}  {median:6.2f}  {trimmed_mean:12.2f}  {p90:15.2f}".format(name, **one))
        if len(groups) > len(shown):
            print(f"   and {len(groups) - len(shown)} more, in the JSON of --output")


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


def _read(
    refiner: Refiner, source: str, size: Size | None, limit: int, seed: int
) -> tuple[Array, dict[str, list[Any]]]:
    """Return images of a source as the refiner sees them (equalized if it was trained so), and labels by column."""
    domain = find(refiner.config.domain)
    channels = refiner.config.channels
    data = load(source, size=size or domain.size, channels=channels, limit=limit, seed=seed)
    images = read_images(data, source, channels)
    domain.check_kind(source, images)
    labels = {name: list(data[name]) for name in (*domain.measured, "person") if name in data.column_names}
    if "person" in labels:
        labels["person"] = ["unknown" if name is None else str(name) for name in labels["person"]]
    return equalize_images(images) if refiner.config.equalize else images, labels


MEASURES: dict[str, Callable[..., Any]] = {"realism": evaluate_realism, "shift": evaluate_shift, **COMMANDS}
