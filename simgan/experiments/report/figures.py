"""Figures of a report as PNGs of 9 cm width, the same bytes every time: experiments, differences, sample strips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from simgan.errors import SourceError
from simgan.experiments.plots import draw_rows
from simgan.hub.cards.curves import BLACK, BLUE, GREY, ORANGE, WIDTH, as_png
from simgan.hub.cards.records import Records, step_of

DPI = 220
ROW = 0.34  # inches of an arm, its name above its interval
SHOWN = 6  # images of a strip
BANDS = 4  # of a sample sheet: input, refined, difference, the discriminator's map

Values = Mapping[str, Any]


def draw_means(experiment: Values) -> bytes:
    """Draw the first figure of each arm with its interval, and that of every seed."""
    task, arms = experiment["task"], experiment["arms"]
    key, factor = (task["columns"][0][name] for name in ("key", "factor"))
    figure, axes = _rows([arm["trained_on"] for arm in arms])
    for row, arm in enumerate(arms):
        _interval(axes, row, arm[key], factor, colour=BLUE, marker="o")
        seeds = [factor * seed[key] for seed in arm["seeds"]]
        label = "one seed" if row == 0 else None
        axes.plot(seeds, [row + 0.2] * len(seeds), "|", color=BLACK, markersize=5, label=label)
    if (guessing := arms[0]["seeds"][0].get("guessing")) is not None:
        label = "always the mean label"
        axes.axvline(factor * guessing, color=GREY, linestyle="--", linewidth=1, zorder=1, label=label)
    axes.errorbar([], [], xerr=[], color=BLUE, marker="o", markersize=4, linewidth=1.3, label="mean, 95 %")
    _finish(figure, axes, task["axis"])
    return as_png(figure)


def draw_differences(experiment: Values) -> bytes:
    """Draw paired differences of the first figure with their intervals; colour and marker show which exclude 0.

    Without those of fine-tuned networks, where there are others: the table of the report has all.
    """
    task, all_rows = experiment["task"], experiment["differences"]
    key, factor = (task["columns"][0][name] for name in ("key", "factor"))
    rows = [row for row in all_rows if ", then " not in row["first"] + row["second"]] or all_rows
    figure, axes = _rows([name_difference(row["first"], row["second"]) for row in rows])
    sign = 1 if task["less_is_better"] else -1
    looks = {"first is better": (BLUE, "o"), "first is worse": (ORANGE, "s"), "no clear difference": (GREY, "D")}
    for number, row in enumerate(rows):
        low, high = sorted(sign * row[key][end] for end in ("low", "high"))
        verdict = "first is better" if high < 0 else "first is worse" if low > 0 else "no clear difference"
        _interval(axes, number, row[key], factor, colour=looks[verdict][0], marker=looks[verdict][1])
    for verdict, (colour, marker) in looks.items():
        axes.plot([], [], color=colour, marker=marker, markersize=4, linewidth=1.3, label=verdict)
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=1)
    _finish(figure, axes, f"difference of {task['axis']}")
    return as_png(figure)


def name_difference(first: str, second: str) -> str:
    """Return "A − B, both then N real" for "A, then N real" and "B, then N real"; else "A − B"."""
    (one, _, tuned), (other, _, too) = (name.partition(", then ") for name in (first, second))
    return f"{one} − {other}, both then {tuned}" if tuned and tuned == too else f"{first} − {second}"


def draw_strip(records: Records) -> bytes | None:
    """Draw the inputs of some samples, and the same refined at the start, midway, and at the step that was kept.

    None where the run has no sample sheet of the step that was kept. `SourceError` where a sheet is damaged.
    """
    if records.sheet is None or records.step is None:
        return None
    sheets = {step_of(sheet): sheet for sheet in records.sheets}
    first, last = min(sheets), records.step
    middle = min(sheets, key=lambda step: abs(2 * step - first - last))
    kept = _read_sheet(records.sheet)
    rows = {"input": kept[0]}
    rows |= {f"step {step}": _read_sheet(sheets[step])[1] for step in (first, middle) if step != last}
    rows[f"step {last} (kept)"] = kept[1]
    chosen = np.linspace(0, len(kept[0]) - 1, min(SHOWN, len(kept[0]))).round().astype(int)
    return draw_rows({label: images[chosen] for label, images in rows.items()})


def _read_sheet(file: Path) -> NDArray[np.uint8]:
    """Return the images of a sample sheet, (4, N, height, width, 3).

    Images are separated by black lines; the colours of the discriminator's map, the last band, are never black.
    """
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise SourceError(f"{file} cannot be read as a sample sheet ({error}): give the run as it was left") from error
    high, rest = divmod(len(pixels), BANDS)
    black = np.asarray(pixels[-high:].max((0, 2)) == 0)
    width = int(black.argmax())
    line = int(black[width:].argmin()) or len(black) - width  # no colour follows the line after a single image
    if rest or not width or len(black) % (width + line):
        raise SourceError(f"{file} is no sample sheet: give the run as it was left")
    images = pixels.reshape(BANDS, high, -1, width + line, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(images[:, :, : high - line, :width])


def _rows(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Return axes with a row for each name, from the top; the name is above what is drawn."""
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
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},  # over the lines that cross all rows
        )
        if row:
            axes.axhline(row - 0.55, color="0.9", linewidth=0.6)
    axes.set_ylim(len(names) - 0.45, -0.6)
    axes.set_yticks([])
    axes.tick_params(labelsize=8)
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _interval(axes: Axes, row: int, estimate: Values, factor: float, *, colour: str, marker: str) -> None:
    low, value, high = (np.nan if estimate[key] is None else factor * estimate[key] for key in ("low", "value", "high"))
    axes.plot([low, high], [row + 0.05] * 2, color=colour, linewidth=1.3)
    axes.plot([value], [row + 0.05], color=colour, marker=marker, markersize=4)


def _finish(figure: Figure, axes: Axes, label: str) -> None:
    axes.set_xlabel(label, fontsize=8)
    figure.legend(fontsize=7, loc="outside lower center", ncols=3, frameon=False, handlelength=1.6, columnspacing=1)
