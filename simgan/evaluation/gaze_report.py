"""The report of a gaze experiment: a table for people, figures for programs, and the paper's curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from simgan.cards.curves import as_png
from simgan.evaluation.gaze import GazeTraining
from simgan.evaluation.gaze_arms import Material
from simgan.evaluation.gaze_experiment import SHARE_WITHIN, GazeComparison, seeds_of

_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's
_STYLES = ("-", "--", "-.", ":")
_DEGREES = 20.0


def as_report(comparison: GazeComparison, material: Material, training: GazeTraining) -> dict[str, Any]:
    """Give all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads."""
    arms = [comparison.figures(row) for row in comparison.arms]
    told: dict[str, Any] = {
        "synthetic": material.synthetic,
        "real": material.real,
        "train_real": material.train_real,
        "models": list(material.models),
        "test_images": len(comparison.groups),
        "resampled": comparison.grouped_by,
        "settings": asdict(training)
        | {name: getattr(material, name) for name in ("limit", "test_limit", "test_persons", "pitch", "yaw")},
        "arms": arms,
        "differences": [asdict(difference) for difference in comparison.differences()],
    }
    model = material.models[0] if material.models else None
    for key, kind, by in (("raw", "synthetic", None), ("refined", "refined", model)):
        for row in comparison.arms:
            if (row.arm.kind, row.arm.times, row.arm.augment, row.arm.model, row.tuned) == (kind, 1, (), by, 0):
                told[key] = seeds_of(row)
    return told


def as_table(report: dict[str, Any]) -> str:
    """Give the report as two tables of Markdown, which read well as they are."""
    seeds = report["arms"][0]["seeds"]
    arms = [
        ("trained on", "images", "error°", "median°", "without offset°", f"within {SHARE_WITHIN:.0f}°", "r pitch, yaw")
    ]
    for row in report["arms"]:
        share = row["share_within_7_degrees"]
        arms.append(
            (
                row["trained_on"],
                f"{row['images']:,}",
                _interval(row["error"]),
                _interval(row["median_error"]),
                _interval(row["error_without_offset"]),
                f"{share['value']:.0%} ({share['low']:.0%} to {share['high']:.0%})",
                f"{row['correlation_pitch']:.2f}, {row['correlation_yaw']:.2f}",
            )
        )
    differences = [("difference of error", "error°", "of it", "without offset°")]
    for row in report["differences"]:
        differences.append(
            (
                f"{row['first']} − {row['second']}",
                _interval(row["error"], sign=True),
                f"{-row['reduction']:+.0%}",
                _interval(row["error_without_offset"], sign=True),
            )
        )
    return "\n\n".join(
        [
            as_markdown(arms),
            *([as_markdown(differences)] if report["differences"] else []),
            f"{len(seeds)} seeds, {report['test_images']:,} test images; in brackets 95 % intervals that resample "
            f"{report['resampled']} and the seeds.\n"
            f"Always answering the mean of the test labels: {seeds[0]['guessing']:.2f}°.",
        ]
    )


def draw_shares(comparison: GazeComparison) -> bytes:
    """Draw the share of test images within d degrees, mean over the seeds, as a PNG; the same bytes every time."""
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    height = 2.8 + 0.14 * len(comparison.arms)
    figure = Figure(figsize=(3.5, height), dpi=200, layout="constrained")
    axes = figure.subplots()
    degrees = np.linspace(0, _DEGREES, 201)
    for number, row in enumerate(comparison.arms):
        shares = np.searchsorted(np.sort(row.errors, axis=None), degrees, side="right") / row.errors.size
        axes.plot(
            degrees,
            100 * shares,
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_STYLES[number % len(_STYLES)],  # 28 pairs before one comes again
            linewidth=1.3,
            label=row.name,
        )
    axes.set_xlabel("distance from the true gaze, degrees", fontsize=8)
    axes.set_ylabel("share of test images, %", fontsize=8)
    axes.set(xlim=(0, _DEGREES), ylim=(0, 100))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower left", frameon=False, handlelength=3)
    return as_png(figure)


def _interval(estimate: dict[str, float], *, sign: bool = False) -> str:
    form = "+.2f" if sign else ".2f"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}} to {estimate['high']:{form}})"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Give rows of cells, the first of them the heading, as a table of Markdown."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
