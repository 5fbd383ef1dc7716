"""The tab Training: how shipped models came about, realism beside annotation shift, and sample sheets over steps."""

import math
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from simgan.errors import ModelError
from simgan.hub.cards.records import Records, read_records
from simgan.hub.loading import SHIPPED
from simgan.space.events import show_errors
from simgan.space.models import Models

ABOUT = """
A refiner gets more real while it trains, and its labels less true. So both are measured on images that were held out,
and what ships is the most real one whose shift stays within its bounds. **Look at both curves at the same step.**
"""
PAPER_SHIFT = 1.1  # px that pupil centres moved in the paper (section 3.1)
ORANGE, GREY, BLUE = "#d97706", "#64748b", "#2563eb"  # told apart on light and on dark, and told in words below a plot
REALISM = {"refined": ORANGE, "raw": GREY, "between real images": BLUE}
PAPER = "the paper's mean"
SHIFT = {"mean without the worst 5 %": ORANGE, PAPER: GREY, "median": BLUE}
STEP, DISTANCE, MOVED = "step", "patch distance ×1000", "moved, px (iris) or mm (hand)"
KINDS = {"eyes": ("iris", "px"), "hands": ("surface", "mm")}  # what is measured to have moved, and its unit


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    def check(name: str) -> None:
        if name not in models.shipped:
            raise ModelError(f"there are no records of {name!r}: choose one of {', '.join(models.shipped)}")

    @show_errors
    def choose(name: str) -> list[Any]:
        """Show a shipped model's curves, and the sheet of the step that ships."""
        check(name)
        note, realism, shift, trade, step, sheet, figures = _all(name)
        return [note, realism, shift, trade, gr.Slider(**step), sheet, figures]

    @show_errors
    def show(name: str, step: float) -> list[Any]:
        """Show the sheet nearest to a step, and what was measured there."""
        check(name)
        return _at(read_records(SHIPPED / name), int(step))

    first = next((name for name in models.shipped if read_records(SHIPPED / name).measures), models.shipped[0])
    note, realism, shift, trade, step, sheet, figures = _all(first)
    gr.Markdown(ABOUT)
    model = gr.Dropdown(models.shipped, value=first, label="Shipped model")
    told_note = gr.Markdown(note, elem_id="training-note")
    with gr.Row(elem_id="training-plots"):
        realism_plot = gr.LinePlot(realism, label="Realism: lower is more real", **_lines(DISTANCE, REALISM))
        shift_plot = gr.LinePlot(shift, label="Annotation shift: lower is truer", **_lines(MOVED, SHIFT))
        trade_plot = gr.ScatterPlot(
            trade,
            x=MOVED,
            y=DISTANCE,
            tooltip="all",
            height=280,
            min_width=300,
            buttons=[],
            label="The trade: left is truer, down is more real",
        )
    gr.Markdown(
        f"Realism: {_legend(REALISM)}. Annotation shift: {_legend(SHIFT)}; the paper has none for hands.",
        elem_id="training-legend",
    )
    slider = gr.Slider(**step, label="Step", elem_id="training-step")
    figures_text = gr.Markdown(figures, elem_id="training-figures")
    picture = gr.Image(
        sheet,
        label="Input · refined · difference · where the discriminator finds it real (yellow) or refined (blue)",
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id="training-sheet",
        alt_text="The same held-out images, refined by the model of this step",
    )
    outputs = [told_note, realism_plot, shift_plot, trade_plot, slider, picture, figures_text]

    model.change(choose, model, outputs, api_name="training", queue=False)
    slider.change(
        show, [model, slider], [picture, figures_text], api_name="training_step", queue=False, show_progress="hidden"
    )


def _lines(y: str, colours: dict[str, str]) -> dict[str, Any]:
    return {
        "x": STEP,
        "y": y,
        "color": "series",
        "color_map": colours,
        "colors_in_legend": [],  # Gradio's legend has no room on a narrow screen: `_legend` tells them
        "height": 280,
        "min_width": 300,
        "buttons": [],
        "y_lim": [0, None],
    }


def _legend(colours: dict[str, str]) -> str:
    hues = {ORANGE: "orange", GREY: "grey", BLUE: "blue"}
    return ", ".join(f"{hues[colour]} is {name}" for name, colour in colours.items())


def _all(name: str) -> list[Any]:
    """Give note, the data of the three plots, the slider's settings, the sheet and its figures."""
    found = read_records(SHIPPED / name)
    if not found.measures:
        text = f"`{name}` ships **without records**: what is left of its training is the table in its model card."
        return [text, None, None, None, {"minimum": 0, "maximum": 1, "value": 0, "visible": False}, None, ""]
    rows = pd.DataFrame(found.measures).sort_values("step")
    first, last = int(rows["step"].iloc[0]), int(rows["step"].iloc[-1])
    shipped = last if found.step is None else found.step
    realism = _long(rows, DISTANCE, dict(zip(REALISM, _scaled(rows), strict=True)))
    shifts = dict(zip(SHIFT, (rows["shift"], pd.Series(PAPER_SHIFT, rows.index), rows["shift_median"]), strict=True))
    if found.network["domain"] != "eyes":
        del shifts[PAPER]
    shift = _long(rows, MOVED, shifts)
    trade = pd.DataFrame({MOVED: rows["shift"], DISTANCE: 1000 * rows["realism"], STEP: rows["step"]})
    slider = {
        "minimum": first,
        "maximum": max(last, first + 1),
        "step": math.gcd(*(int(step) - first for step in rows["step"])) or 1,
        "value": shipped,
        "visible": True,
    }
    text = f"`{name}` ships the refiner of **step {shipped}** of {last}."
    return [text, realism, shift, trade, slider, *_at(found, shipped)]


def _scaled(rows: pd.DataFrame) -> list[pd.Series]:
    return [1000 * rows[key] for key in ("realism", "realism_raw", "realism_floor")]


def _long(rows: pd.DataFrame, y: str, series: dict[str, pd.Series]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame({STEP: rows["step"], y: values, "series": name}) for name, values in series.items()])


def _at(found: Records, step: int) -> list[Any]:
    """Give the sheet that is nearest to a step, and what was measured nearest to it."""
    if not found.measures:
        return [None, ""]
    row = min(found.measures, key=lambda row: abs(row["step"] - step))
    what, unit = KINDS[found.network["domain"]]
    text = (
        f"**Step {row['step']}**: patch distance {1000 * row['realism']:.1f} "
        f"(raw {1000 * row['realism_raw']:.1f}, between real images {1000 * row['realism_floor']:.1f}); {what} moved "
        f"{row['shift']:.2f} {unit} on average, {row['shift_median']:.2f} {unit} in the median; "
        f"λ {row['regularization_weight']:.3g}; the discriminator tells {row['accuracy_refined']:.0%} of refined and "
        f"{row['accuracy_real']:.0%} of real images."
    )
    sheet = min(found.sheets, key=lambda file: abs(int(re.sub(r"\D", "", file.stem)) - step), default=None)
    return [None if sheet is None else _read_sheet(sheet), text]


def _read_sheet(file: Path) -> Image.Image:
    """Give a sheet with the second half of its columns below the first, so that crops stay large on a narrow screen."""
    sheet = np.array(Image.open(file).convert("RGB"))
    half = sheet.shape[1] // 2
    gap = np.full((8, half, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([sheet[:, :half], gap, sheet[:, half : 2 * half]]))
