"""The tab Training: realism and annotation shift of shipped models while they were trained, and sample sheets."""

import math
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from PIL import Image

from simgan.hub.cards.records import Records, read_records, step_of
from simgan.hub.loading import SHIPPED
from simgan.space.events import TEXTS, show_errors
from simgan.space.models import Models
from simgan.space.refine_tab import PICTURE

ORANGE, GREY, BLUE = "#d97706", "#64748b", "#2563eb"  # distinct on light and on dark; words below a plot name them
HUES = {ORANGE: "orange", GREY: "grey", BLUE: "blue"}
REALISM = {"refined": ORANGE, "raw": GREY, "between real images": BLUE}
SHIFT = {"mean without the worst 5 %": ORANGE, "median": BLUE}
KEYS = ("realism", "realism_raw", "realism_floor", "shift", "shift_median")  # of the records, in the same order
STEP, DISTANCE, MOVED = "step", "patch distance ×1000", "moved"


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def choose(name: str) -> list[Any]:
        """Show a shipped model's curves, and the sheet of the step that ships."""
        return [gr.Slider(**one) if isinstance(one, dict) else one for one in _all(name)]

    @show_errors
    def show(name: str, step: float) -> list[Any]:
        """Show the sheet nearest to a step, and what was measured there."""
        return _at(read_records(SHIPPED / name), int(step))

    first = next((name for name in models.shipped if read_records(SHIPPED / name).measures), models.shipped[0])
    note, realism, shift, trade, step, sheet, figures = _all(first)
    gr.Markdown(TEXTS.training())
    model = gr.Dropdown(models.shipped, value=first, label="Shipped model")  # Gradio refuses other names
    note_text = gr.Markdown(note, elem_id="training-note")
    with gr.Row(elem_id="training-plots"):
        size: dict[str, Any] = {"height": 280, "min_width": 300, "buttons": []}
        lines = size | {"x": STEP, "color": "series", "y_lim": [0, None]}
        lines["colors_in_legend"] = []  # Gradio's legend has no room on a narrow screen: words are below the plots
        label = "Realism: lower is more realistic"
        realism_plot = gr.LinePlot(realism, y=DISTANCE, color_map=REALISM, label=label, **lines)
        label = "Annotation shift: lower is more accurate"
        shift_plot = gr.LinePlot(shift, y=MOVED, color_map=SHIFT, label=label, **lines)
        label = "Both: left is more accurate, down is more realistic"
        trade_plot = gr.ScatterPlot(trade, x=MOVED, y=DISTANCE, tooltip="all", label=label, **size)
    gr.Markdown(TEXTS.training_legend(REALISM, SHIFT, HUES), elem_id="training-legend")
    slider = gr.Slider(**step, label="Step", elem_id="training-step")
    figures_text = gr.Markdown(figures, elem_id="training-figures")
    label = "Input · refined · difference · where the discriminator finds it real (yellow) or refined (blue)"
    alt = "The same held-out images, refined by the model of this step"
    picture = gr.Image(sheet, label=label, alt_text=alt, elem_id="training-sheet", **PICTURE)
    outputs = [note_text, realism_plot, shift_plot, trade_plot, slider, picture, figures_text]
    model.change(choose, model, outputs, api_name="training", queue=False)
    unseen: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    slider.change(show, [model, slider], [picture, figures_text], api_name="training_step", **unseen)


def _all(name: str) -> list[Any]:
    """Return the note, the data of the three plots, the settings of the slider, the sheet and its figures."""
    found = read_records(SHIPPED / name)
    if not found.measures:
        hidden = {"minimum": 0, "maximum": 1, "value": 0, "visible": False}
        return [TEXTS.training_model(name, None, None, None), None, None, None, hidden, None, ""]
    rows = pd.DataFrame(found.measures).sort_values(STEP)
    steps = rows[STEP].tolist()
    trade = pd.DataFrame({MOVED: rows["shift"], DISTANCE: 1000 * rows["realism"], STEP: rows[STEP]})
    rows = rows.rename(columns=dict(zip(KEYS, [*REALISM, *SHIFT], strict=True)))
    rows[[*REALISM]] *= 1000
    realism, shift = (rows.melt(STEP, list(names), "series", y) for names, y in ((REALISM, DISTANCE), (SHIFT, MOVED)))
    shipped = steps[-1] if found.step is None else found.step
    slider = {"minimum": steps[0], "maximum": max(steps[-1], steps[0] + 1), "value": shipped, "visible": True}
    slider["step"] = math.gcd(*(step - steps[0] for step in steps)) or 1
    text = TEXTS.training_model(name, found.words, shipped, steps[-1])
    return [text, realism, shift, trade, slider, *_at(found, shipped)]


def _at(found: Records, step: int) -> list[Any]:
    """Return the sheet nearest to a step, and what was measured nearest to it."""
    if not found.measures:
        return [None, ""]
    row = min(found.measures, key=lambda row: abs(row["step"] - step))
    text = TEXTS.training_step(row, found.words)
    file = min(found.sheets, key=lambda file: abs(step_of(file) - step), default=None)
    if file is None:
        return [None, text]
    # The right half below the left one, so that crops stay large on a narrow screen.
    sheet = np.array(Image.open(file).convert("RGB"))
    half = sheet.shape[1] // 2
    gap = np.full((8, half, 3), 255, np.uint8)
    return [Image.fromarray(np.concatenate([sheet[:, :half], gap, sheet[:, half : 2 * half]])), text]
