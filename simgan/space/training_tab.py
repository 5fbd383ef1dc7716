"""The tab Training: realism and annotation shift of shipped models while they were trained, and sample sheets."""

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
While a refiner is trained, its images get more realistic, but its labels less accurate. So both are measured on images
that were held out, and the most realistic refiner ships whose annotation shift stays below a bound. **Compare both
curves at the same step.**
"""
ORANGE, GREY, BLUE = "#d97706", "#64748b", "#2563eb"  # distinct on light and on dark; words below a plot name them
REALISM = {"refined": ORANGE, "raw": GREY, "between real images": BLUE}
SHIFT = {"mean without the worst 5 %": ORANGE, "median": BLUE}
STEP, DISTANCE, MOVED = "step", "patch distance ×1000", "moved"


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
    note_text = gr.Markdown(note, elem_id="training-note")
    with gr.Row(elem_id="training-plots"):
        realism_plot = gr.LinePlot(realism, label="Realism: lower is more realistic", **_lines(DISTANCE, REALISM))
        shift_plot = gr.LinePlot(shift, label="Annotation shift: lower is more accurate", **_lines(MOVED, SHIFT))
        trade_plot = gr.ScatterPlot(
            trade,
            x=MOVED,
            y=DISTANCE,
            tooltip="all",
            height=280,
            min_width=300,
            buttons=[],
            label="Both: left is more accurate, down is more realistic",
        )
    gr.Markdown(
        f"Realism: {_legend(REALISM)}. Annotation shift: {_legend(SHIFT)}.",
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
    outputs = [note_text, realism_plot, shift_plot, trade_plot, slider, picture, figures_text]

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
        "colors_in_legend": [],  # Gradio's legend has no room on a narrow screen: `_legend` is below the plots
        "height": 280,
        "min_width": 300,
        "buttons": [],
        "y_lim": [0, None],
    }


def _legend(colours: dict[str, str]) -> str:
    hues = {ORANGE: "orange", GREY: "grey", BLUE: "blue"}
    return ", ".join(f"{hues[colour]} is {name}" for name, colour in colours.items())


def _all(name: str) -> list[Any]:
    """Return the note, the data of the three plots, the settings of the slider, the sheet and its figures."""
    found = read_records(SHIPPED / name)
    if not found.measures:
        text = f"`{name}` ships **without records**: of its training, only the table in its model card is known."
        return [text, None, None, None, {"minimum": 0, "maximum": 1, "value": 0, "visible": False}, None, ""]
    rows = pd.DataFrame(found.measures).sort_values("step")
    first, last = int(rows["step"].iloc[0]), int(rows["step"].iloc[-1])
    shipped = last if found.step is None else found.step
    realism = _long(rows, DISTANCE, dict(zip(REALISM, _scaled(rows), strict=True)))
    shift = _long(rows, MOVED, dict(zip(SHIFT, (rows["shift"], rows["shift_median"]), strict=True)))
    trade = pd.DataFrame({MOVED: rows["shift"], DISTANCE: 1000 * rows["realism"], STEP: rows["step"]})
    slider = {
        "minimum": first,
        "maximum": max(last, first + 1),
        "step": math.gcd(*(int(step) - first for step in rows["step"])) or 1,
        "value": shipped,
        "visible": True,
    }
    words = found.words
    text = (
        f"`{name}` ships the refiner of **step {shipped}** of {last}. What moved: {words.part}, in {words.where}. "
        f"{words.paper}"
    )
    return [text, realism, shift, trade, slider, *_at(found, shipped)]


def _scaled(rows: pd.DataFrame) -> list[pd.Series]:
    return [1000 * rows[key] for key in ("realism", "realism_raw", "realism_floor")]


def _long(rows: pd.DataFrame, y: str, series: dict[str, pd.Series]) -> pd.DataFrame:
    return pd.concat([pd.DataFrame({STEP: rows["step"], y: values, "series": name}) for name, values in series.items()])


def _at(found: Records, step: int) -> list[Any]:
    """Return the sheet nearest to a step, and what was measured nearest to it."""
    if not found.measures:
        return [None, ""]
    row = min(found.measures, key=lambda row: abs(row["step"] - step))
    part, unit = found.words.part, found.words.unit
    text = (
        f"**Step {row['step']}**: patch distance {1000 * row['realism']:.1f} "
        f"(raw {1000 * row['realism_raw']:.1f}, between real images {1000 * row['realism_floor']:.1f}); {part} moved "
        f"{row['shift']:.2f} {unit} on average, {row['shift_median']:.2f} {unit} in the median; "
        f"λ {row['regularization_weight']:.3g}; the discriminator is right about {row['accuracy_refined']:.0%} of "
        f"refined and {row['accuracy_real']:.0%} of real images."
    )
    sheet = min(found.sheets, key=lambda file: abs(int(re.sub(r"\D", "", file.stem)) - step), default=None)
    return [None if sheet is None else _read_sheet(sheet), text]


def _read_sheet(file: Path) -> Image.Image:
    """Return a sheet with the right half below the left one, so that crops stay large on a narrow screen."""
    sheet = np.array(Image.open(file).convert("RGB"))
    half = sheet.shape[1] // 2
    gap = np.full((8, half, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([sheet[:, :half], gap, sheet[:, half : 2 * half]]))
