"""The report of an ablation: a table, figures for programs, the frontier, and the paper's two ablations as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simgan import __version__
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.ablation.runs import BASELINE, VARIANTS, PlannedRun, updates
from simgan.experiments.files import finite
from simgan.experiments.plots import COLOURS, draw_rows, label_axes
from simgan.experiments.tables import as_markdown
from simgan.hub.cards.curves import WIDTH
from simgan.hub.cards.model import environment
from simgan.refiner import Refiner
from simgan.training.config import TrainingConfig

FIGURES = ["distance", "closed", "shift", "shift_median", "accuracy"]
PICTURES = {
    "history.png": {"with history": "history", "without history": BASELINE},
    "no-history.png": {"with history": BASELINE, "without history": "no history"},
    "local.png": {"local loss": BASELINE, "global loss": "global loss"},
}
"""The paper's ablations shown as pictures: rows by their label, and the variant that refines them."""
_SHOWN = 6  # images of a picture


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
    words = unseen.domain.words
    first = [run for run in runs if run.config.seed == runs[0].config.seed]
    variants = [
        {
            "name": run.variant.name,
            "what": run.variant.why,
            "regularization_weight": run.config.regularization_weight,
            "changes": run.variant.changes,
            "steps": run.config.steps,
            "updates": updates(run.config),
            "runs": [result for result in results if result["variant"] == run.variant.name],
            "mean": mean.loc[run.variant.name].to_dict(),
            "difference": difference.loc[run.variant.name].to_dict(),
        }
        for run in first
    ]
    report = {
        "version": __version__,
        "commits": sorted({result["commit"] for result in results if "commit" in result}),
        **{name: getattr(recipe, name) for name in ("preset", "synthetic", "real", "limit", "steps")},
        "updates": updates(recipe),
        "seeds": sorted({run.config.seed for run in runs}),
        "images": {"synthetic": [len(images) for images, _ in unseen.synthetic], "real": len(unseen.real)},
        "raw": unseen.raw,
        "floor": unseen.floor,
        "moved": f"{words.part} moved, {words.unit}",
        "shift_is": words.shift,
        "median_is": words.middle,
        "bounds": {"shift": recipe.max_shift, "shift_median": recipe.max_median_shift},
        "variants": variants,
    }
    return dict(finite(report))


def as_table(report: dict[str, Any]) -> str:
    """Return the report as a table of Markdown, with an explanation, and why runs failed."""
    heading = ("variant", "steps", "patch distance", "to recipe", "gap closed")
    rows = [(*heading, report["moved"], "to recipe", "median", "D right", "what it is")]
    for variant in report["variants"]:
        mean, runs = variant["mean"], variant["runs"]
        difference = {} if variant["name"] == BASELINE else variant["difference"]
        failed = [f"seed {run['seed']}: {run['failed']}" for run in runs if run["failed"]]
        distance, shift, median = (
            f"{_cell(mean, key, form)} ({', '.join(_cell(run, key, form) for run in runs)})"
            for key, form in (("distance", "{:.1f}"), ("shift", "{:.2f}"), ("shift_median", "{:.2f}"))
        )
        closed, accuracy = (_cell(mean, key, "{:.0%}") for key in ("closed", "accuracy"))
        nearer, moved = _cell(difference, "distance", "{:+.1f}"), _cell(difference, "shift", "{:+.2f}")
        what = "; ".join([variant["what"], *failed]).replace("|", "\\|")
        steps = str(variant["steps"])
        rows.append((variant["name"], steps, distance, nearer, closed, shift, moved, median, accuracy, what))
    template = environment([Path(__file__).parent]).get_template("ablation.md.jinja")
    return str(template.render(report, table=as_markdown(rows)))


def _cell(figures: dict[str, Any], key: str, form: str) -> str:
    value = figures.get(key)
    return "–" if value is None else form.format(1000 * value if key == "distance" else value)


def frontier(report: dict[str, Any]) -> Figure:
    """Draw realism against annotation shift, one point a run: mean shift above, median below. Down and left is better.

    Colour and marker identify the variant, the same in every report; a line joins the means of variants that differ
    only in λ, in the order of λ. Runs without a figure (failed, or nothing measured) are left out.
    """
    names = [variant.name for variant in VARIANTS]
    grid = sorted((v for v in report["variants"] if not v["changes"]), key=lambda v: v["regularization_weight"])
    figure = Figure(figsize=(WIDTH, 4.9 + 0.065 * len(report["variants"])), dpi=200, layout="constrained")
    panels = figure.subplots(2, 1, sharey=True)
    for axes, (key, bound), title in zip(panels, report["bounds"].items(), ("trimmed mean", "median"), strict=True):
        axes.axhline(1000 * report["floor"], color="0.4", linestyle=":", linewidth=1, label="floor (real to real)")
        axes.axvline(bound, color="0.4", linestyle="--", linewidth=1, label="bound on the shift")
        if len(means := _points([variant["mean"] for variant in grid], key)) > 1:
            axes.plot(*means.T, color="black", linewidth=0.8, label="λ alone differs (means)")
        axes.plot(0, 1000 * report["raw"], "o", markersize=6, color="black", fillstyle="none", label="raw", zorder=3)
        for variant in report["variants"]:
            place = names.index(variant["name"])
            look = {"color": COLOURS[place % len(COLOURS)], "marker": "*os^DvP"[place % 7]}  # 42 pairs
            if len(points := _points(variant["runs"], key)):
                axes.plot(*points.T, **look, linestyle="", markersize=5, label=variant["name"], zorder=3)
        label_axes(axes, f"{report['moved']}: {title}", "patch distance to real × 1000")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=6.5, loc="outside lower left", frameon=False, ncols=2)
    return figure


def _points(rows: Sequence[dict[str, Any]], key: str) -> NDArray[np.float64]:
    """Return shift and patch distance × 1000 of the rows that have them, (N, 2)."""
    return np.array([(row[key], 1000 * row["distance"]) for row in rows if row.get(key) is not None])


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
        if first.keys() >= set(labels.values()):
            rows = {"input": some} | {label: first[name].refine(some) for label, name in labels.items()}
            columns = [first[BASELINE].codec.show(*column) for column in zip(*rows.values(), strict=True)]
            drawn[file] = draw_rows(dict(zip(rows, zip(*columns, strict=True), strict=True)))
    return drawn
