"""The report of an ablation: a table, figures for programs, the frontier, and the paper's two pictures redone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simgan import __version__
from simgan.experiments.ablation.measures import Unseen, refine_all
from simgan.experiments.ablation.runs import BASELINE, VARIANTS, PlannedRun, updates
from simgan.experiments.experiment_report import as_markdown
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
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's; black is λ's
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # with 6 colours 42 pairs before one comes again
_GRID_MARKERS = ("*", "X", "v", "<", ">", "^", "D")  # by variants of which only λ differs
_EYES = 6


def as_report(
    recipe: TrainingConfig, runs: Sequence[PlannedRun], results: Sequence[dict[str, Any]], unseen: Unseen
) -> dict[str, Any]:
    """Give all that an ablation found: settings, and for each variant its runs, their mean, and that to the recipe's.

    A difference is the mean over the seeds that both finished. Figures are those of `Unseen.measure`; None where no run
    has them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        found.setdefault(result["variant"], []).append(result)
    configs = {run.variant.name: run.config for run in runs}
    variants = []
    for variant in VARIANTS:
        if variant.name not in found:
            continue
        config, rows = configs[variant.name], found[variant.name]
        variants.append(
            {
                "name": variant.name,
                "what": variant.why,
                "regularization_weight": config.regularization_weight,
                "changes": variant.changes,
                "steps": config.steps,
                "updates": updates(config),
                "runs": rows,
                "mean": {key: _mean([row.get(key) for row in rows]) for key in FIGURES},
                "difference": {key: _difference(rows, found[BASELINE], key) for key in FIGURES},
            }
        )
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
        "bounds": {"shift": recipe.max_shift, "shift_median": recipe.max_median_shift},
        "variants": variants,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _difference(rows: Sequence[dict[str, Any]], baseline: Sequence[dict[str, Any]], key: str) -> float | None:
    pairs = [(row.get(key), base.get(key)) for row, base in zip(rows, baseline, strict=True)]
    return _mean([a - b for a, b in pairs if a is not None and b is not None])


def as_table(report: dict[str, Any]) -> str:
    """Give the report as a table of Markdown with what has to be known to read it, and why runs failed."""
    rows = [
        (
            *("variant", "steps", "patch distance", "to recipe", "gap closed"),
            *("iris moved, px", "to recipe", "median, px", "D right", "what it is"),
        )
    ]
    for variant in report["variants"]:
        mean, difference = variant["mean"], variant["difference"]
        first = variant["name"] == BASELINE
        failed = [f"seed {run['seed']}: {run['failed']}" for run in variant["runs"] if run["failed"]]
        rows.append(
            (
                variant["name"],
                str(variant["steps"]),
                _cell(variant, "distance", "{:.1f}", 1000),
                "" if first else _number(difference["distance"], "{:+.1f}", 1000),
                _number(mean["closed"], "{:.0%}"),
                _cell(variant, "shift", "{:.2f}"),
                "" if first else _number(difference["shift"], "{:+.2f}"),
                _cell(variant, "shift_median", "{:.2f}"),
                _number(mean["accuracy"], "{:.0%}"),
                "; ".join([variant["what"], *failed]).replace("|", "\\|"),
            )
        )
    bounds, images = report["bounds"], report["images"]
    return (
        f"{as_markdown(rows)}\n\n"
        f"Means over seeds {', '.join(map(str, report['seeds']))}, in brackets each by itself; a budget of "
        f"{report['updates']:,} updates of refiner and discriminator, warm-ups included, so a variant with more "
        "updates a step takes fewer steps. Refiners at the end of the budget, on images that no run saw "
        f"({sum(images['synthetic']):,} synthetic, {images['real']:,} real). Patch distance to real images × 1000: "
        f"raw {1000 * report['raw']:.1f}, between real images (floor) {1000 * report['floor']:.1f}. How far the iris "
        f"moved: mean without the worst 5 % (bound {bounds['shift']} px) and median (bound {bounds['shift_median']} "
        "px). D right: share of patches that the discriminator tells right (of images where the loss is global). A "
        "run that failed is not trained again unless its folder is deleted."
    )


def _cell(variant: dict[str, Any], key: str, form: str, factor: float = 1) -> str:
    """The mean and each seed's value."""
    each = ", ".join(_number(run.get(key), form, factor) for run in variant["runs"])
    return f"{_number(variant['mean'][key], form, factor)} ({each})"


def _number(value: float | None, form: str, factor: float = 1) -> str:
    return "–" if value is None else form.format(factor * value)


def frontier(report: dict[str, Any]) -> Figure:
    """Draw realism against annotation shift, a point a run: above the mean shift, below the median.

    Down and left is better. Colour and marker tell the variant; a line joins the means of those of which only λ
    differs, in its order. What has no figure (a run that failed, no iris found) is left out.
    """
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    shown = [v for v in report["variants"] if any(_points(v, key) for key in report["bounds"])]
    lines = -(-(len(shown) + 4) // 2)
    figure = Figure(figsize=(3.5, 4.6 + 0.13 * lines), dpi=200, layout="constrained")
    panels = figure.subplots(2, 1, sharey=True)
    titles = {"shift": "iris moved, mean without the worst 5 %, px", "shift_median": "iris moved, median, px"}
    for axes, (key, bound) in zip(panels, report["bounds"].items(), strict=True):
        axes.axhline(1000 * report["floor"], color="0.4", linestyle=":", linewidth=1, label="floor (real to real)")
        axes.axvline(bound, color="0.4", linestyle="--", linewidth=1, label="bound on the shift")
        grid = [v for v in report["variants"] if not v["changes"] and v["mean"][key] is not None]
        grid.sort(key=lambda v: v["regularization_weight"])
        if len(grid) > 1:
            axes.plot(
                [v["mean"][key] for v in grid],
                [1000 * v["mean"]["distance"] for v in grid],
                color="black",
                linewidth=0.8,
                label="λ alone differs (means)",
            )
        axes.plot(0, 1000 * report["raw"], "o", markersize=6, color="black", fillstyle="none", label="raw", zorder=3)
        for variant in shown:
            colour, marker = _style(variant["name"])
            x, y = zip(*_points(variant, key), strict=True) if _points(variant, key) else ((), ())
            axes.plot(
                x,
                1000 * np.array(y),
                marker,
                color=colour,
                markersize=8 if marker == "*" else 4.5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                label=variant["name"],
                zorder=4 if variant["name"] == BASELINE else 3,
            )
        axes.set_xlabel(titles[key], fontsize=8)
        axes.set_ylabel("patch distance to real × 1000", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.legend(
        *panels[0].get_legend_handles_labels(), fontsize=6.5, loc="outside lower left", frameon=False, ncols=2
    )
    return figure


def _points(variant: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Shift and patch distance of each run that has both."""
    return [(run[key], run["distance"]) for run in variant["runs"] if run.get(key) is not None]


def _style(name: str) -> tuple[str, str]:
    """Colour and marker of a variant: the same in every report."""
    alike = [v.name for v in VARIANTS if v.is_of_grid]
    if name in alike:
        return "black", _GRID_MARKERS[alike.index(name) % len(_GRID_MARKERS)]
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
    eyes = images[np.linspace(0, len(images) - 1, min(_EYES, len(images))).astype(int)]
    drawn = {}
    for file, labels in PICTURES.items():
        if all(name is None or name in first for name in labels.values()):
            drawn[file] = _rows(
                {
                    label: eyes if name is None else refine_all(Refiner.from_pretrained(first[name].checkpoint), eyes)
                    for label, name in labels.items()
                }
            )
    return drawn


def _rows(rows: dict[str, Any]) -> Figure:
    """Draw images (N, H, W), a row under each label."""
    from matplotlib.figure import Figure

    strips = {
        label: np.concatenate([np.pad(image, ((0, 0), (0, 2)), constant_values=255) for image in images], axis=1)
        for label, images in rows.items()
    }
    height, width = next(iter(strips.values())).shape
    figure = Figure(figsize=(3.5, len(rows) * (3.4 * height / width + 0.24)), dpi=300, layout="constrained")
    for axes, (label, strip) in zip(figure.subplots(len(rows), 1), strips.items(), strict=True):
        axes.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_title(label, fontsize=8, loc="left", pad=2)
        axes.set_axis_off()
    return figure
