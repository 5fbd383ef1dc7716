"""What the reports of experiments share: tables of Markdown, intervals in words, and the curve of shares within d."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.experiments.arms import L, Material
from simgan.experiments.experiment import Comparison, R
from simgan.hub.cards.curves import as_png

_NONE: Mapping[str, Any] = MappingProxyType({})

_COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's
_STYLES = ("-", "--", "-.", ":")


def as_report(
    comparison: Comparison[R],
    material: Material[L],
    training: Mapping[str, Any],
    task: Mapping[str, Any],
    limits: Mapping[str, Any] = _NONE,
) -> dict[str, Any]:
    """Return all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads.

    `task` says how a report shows the figures: `title`, `columns` (of which arms are compared by the first; see
    `column`), `axis` and `unit` of the first, `less_is_better`, and `share`, what the curve is a share of. `limits`:
    settings of the material beside those that all have.
    """
    told: dict[str, Any] = {
        "task": dict(task),
        "synthetic": material.synthetic,
        "real": material.real,
        "train_real": material.train_real,
        "models": list(material.models),
        "test_images": len(comparison.groups),
        "resampled": comparison.grouped_by,
        "settings": {
            **training,
            **{name: getattr(material, name) for name in ("limit", "test_limit", "test_persons")},
            **limits,
        },
        "arms": [comparison.figures(row) for row in comparison.arms],
        "differences": [asdict(difference) for difference in comparison.differences()],
    }
    model = material.models[0] if material.models else None
    for key, kind, by in (("raw", "synthetic", None), ("refined", "refined", model)):
        for row in comparison.arms:
            if (row.arm.kind, row.arm.times, row.arm.augment, row.arm.model, row.tuned) == (kind, 1, (), by, 0):
                told[key] = row.seeds()
    return told


def column(key: str, heading: str, factor: float = 1, digits: int = 2) -> dict[str, Any]:
    """Return a column of an experiment: the key of its figure in a row, and how it is shown."""
    return {"key": key, "heading": heading, "factor": factor, "digits": digits}


def draw_shares(errors: Mapping[str, NDArray[np.float64]], greatest: float, distance: str, share: str) -> bytes:
    """Draw the share of errors within d for d up to `greatest`, a line for each arm; a PNG, the same bytes every time.

    `errors` are of any shape, by the arm's name; `distance` and `share` name the axes.
    """
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    height = 2.8 + 0.14 * len(errors)
    figure = Figure(figsize=(3.5, height), dpi=200, layout="constrained")
    axes = figure.subplots()
    within = np.linspace(0, greatest, 201)
    for number, (name, values) in enumerate(errors.items()):
        shares = np.searchsorted(np.sort(values, axis=None), within, side="right") / values.size
        axes.plot(
            within,
            100 * shares,
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_STYLES[number % len(_STYLES)],  # 28 pairs before one comes again
            linewidth=1.3,
            label=name,
        )
    axes.set_xlabel(distance, fontsize=8)
    axes.set_ylabel(share, fontsize=8)
    axes.set(xlim=(0, greatest), ylim=(0, 100))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    figure.legend(fontsize=7, loc="outside lower left", frameon=False, handlelength=3)
    return as_png(figure)


def share_of(estimate: Mapping[str, float], *, digits: int = 0, sign: bool = False) -> str:
    """Put a share with its interval as per cents."""
    form = f"{'+' if sign else ''}.{digits}f"
    value, low, high = (f"{100 * estimate[key]:{form}}" for key in ("value", "low", "high"))
    return f"{value}% ({low}% to {high}%)"


def interval_of(estimate: Mapping[str, float], *, sign: bool = False) -> str:
    """Put a figure with its interval in brackets."""
    form = "+.2f" if sign else ".2f"
    return f"{estimate['value']:{form}} ({estimate['low']:{form}} to {estimate['high']:{form}})"


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Give rows of cells, the first of them the heading, as a table of Markdown."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
