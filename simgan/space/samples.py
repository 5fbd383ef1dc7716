"""The examples of the Space: renders of simgan's own simulators, which may be shown to anyone."""

import functools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from simgan.domains import find
from simgan.errors import ModelError
from simgan.simulators import SIMULATORS, Simulator
from simgan.space.models import Models

Upload = Sequence[tuple[str, str | None]] | None  # paths and captions of a gallery

NUMBERS = (24, 10, 31, 4, 41, 22)  # of the rendered images


def simulator_of(domain: str) -> Simulator | None:
    """Return the first simulator of a domain, which renders its synthetic images; None if there is none."""
    return next((simulator for simulator in SIMULATORS.values() if simulator.domain == domain), None)


def examples(domain: str) -> tuple[str, ...]:
    """Return the paths of examples of a domain, PNG files with labels that are known: none without a simulator."""
    return tuple(_examples(domain))


@functools.cache
def _examples(domain: str) -> dict[str, dict[str, Any]]:
    """Write examples of a domain, once a process, and return their labels by their paths."""
    if (simulator := simulator_of(domain)) is None:
        return {}
    folder = Path(tempfile.mkdtemp(prefix="simgan-examples-"))
    name = Path(find(domain).words.example).stem
    paths = [folder / f"{name} {number}.png" for number in range(1, len(NUMBERS) + 1)]
    images, labels = simulator.render(NUMBERS)
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    return {str(path): {key: rows[k] for key, rows in labels.items()} for k, path in enumerate(paths)}


def labels_of(domain: str, path: str) -> dict[str, Any] | None:
    """Return the labels of an image, by column, where it is one of the examples of a domain."""
    data = Path(path).read_bytes()
    return next((labels for known, labels in _examples(domain).items() if Path(known).read_bytes() == data), None)


def model_field(models: Models) -> gr.Dropdown:
    """Return the field in which a visitor chooses a shipped model or types a Hub id."""
    info, names = "A shipped one, or type the id of a public model on the Hub: org/name, then Enter.", models.shipped
    return gr.Dropdown(names, value=names[0], label="Model", info=info, allow_custom_value=True)


def strength_field() -> gr.Slider:
    """Return the field for the strength, from 0 to 1; the events of the tabs refuse other values in a sentence."""
    field = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 gives the input back, 1 is refined.")
    field.preprocess = lambda payload: payload  # type: ignore[method-assign]  # Gradio's own refusal is no sentence
    return field


def image_fields(
    models: Models, name: str, event: str, label: str, chosen: str, *, listed: bool = True
) -> tuple[gr.Gallery, gr.Dropdown, gr.State]:
    """Return the fields for images and for the model, and a state that changes when a model or an example was chosen.

    `name` begins the id of the gallery, `event` those of the examples and the names of events; `listed`: the
    examples are offered below it. If the gallery holds examples of another domain, they are replaced, and the
    gallery's own event fires instead. Images that a visitor sent stay, and examples beside them go.
    """
    files: dict[str, Any] = {"format": "png", "file_types": ["image"], "sources": ["upload", "webcam", "clipboard"]}
    look: dict[str, Any] = {"columns": 3, "fit_columns": False, "object_fit": "contain", "buttons": []}
    images = gr.Gallery([chosen], label=label, interactive=True, elem_id=f"{name}-images", **files, **look)
    fields: dict[str, gr.Dataset] = {}
    moment = gr.State(0)
    units = {domain: first.refiner.codec.unit for domain, first in models.domains().items() if examples(domain)}
    for domain, unit in units.items() if listed else ():
        paths = examples(domain)
        # Browsers show 16 bits of depth as black, so that names stand in place of thumbnails.
        names, rows = [Path(path).stem for path in paths], [[[path]] for path in paths]
        look = {"label": "Examples", "example_labels": names if unit else None, "visible": not fields}
        look |= {"api_name": f"{event}_{domain}_example", "api_visibility": "public"}
        offered = gr.Examples(rows, [images], elem_id=f"{event}-{domain}-examples", **look)
        # A gallery that was emptied does not tell of what is put into it.
        offered.load_input_event.then(time.time_ns, None, moment, show_progress="hidden", api_visibility="private")
        fields[domain] = offered.dataset

    def fit(images: Upload, model: str) -> list[Any]:
        """Show examples that a model takes: in the gallery too, where it holds examples of another kind."""
        try:
            chosen = models.get(model)
        except ModelError:  # the event that follows says so
            return [gr.skip()] * (len(fields) + 1) + [time.time_ns()]
        own, unit = chosen.domain.name, chosen.refiner.codec.unit
        fitting = [own] if own in units else [domain for domain in units if units[domain] == unit]
        others = {Path(path).read_bytes() for domain in units if domain not in fitting for path in examples(domain)}
        replaced = bool(images and fitting) and all(Path(path).read_bytes() in others for path, _ in images or ())
        return [
            [examples(fitting[0])[0]] if replaced else gr.skip(),
            *(gr.Dataset(visible=domain in fitting) for domain in fields),
            gr.skip() if replaced else time.time_ns(),
        ]

    def leave_examples_out(images: Upload) -> Any:
        """Keep what a visitor sent, without the examples that were there before."""
        known = {Path(path).read_bytes() for domain in units for path in examples(domain)}
        own = [image for image in images or () if Path(image[0]).read_bytes() not in known]
        return own if 0 < len(own) < len(images or ()) else gr.skip()

    images.change(leave_examples_out, images, images, show_progress="hidden", api_visibility="private")
    model = model_field(models)
    outputs = [images, *fields.values(), moment]
    model.change(fit, [images, model], outputs, api_name=f"{event}_model", show_progress="hidden")
    return images, model, moment
