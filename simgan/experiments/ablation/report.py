"""The report of an ablation: a table, figures for programs, the frontier, and the paper's two ablations as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simgan import __version__
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.ablation.runs import BASELINE, VARIANTS, PlannedRun, updates
from simgan.experiments.tables import as_markdown
from simgan.refiner import Refiner
from simgan.training.config import TrainingConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("distance", "closed", "shift", "shift_median", "accuracy")
PICTURES = {
    "history.png": {"input": None, "with history": BASELINE, "without history": "no history"},
    "local.png": {"input": None, "local loss": BASELINE, "global loss": "global loss"},
}
"""The paper's ablations shown as pictures: rows by their label, and the variant that refines them."""
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito; black where λ differs
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # with 6 colours 42 pairs before one comes again
_GRID_MARKERS = ("*", "X", "v", "<", ">", "^", "D")  # of variants that differ only in λ
_SHOWN = 6  # images of a picture


def as_report(
    recipe: TrainingConfig, runs: Sequence[PlannedRun], results: Sequence[dict[str, Any]], unseen: Unseen
) -> dict[str, Any]:
    """Return all results: settings, and for each variant its runs, their mean, and its difference from the recipe.

    A difference is the mean over the seeds that both finished. Figures are those of `Unseen.measure`; None where no run
    has them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["variant"], []).append(result)
    configs = {run.variant.name: run.config for run in runs}
    words = unseen.domain.words
    return {
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
                "runs": found[variant.name],
                "mean": {key: _mean([row.get(key) for row in found[variant.name]]) for key in FIGURES},
                "difference": {key: _difference(found[variant.name], found[BASELINE], key) for key in FIGURES},
            }
            for variant in VARIANTS
            if variant.name in found
        ],
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _difference(rows: Sequence[dict[str, Any]], baseline: Sequence[dict[str, Any]], key: str) -> float | None:
    pairs = [(row.get(key), base.get(key)) for row, base in zip(rows, baseline, strict=True)]
    return _mean([a - b for a, b in pairs if a is not None and b is not None])


def as_table(report: dict[str, Any]) -> str:
    """Return the report as a table of Markdown, with an explanation, and why runs failed."""
    rows: list[tuple[str, ...]] = [("variant", "steps", "patch distance", "to recipe", "gap closed")]
    rows[0] += (report["moved"], "to recipe", "median", "D right", "what it is")
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
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    shown = [v for v in report["variants"] if any(_points(v, key) for key in report["bounds"])]
    lines = -(-(len(shown) + 4) // 2)
    figure = Figure(figsize=(3.5, 4.6 + 0.13 * lines), dpi=200, layout="constrained")
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
            colour, marker = _style(variant["name"])
            x, y = np.reshape(_points(variant, key), (-1, 2)).T
            look = {"color": colour, "markersize": 8 if marker == "*" else 4.5, "markeredgecolor": "white"}
            zorder = 4 if variant["name"] == BASELINE else 3
            axes.plot(x, 1000 * y, marker, **look, markeredgewidth=0.4, label=variant["name"], zorder=zorder)
        axes.set_xlabel(f"{report['moved']}: {title}", fontsize=8)
        axes.set_ylabel("patch distance to real × 1000", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, fontsize=6.5, loc="outside lower left", frameon=False, ncols=2)
    return figure


def _points(variant: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Return shift and patch distance of each run that has both."""
    return [(run[key], run["distance"]) for run in variant["runs"] if run.get(key) is not None]


def _style(name: str) -> tuple[str, str]:
    """Return colour and marker of a variant: the same in every report."""
    grid = [v.name for v in VARIANTS if v.is_of_grid]
    if name in grid:
        return "black", _GRID_MARKERS[grid.index(name) % len(_GRID_MARKERS)]
    place = [v.name for v in VARIANTS if not v.is_of_grid].index(name)
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def pictures(runs: Sequence[PlannedRun], results: Sequence[dict[str, Any]], unseen: Unseen) -> dict[str, Figure]:
    """Draw those of `PICTURES` whose variants were trained without failing with the first seed."""
    first = {
        run.variant.name: run
        for run, result in zip(runs, results, strict=True)
        if run.config.seed == runs[0].config.seed and not result["failed"]
    }
    images = unseen.synthetic[0][0]
    some = list(images[np.linspace(0, len(images) - 1, min(_SHOWN, len(images))).astype(int)])
    drawn = {}
    for file, labels in PICTURES.items():
        if not {name for name in labels.values() if name} <= first.keys():
            continue
        codec = Refiner.from_pretrained(first[BASELINE].checkpoint).codec
        rows = {
            label: Refiner.from_pretrained(first[name].checkpoint).refine(some) if name else some
            for label, name in labels.items()
        }
        columns = [codec.show(*column) for column in zip(*rows.values(), strict=True)]
        drawn[file] = _rows({label: [column[k] for column in columns] for k, label in enumerate(rows)})
    return drawn


def _rows(rows: dict[str, list[Any]]) -> Figure:
    """Draw RGB images (H, W, 3), a row under each label."""
    from matplotlib.figure import Figure

    strips = {
        label: np.concatenate([np.pad(image, ((0, 0), (0, 2), (0, 0)), constant_values=255) for image in images], 1)
        for label, images in rows.items()
    }
    height, width, _ = next(iter(strips.values())).shape
    figure = Figure(figsize=(3.5, len(rows) * (3.4 * height / width + 0.24)), dpi=300, layout="constrained")
    for axes, (label, strip) in zip(figure.subplots(len(rows), 1), strips.items(), strict=True):
        axes.imshow(strip, interpolation="nearest")
        axes.set_title(label, fontsize=8, loc="left", pad=2)
        axes.set_axis_off()
    return figure
