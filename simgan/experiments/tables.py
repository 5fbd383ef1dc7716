"""The report of an experiment: figures as JSON, tables of Markdown, and the curve of shares within d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from simgan.experiments.experiment import Comparison
from simgan.experiments.sources import Sources
from simgan.experiments.task import Column, Task, Training
from simgan.hub.cards.curves import as_png
from simgan.measures.statistics import Estimate

_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's
_STYLES = ("-", "--", "-.", ":")
_POINTS = 10  # of the curve, in the JSON


def as_report(comparison: Comparison, sources: Sources, training: Training) -> dict[str, Any]:
    """Return all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads."""
    task = comparison.task
    settings = {name: getattr(sources, name) for name in ("limit", "test_limit", "test_persons")}
    report: dict[str, Any] = {
        "task": task.describe(),
        "synthetic": sources.synthetic,
        "real": sources.real,
        "train_real": sources.train_real,
        "models": list(sources.models),
        "test_images": len(comparison.groups),
        "resampled": comparison.grouped_by,
        "settings": {**asdict(training), **settings, **asdict(task)},
        "paper": dict(task.paper),
        "arms": [],
        "differences": [
            {"first": one.first, "second": one.second, "relative": one.relative}
            | {key: asdict(estimate) for key, estimate in one.columns.items()}
            for one in comparison.differences()
        ],
    }
    within = np.linspace(0, task.curve.greatest, _POINTS + 1)[1:]
    model = sources.models[0] if sources.models else None
    for row in comparison.arms:
        columns = {key: asdict(estimate) for key, estimate in comparison.columns(row).items()}
        shares = {f"{d:g}": float((row.errors < d).mean()) for d in within}
        report["arms"].append(
            {"trained_on": row.name, "images": row.images, **columns, "shares_within": shares, "seeds": row.seeds()}
        )
        for key, kind, by in (("raw", "synthetic", None), ("refined", "refined", model)):
            if row.arm.is_plain and (row.arm.kind, row.arm.model, row.tuned) == (kind, by, 0):
                report[key] = row.seeds()
    return report


def as_table(report: Mapping[str, Any], task: Task) -> str:
    """Return a report as tables of Markdown, which read well as they are."""
    arms = [("trained on", "images", *(column.heading for column in task.columns))]
    for row in report["arms"]:
        arms.append((row["trained_on"], f"{row['images']:,}", *(_show(row[one.key], one) for one in task.columns)))
    if task.paper:
        first = task.columns[0]
        arms[0] += (f"the paper, {first.heading}",)
        for place, row in enumerate(report["arms"], 1):
            reached = task.paper.get(row["trained_on"])
            arms[place] += ("" if reached is None else f"{first.factor * reached:.{first.digits}f}",)
    means = [column for column in task.columns if not column.median]
    differences = [("difference", "relative", *(column.heading for column in means))]
    for row in report["differences"]:
        cells = (_show(row[column.key], column, sign=True) for column in means)
        differences.append((f"{row['first']} − {row['second']}", f"{row['relative']:+.0%}", *cells))
    seeds = report["arms"][0]["seeds"]
    notes = [
        f"{len(seeds)} seeds, {report['test_images']:,} test images; in brackets 95 % intervals that resample "
        f"{report['resampled']} and the seeds.",
        task.note,
    ]
    if "guessing" in seeds[0]:
        notes.append(f"A guess of the mean of the test labels: {seeds[0]['guessing']:.2f}{task.unit}.")
    tables = [as_markdown(arms), *([as_markdown(differences)] if report["differences"] else [])]
    return "\n\n".join([*tables, "\n".join(filter(None, notes))])


def draw_curve(comparison: Comparison) -> bytes:
    """Draw the share of errors within d, a line for each arm over all seeds; a PNG, the same bytes every time."""
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    curve = comparison.task.curve
    figure = Figure(figsize=(3.5, 2.8 + 0.14 * len(comparison.arms)), dpi=200, layout="constrained")
    axes = figure.subplots()
    within = np.linspace(0, curve.greatest, 201)
    for number, row in enumerate(comparison.arms):
        shares = np.searchsorted(np.sort(row.errors, axis=None), within, side="right") / row.errors.size
        colour, style = _COLOURS[number % len(_COLOURS)], _STYLES[number % len(_STYLES)]  # 28 pairs
        axes.plot(within, 100 * shares, color=colour, linestyle=style, linewidth=1.3, label=row.name)
    axes.set_xlabel(curve.distance, fontsize=8)
    axes.set_ylabel(f"share of {curve.of}, %", fontsize=8)
    axes.set(xlim=(0, curve.greatest), ylim=(0, 100))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower left", frameon=False, handlelength=3)
    return as_png(figure)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the first of them the heading, as a table of Markdown."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _show(values: Mapping[str, float], column: Column, *, sign: bool = False) -> str:
    return Estimate(**values).show(column.factor, column.digits, sign=sign)
