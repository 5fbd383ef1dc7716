"""Figures of a report as PNGs of 9 cm width, the same bytes every time: experiments, differences, sample strips."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from simgan.domains import find
from simgan.errors import SourceError
from simgan.experiments.report.read import Experiment, Run
from simgan.hub.cards.curves import BLACK, BLUE, GREY, ORANGE, WIDTH, as_png
from simgan.measures.statistics import Estimate
from simgan.training.sheets import scale_of

DPI = 220
ROW = 0.34  # inches of an arm, its name above its interval
SHOWN = 6  # images of a strip
KINDS = 4  # rows of a sheet: input, refined, difference, the discriminator's map


def draw_means(experiment: Experiment) -> bytes:
    """Draw what each arm reached with its interval, and beside it every seed's own, by the task's first column."""
    figure, axes = _rows([arm.name for arm in experiment.arms])
    for row, arm in enumerate(experiment.arms):
        _interval(axes, row, arm.figures[0], colour=BLUE, marker="o")
        label = "one seed" if row == 0 else None
        axes.plot(arm.seeds, [row + 0.2] * len(arm.seeds), "|", color=BLACK, markersize=5, label=label)
    if experiment.guessing is not None:
        label = "always the mean label"
        axes.axvline(experiment.guessing, color=GREY, linestyle="--", linewidth=1, zorder=1, label=label)
    axes.errorbar([], [], xerr=[], color=BLUE, marker="o", markersize=4, linewidth=1.3, label="mean, 95 %")
    axes.set_xlabel(experiment.task.axis, fontsize=8)
    _legend(figure)
    return as_png(figure)


def draw_differences(experiment: Experiment) -> bytes:
    """Draw paired differences with their intervals, of the task's first column; colour and mark tell which leave 0.

    Where networks were fine-tuned too, those that were not: the report's table has all.
    """
    differences = [one for one in experiment.differences if not one.tuned] or experiment.differences
    figure, axes = _rows([one.name for one in differences])
    sign = 1 if experiment.task.less_is_better else -1
    looks = {"first is better": (BLUE, "o"), "first is worse": (ORANGE, "s"), "not told apart": (GREY, "D")}
    for row, one in enumerate(differences):
        low, high = sorted(sign * end for end in (one.figure.low, one.figure.high))
        told = "first is better" if high < 0 else "first is worse" if low > 0 else "not told apart"
        _interval(axes, row, one.figure, colour=looks[told][0], marker=looks[told][1])
    for told, (colour, marker) in looks.items():
        axes.plot([], [], color=colour, marker=marker, markersize=4, linewidth=1.3, label=told)
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=1)
    axes.set_xlabel(f"difference of {experiment.task.axis}", fontsize=8)
    _legend(figure)
    return as_png(figure)


def draw_strip(run: Run) -> bytes | None:
    """Draw the inputs of some samples, and the same as refined at the start, midway, and by what was kept.

    None where the run has no sheet of the step that was kept. `SourceError` where a sheet is none of its domain.
    """
    records = run.records
    if records.sheet is None or records.step is None:
        return None
    sheets = {int(sheet.stem.rpartition("-")[2]): sheet for sheet in records.sheets}
    first = min(sheets)
    middle = min(sheets, key=lambda step: abs(2 * step - first - int(records.step or 0)))
    domain = find(records.network["domain"])
    window = records.settings.get("window", 0)
    sizes = [
        *([domain.size] if domain.size else []),
        *([(window, window)] if window else []),
    ]
    kept = _sheet(records.sheet, sizes)
    rows = {"input": kept[0]}
    rows |= {f"step {step}": _sheet(sheets[step], sizes)[1] for step in (first, middle)}
    rows[f"step {records.step}\n(kept)"] = kept[1]
    if first == records.step:
        del rows[f"step {first}"]
    elif middle == records.step:
        del rows[f"step {middle}"]
    chosen = np.linspace(0, len(kept[0]) - 1, min(SHOWN, len(kept[0]))).round().astype(int)
    high = WIDTH * 0.86 / len(chosen) * kept.shape[2] / kept.shape[3]
    figure = Figure(figsize=(WIDTH, high * len(rows)), dpi=2 * DPI)
    axes = np.atleast_1d(figure.subplots(len(rows), 1))
    figure.subplots_adjust(left=0.14, right=1, top=1, bottom=0, hspace=0.03)
    for place, (told, images) in zip(axes, rows.items(), strict=True):
        place.imshow(np.concatenate(images[chosen], axis=1), aspect="auto", interpolation="nearest")
        place.set_axis_off()
        place.text(-0.01, 0.5, told, transform=place.transAxes, ha="right", va="center", fontsize=6)
    return as_png(figure)


def _sheet(file: Path, sizes: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """Give the images of a sheet, (4, N, height, width, 3), which are of one of the sizes (width, height)."""
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise SourceError(f"{file} cannot be read as a sample sheet ({error}): give the run as it was left") from error
    for width, height in sizes:
        scale = scale_of(height)
        high, wide = (height + 1) * scale, (width + 1) * scale
        if pixels.shape[0] == KINDS * high and pixels.shape[1] % wide == 0:
            cells = pixels.reshape(KINDS, high, -1, wide, 3).transpose(0, 2, 1, 3, 4)
            return np.ascontiguousarray(cells[:, :, scale // 2 :: scale, scale // 2 :: scale][:, :, :height, :width])
    told = " or ".join(f"{width}×{height}" for width, height in sizes)
    raise SourceError(
        f"{file} is no sample sheet of {told} images ({pixels.shape[1]}×{pixels.shape[0]}): give the run as it was left"
    )


def _rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Make axes with a row for each name, from the top, the name within it above what is drawn."""
    figure = Figure(figsize=(WIDTH, ROW * len(names) + 0.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for row, name in enumerate(names):
        size = 7 if len(name) <= 58 else 7 * 58 / len(name)
        axes.text(
            *(0.01, row - 0.3, name),
            transform=axes.get_yaxis_transform(),
            fontsize=size,
            va="center",
            zorder=5,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # over the lines that go through all rows
        )
        if row:
            axes.axhline(row - 0.55, color="0.9", linewidth=0.6)
    axes.set_ylim(len(names) - 0.45, -0.6)
    axes.set_yticks([])
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _interval(axes: Axes, row: int, error: Estimate, *, colour: str, marker: str) -> None:
    axes.plot([error.low, error.high], [row + 0.05] * 2, color=colour, linewidth=1.3)
    axes.plot([error.value], [row + 0.05], color=colour, marker=marker, markersize=4)


def _legend(figure: Figure) -> None:
    figure.legend(fontsize=7, loc="outside lower center", ncols=3, frameon=False, handlelength=1.6, columnspacing=1)
