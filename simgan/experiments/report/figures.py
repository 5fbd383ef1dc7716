"""Figures of a report as PNGs of 9 cm width, the same bytes every time: experiments, differences, sample strips."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from simgan.experiments.files import reading
from simgan.experiments.plots import draw_rows
from simgan.hub.cards.curves import BLACK, BLUE, GREY, ORANGE, WIDTH, as_png
from simgan.hub.cards.records import Records, step_of

LOOKS = {
    "mean, 95 %": (BLUE, "o"),
    "first is better": (BLUE, "o"),
    "first is worse": (ORANGE, "s"),
    "no clear difference": (GREY, "D"),
}

Values = Mapping[str, Any]


def main_columns(experiment: Values) -> list[dict[str, Any]]:
    """Return the columns that are drawn: the first one, and the main ones of further tasks."""
    task = experiment["task"]
    first, *others = task["columns"]
    return [
        first | {name: task[name] for name in ("axis", "less_is_better")},
        *(one for one in others if one.get("axis")),
    ]


def draw_means(experiment: Values, column: Values) -> bytes:
    """Draw a figure of each arm with its interval, and that of every seed."""
    arms = experiment["arms"]
    key, factor = column["key"], column["factor"]
    figure, axes = _draw_intervals(
        [arm["trained_on"] for arm in arms], [arm[key] for arm in arms], factor, column["axis"]
    )
    seeds = [(factor * seed[key], row + 0.2) for row, arm in enumerate(arms) for seed in arm["seeds"]]
    axes.plot(*zip(*seeds, strict=True), "|", color=BLACK, markersize=5, label="one seed")
    guessing = arms[0]["seeds"][0].get("guessing")
    if guessing is not None and column["key"] == experiment["task"]["columns"][0]["key"]:
        axes.axvline(
            factor * guessing, color=GREY, linestyle="--", linewidth=1, zorder=1, label="always the mean label"
        )
    return _with_legend(figure)


def draw_differences(experiment: Values, column: Values) -> bytes:
    """Draw paired differences of a figure with their intervals; colour and marker show which exclude 0.

    Without those of fine-tuned networks, where there are others: the table of the report has all.
    """
    all_rows, key, factor = experiment["differences"], column["key"], column["factor"]
    rows = [row for row in all_rows if ", then " not in row["first"] + row["second"]] or all_rows
    sign = 1 if column["less_is_better"] else -1
    verdicts = []
    for row in rows:
        low, high = sorted(sign * row[key][end] for end in ("low", "high"))
        verdicts.append("first is better" if high < 0 else "first is worse" if low > 0 else "no clear difference")
    names = [name_difference(row["first"], row["second"]) for row in rows]
    axis = f"difference of {column['axis']}"
    figure, axes = _draw_intervals(names, [row[key] for row in rows], factor, axis, verdicts)
    axes.axvline(0, color=BLACK, linewidth=0.9, zorder=1)
    return _with_legend(figure)


def name_difference(first: str, second: str) -> str:
    """Return "A − B, both then N real" for "A, then N real" and "B, then N real"; else "A − B"."""
    (one, _, tuned), (other, _, too) = (name.partition(", then ") for name in (first, second))
    return f"{one} − {other}, both then {tuned}" if tuned and tuned == too else f"{first} − {second}"


def draw_strip(records: Records) -> bytes | None:
    """Draw the inputs of some samples, and the same refined at the start, midway, and at the step that was kept.

    None where the run has no sample sheet of the step that was kept. `SourceError` where a sheet is damaged.
    """
    sheets, last = {step_of(sheet): sheet for sheet in records.sheets}, records.step
    if last is None or last not in sheets:
        return None
    first = min(sheets)
    middle = min(sheets, key=lambda step: abs(2 * step - first - last))
    rows = {}
    for step in dict.fromkeys((first, middle, last)):
        with reading(sheets[step]), Image.open(sheets[step]) as image:
            inputs, refined, _, _ = np.split(np.asarray(image.convert("RGB")), 4)  # then the difference and D's map
        rows[f"step {step} (kept)" if step == last else f"step {step}"] = [refined]
    return draw_rows({"input": [inputs]} | rows)


def _draw_intervals(
    names: Sequence[str], estimates: Sequence[Values], factor: float, axis: str, looks: Sequence[str] = ("mean, 95 %",)
) -> tuple[Figure, Axes]:
    """Draw a row for each estimate, from the top, its name above its interval; `looks` are keys of `LOOKS`."""
    figure = Figure(figsize=(WIDTH, 0.34 * len(names) + 0.9), dpi=220, layout="constrained")
    axes = figure.subplots()
    table = factor * pd.DataFrame(estimates).astype(float)
    look = np.broadcast_to(looks, len(names))
    for label in dict.fromkeys(looks):
        colour, marker = LOOKS[label]
        some = table[look == label]
        axes.hlines(some.index + 0.05, some.low, some.high, color=colour, linewidth=1.3)
        axes.plot(some.value, some.index + 0.05, marker, color=colour, markersize=4, label=label)
    size = 7 * min(1, 58 / max(map(len, names)))
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}  # over the lines that cross all rows
    axes.set_yticks(np.arange(len(names)) - 0.3, names, ha="left", fontsize=size, bbox=box)
    axes.tick_params(axis="y", length=0, pad=-4)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(len(names) - 0.45, -0.6)
    axes.set_xlabel(axis, fontsize=8)
    axes.grid(axis="x", alpha=0.3)
    return figure, axes


def _with_legend(figure: Figure) -> bytes:
    figure.legend(fontsize=7, loc="outside lower center", ncols=3, frameon=False, handlelength=1.6, columnspacing=1)
    return as_png(figure)
