"""The tab Refine: images in; before and after side by side, and the refined files in the format of the input."""

import time
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from simgan.images.files import encode_like
from simgan.space.events import MODEL, MODEL_QUEUE, TEXTS, show_errors
from simgan.space.models import Model, Models, check_image
from simgan.space.notes import compare, describe
from simgan.space.samples import Upload, examples, image_fields
from simgan.space.uploads import open_uploads

NONE_YET = "Upload an image, paste one, or pick an example."
PICTURE: dict[str, Any] = {"format": "png", "interactive": False, "buttons": ["fullscreen"]}


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def refine(images: Upload, model: str, strength: float) -> list[Any]:
        """Refine images: the last one before and after, the difference, a note, and all refined files."""
        if not images:
            return [None, None, NONE_YET, None, gr.Dropdown(visible=False)]
        paths = [path for path, _ in images]
        numbered = [(f"{number + 1} · {Path(path).name}", number) for number, path in enumerate(paths)]
        shown = gr.Dropdown(choices=numbered, value=len(paths) - 1, visible=len(paths) > 1)
        return [*_refine(models.get(model), paths, strength), shown]

    @show_errors
    def show(images: Upload, which: int | None, model: str, strength: float) -> list[Any]:
        """Show another one of several images before and after (`which` counts from 0)."""
        paths = [path for path, _ in images or []]
        return _refine(models.get(model), paths[which or 0 :][:1] or paths[-1:], strength)[:3]

    shown_first = {model: examples(domain)[0] for domain, model in models.domains().items() if examples(domain)}
    # Compiles the kernels of the examples' sizes, so that no visitor waits for them.
    opening, *_ = [_refine(model, [example], 1.0) for model, example in shown_first.items()]
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(TEXTS.refine(list(models.domains().values())))
            example, *_ = shown_first.values()
            images, model, fits = image_fields(models, "refine", "refine", "Synthetic images", example, together=True)
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 gives the input back, 1 is refined.")
            button = gr.Button("Refine", variant="primary", elem_id="refine-button")
        with gr.Column(scale=3, min_width=300):
            shown = gr.Dropdown([], label="Shown image", visible=False, elem_id="refine-shown")
            comparison = gr.ImageSlider(opening[0], label="Before · after", elem_id="comparison", **PICTURE)
            note = gr.Markdown(opening[2], elem_id="refine-note")
            with gr.Row():
                label = "Difference (grey: unchanged)"
                alt = "What refining changed: grey where nothing did, lighter or darker where it did"
                difference = gr.Image(opening[1], label=label, alt_text=alt, min_width=240, **PICTURE)
                label = "Download, in the format that came in"
                box: dict[str, Any] = {"height": 240, "min_width": 240, "interactive": False}
                download = gr.File(opening[3], label=label, elem_id="refine-download", file_count="multiple", **box)
    outputs, settings = [comparison, difference, note], MODEL_QUEUE | {"show_progress_on": comparison}
    triggers = [button.click, images.change, fits, strength.release]
    inputs, all_outputs = [images, model, strength], [*outputs, download, shown]
    gr.on(triggers, refine, inputs, all_outputs, api_name="refine", trigger_mode="always_last", **settings)
    shown.input(show, [images, shown, model, strength], outputs, api_name="show", **settings)


def _refine(model: Model, paths: list[str], strength: float) -> list[Any]:
    """Return what is shown of the last image, which was added last, and the refined files."""
    names = [Path(path).name for path in paths]
    pictures = open_uploads(paths, model.check_work)
    stored = [check_image(model.refiner, picture, name) for picture, name in zip(pictures, names, strict=True)]
    with MODEL:
        start = time.perf_counter()
        refined = model.refiner.refine(stored, strength)
        seconds = (time.perf_counter() - start) / len(stored)
    files = []
    for name, picture, array in zip(names, pictures, refined, strict=True):
        data = encode_like(model.refiner.codec.restore(array, picture), picture, picture.format)
        files.append(save_bytes_to_cache(data, name, get_upload_folder()))
    first, second, difference = compare(model.refiner.codec, stored[-1], refined[-1])
    return [(first, second), difference, describe(model, stored[-1], strength, seconds), files]
