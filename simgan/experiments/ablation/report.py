"""The report of an ablation: a table, figures for programs, the frontier, and the paper's two ablations as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from simgan import __version__
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.ablation.runs import BASELINE, VARIANTS, PlannedRun, updates
from simgan.experiments.files import finite
from simgan.experiments.plots import COLOURS, draw_rows, label_axes
from simgan.experiments.tables import as_markdown
from simgan.hub.cards.curves import WIDTH
from simgan.refiner import Refiner
from simgan.training.config import TrainingConfig

FIGURES = ["distance", "closed", "shift", "shift_median", "accuracy"]
PICTURES = {
    "history.png": {"input": None, "with history": BASELINE, "without history": "no history"},
    "local.png": {"input": None, "local loss": BASELINE, "global loss": "global loss"},
}
"""The paper's ablations shown as pictures: rows by their label, and the variant that refines them."""
_SHOWN = 6  # images of a picture
_GRID = [variant.name for variant in VARIANTS if not variant.changes]  # λ alone differs: black
_OTHERS = [variant.name for variant in VARIANTS if variant.changes]
_LOOKS = {name: ("black", "*Xv<>^D"[place]) for place, name in enumerate(_GRID)} | {
    name: (COLOURS[place % len(COLOURS)], "os^DvPX"[place % 7])
    for place, name in enumerate(_OTHERS)  # 42 pairs
}
"""Colour and marker of each variant, the same in every report."""


def as_report(
    recipe: TrainingConfig, runs: Sequence[PlannedRun], results: Sequence[dict[str, Any]], unseen: Unseen
) -> dict[str, Any]:
    """Return all results: settings, and for each variant its runs, their mean, and its difference from the recipe.

    A difference is the mean over the seeds that both finished. Figures are those of `Unseen.measure`; None where no run
    has them.
    """
    rows = pd.DataFrame(results, columns=["variant", "seed", *FIGURES]).set_index(["variant", "seed"]).astype(float)
    mean = rows.groupby("variant").mean()
    difference = rows.sub(rows.loc[BASELINE], level="seed").groupby("variant").mean()
    configs = {run.variant.name: run.config for run in runs}
    words = unseen.domain.words
    report = {
        "version": __version__,
        "commits": sorted({result["commit"] for result in results if "commit" in result}),
        "preset": recipe.preset,
        "synthetic": list(recipe.synthetic),
        "real": list(recipe.real),
        "limit": recipe.limit,
        "steps": recipe.steps,
        "updates": updates(recipe),
        "seeds": sorted({run.config.seed for run in runs}),
        "images": {"synthetic": [len(images) for images, _ in unseen.synthetic], "real": len(unseen.real)},
        "raw": unseen.raw,
        "floor": unseen.floor,
        "moved": f"{words.part} moved, {words.unit}",
        "shift_is": words.shift,
        "bounds": {"shift": recipe.max_shift, "shift_median": recipe.max_median_shift},
        "variants": [
            {
                "name": variant.name,
                "what": variant.why,
                "regularization_weight": configs[variant.name].regularization_weight,
                "changes": variant.changes,
                "steps": configs[variant.name].steps,
                "updates": updates(configs[variant.name]),
                "runs": [result for result in results if result["variant"] == variant.name],
                "mean": mean.loc[variant.name].to_dict(),
                "difference": difference.loc[variant.name].to_dict(),
            }
            for variant in VARIANTS
            if variant.name in configs
        ],
    }
    return dict(finite(report))


def as_table(report: dict[str, Any]) -> str:
    """Return the report as a table of Markdown, with an explanation, and why runs failed."""
    heading = ("variant", "steps", "patch distance", "to recipe", "gap closed")
    rows = [(*heading, report["moved"], "to recipe", "median", "D right", "what it is")]
    for variant in report["variants"]:
        difference = {} if variant["name"] == BASELINE else variant["difference"]
        failed = [f"seed {run['seed']}: {run['failed']}" for run in variant["runs"] if run["failed"]]
        rows.append(
            (
                variant["name"],
                str(variant["steps"]),
                _cell(variant, "distance", "{:.1f}", 1000),
                _number(difference.get("distance"), "{:+.1f}", 1000),
                _number(variant["mean"]["closed"], "{:.0%}"),
                _cell(variant, "shift", "{:.2f}"),
                _number(difference.get("shift"), "{:+.2f}"),
                _cell(variant, "shift_median", "{:.2f}"),
                _number(variant["mean"]["accuracy"], "{:.0%}"),
                "; ".join([variant["what"], *failed]).replace("|", "\\|"),
            )
        )
    bounds, images = report["bounds"], report["images"]
    return (
        f"{as_markdown(rows)}\n\n"
        f"Means over seeds {', '.join(map(str, report['seeds']))}, in brackets each seed. Every run has a budget of "
        f"{report['updates']:,} updates of refiner and discriminator, warm-ups included, so that a variant with more "
        "updates a step takes fewer steps. Refiners at the end of the budget, on images that no run saw "
        f"({sum(images['synthetic']):,} synthetic, {images['real']:,} real). Patch distance to real images × 1000: "
        f"raw {1000 * report['raw']:.1f}, between real images (floor) {1000 * report['floor']:.1f}. {report['moved']}: "
        f"{report['shift_is']} (bound {bounds['shift']}), and median (bound {bounds['shift_median']}). D right: share "
        "of patches that the discriminator classifies correctly (of images where the loss is global). A run that "
        "failed is not trained again unless its folder is deleted."
    )


def _cell(variant: dict[str, Any], key: str, form: str, factor: float = 1) -> str:
    """Return the mean and each seed's value."""
    each = ", ".join(_number(run.get(key), form, factor) for run in variant["runs"])
    return f"{_number(variant['mean'][key], form, factor)} ({each})"


def _number(value: float | None, form: str, factor: float = 1) -> str:
    return "–" if value is None else form.format(factor * value)


def frontier(report: dict[str, Any]) -> Figure:
    """Draw realism against annotation shift, one point a run: mean shift above, median below. Down and left is better.

    Colour and marker identify the variant; a line joins the means of variants that differ only in λ, in the order of λ.
    Runs without a figure (failed, or nothing measured) are left out.
    """
    shown = [v for v in report["variants"] if any(_points(v, key) for key in report["bounds"])]
    lines = -(-(len(shown) + 4) // 2)
    figure = Figure(figsize=(WIDTH, 4.6 + 0.13 * lines), dpi=200, layout="constrained")
    panels = figure.subplots(2, 1, sharey=True)
    for axes, (key, bound), title in zip(panels, report["bounds"].items(), ("trimmed mean", "median"), strict=True):
        axes.axhline(1000 * report["floor"], color="0.4", linestyle=":", linewidth=1, label="floor (real to real)")
        axes.axvline(bound, color="0.4", linestyle="--", linewidth=1, label="bound on the shift")
        grid = [v for v in report["variants"] if not v["changes"] and v["mean"][key] is not None]
        grid.sort(key=lambda v: v["regularization_weight"])
        if len(grid) > 1:
            means = [(v["mean"][key], 1000 * v["mean"]["distance"]) for v in grid]
            axes.plot(*zip(*means, strict=True), color="black", linewidth=0.8, label="λ alone differs (means)")
        axes.plot(0, 1000 * report["raw"], "o", markersize=6, color="black", fillstyle="none", label="raw", zorder=3)
        for variant in shown:
            colour, marker = _LOOKS[variant["name"]]
            x, y = np.reshape(_points(variant, key), (-1, 2)).T
            look = {"color": colour, "markersize": 8 if marker == "*" else 4.5, "markeredgecolor": "white"}
            zorder = 4 if variant["name"] == BASELINE else 3
            axes.plot(x, 1000 * y, marker, **look, markeredgewidth=0.4, label=variant["name"], zorder=zorder)
        label_axes(axes, f"{report['moved']}: {title}", "patch distance to real × 1000")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=6.5, loc="outside lower left", frameon=False, ncols=2)
    return figure


def _points(variant: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Return shift and patch distance of each run that has both."""
    return [(run[key], run["distance"]) for run in variant["runs"] if run.get(key) is not None]


def pictures(runs: Sequence[PlannedRun], results: Sequence[dict[str, Any]], unseen: Unseen) -> dict[str, bytes]:
    """Draw those of `PICTURES` whose variants were trained without failing with the first seed."""
    first = {
        run.variant.name: Refiner.from_pretrained(run.checkpoint)
        for run, result in zip(runs, results, strict=True)
        if run.config.seed == runs[0].config.seed and not result["failed"]
    }
    images = unseen.synthetic[0][0]
    some = list(images[np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(int)])
    drawn = {}
    for file, labels in PICTURES.items():
        if not {name for name in labels.values() if name} <= first.keys():
            continue
        rows = {label: first[name].refine(some) if name else some for label, name in labels.items()}
        columns = [first[BASELINE].codec.show(*column) for column in zip(*rows.values(), strict=True)]
        drawn[file] = draw_rows(dict(zip(rows, zip(*columns, strict=True), strict=True)))
    return drawn
