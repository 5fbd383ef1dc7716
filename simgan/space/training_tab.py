"""The tab Training: realism and annotation shift of shipped models while they were trained, and sample sheets."""

import math
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from simgan.hub.cards.records import Records, read_records, step_of
from simgan.hub.loading import SHIPPED
from simgan.space.events import TEXTS, show_errors
from simgan.space.models import Models
from simgan.space.refine_tab import PICTURE
from simgan.space.training_plots import draw_plots

PLAY, PAUSE, SECONDS = "▶ Play", "Pause", 1.0  # between sheets


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

    @show_errors
    def play(name: str, step: float, playing: bool) -> list[Any]:
        """Play the sheets from this step on, from the first one where the last is shown; or stop playing."""
        steps = [step_of(sheet) for sheet in read_records(SHIPPED / name).sheets]
        if playing or not steps:
            return [gr.skip(), *stopped()]
        return [steps[0] if step >= steps[-1] else step, gr.Timer(active=True), PAUSE, True]

    @show_errors
    def go_on(name: str, step: float) -> list[Any]:
        """Go to the next sheet; after the last one stop."""
        steps = [step_of(sheet) for sheet in read_records(SHIPPED / name).sheets]
        later = [one for one in steps if one > step]
        return [later[0], gr.skip(), gr.skip(), gr.skip()] if later else [gr.skip(), *stopped()]

    def stopped() -> list[Any]:
        return [gr.Timer(active=False), PLAY, False]

    first = next((name for name in models.shipped if read_records(SHIPPED / name).measures), models.shipped[0])
    note, plots, step, sheet, figures = _all(first)
    gr.Markdown(TEXTS.training())
    model = gr.Dropdown(models.shipped, value=first, label="Shipped model")  # Gradio refuses other names
    note_text = gr.Markdown(note, elem_id="training-note")
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            with gr.Row():
                slider = gr.Slider(**step, label="Step", elem_id="training-step", min_width=180, scale=4)
                button = gr.Button(PLAY, elem_id="training-play", min_width=100, scale=1)
            timer, playing = gr.Timer(SECONDS, active=False), gr.State(False)
            label = "Input · refined · difference · looks real (yellow) or refined (blue)"
            alt = "The same held-out images, refined by the model of this step"
            picture = gr.Image(sheet, label=label, alt_text=alt, elem_id="training-sheet", **PICTURE)
            figures_text = gr.Markdown(figures, elem_id="training-figures")
        with gr.Column(scale=2, min_width=300):
            plots_shown = gr.HTML(plots, elem_id="training-plots")
    outputs = [note_text, plots_shown, slider, picture, figures_text]
    model.change(choose, model, outputs, api_name="training", queue=False)
    unseen: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    slider.change(show, [model, slider], [picture, figures_text], api_name="training_step", **unseen)
    steps: dict[str, Any] = unseen | {"outputs": [slider, timer, button, playing]}
    button.click(play, [model, slider, playing], api_name="training_play", **steps)
    timer.tick(go_on, [model, slider], api_name="training_next", **steps)


def _all(name: str) -> list[Any]:
    """Return the note, the plots as HTML, the settings of the slider, the sheet and its figures."""
    found = read_records(SHIPPED / name)
    if not found.measures:
        hidden = {"minimum": 0, "maximum": 1, "value": 0, "visible": False}
        return [TEXTS.training_model(name, None, None, None), "", hidden, None, ""]
    steps = sorted(row["step"] for row in found.measures)
    shipped = steps[-1] if found.step is None else found.step
    slider = {"minimum": steps[0], "maximum": max(steps[-1], steps[0] + 1), "value": shipped, "visible": True}
    slider["step"] = math.gcd(*(step - steps[0] for step in steps)) or 1
    text = TEXTS.training_model(name, found.words, shipped, steps[-1])
    return [text, draw_plots(found, shipped), slider, *_at(found, shipped)]


def _at(found: Records, step: int) -> list[Any]:
    """Return the sheet nearest to a step, and what was measured nearest to it."""
    if not found.measures:
        return [None, ""]
    row = min(found.measures, key=lambda row: abs(row["step"] - step))
    text = TEXTS.training_step(row, found.words)
    file = min(found.sheets, key=lambda file: abs(step_of(file) - step), default=None)
    if file is None:
        return [None, text]
    if step_of(file) != row["step"]:  # a part of the sheets does not ship
        text = f"{text} {TEXTS.training_sheet(step_of(file)).strip()}"
    # A half of it, as two quarters one below the other, so that crops are large on a narrow screen too.
    sheet = np.array(Image.open(file).convert("RGB"))
    quarter = sheet.shape[1] // 4
    gap = np.full((8, quarter, 3), 255, np.uint8)
    return [Image.fromarray(np.concatenate([sheet[:, :quarter], gap, sheet[:, quarter : 2 * quarter]])), text]
