"""The tab Refine: images in; before and after side by side, and the refined files in the format of the input."""

import time
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from simgan.images.arrays import Array
from simgan.images.files import encode_like
from simgan.space import limits, preview
from simgan.space.decoding import open_uploads
from simgan.space.events import MODEL_QUEUE, model_slot, show_errors
from simgan.space.models import Model, Models
from simgan.space.notes import describe
from simgan.space.samples import Choice, Upload, examples, image_field

ABOUT = """
Choose synthetic images and compare: as rendered left of the line, refined right of it. Size, bit depth, file format and
what the labels say stay as they were. Models take
"""
NONE_YET = "Upload an image, paste one, or pick an example."


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def refine(images: Upload, model: str, strength: float) -> list[Any]:
        """Refine images: the last one before and after, the difference, a note, and all refined files."""
        if not images:
            return [None, None, NONE_YET, None, gr.Dropdown(visible=False)]
        paths = _paths(images)
        numbered = [(f"{number + 1} · {limits.name(path)}", number) for number, path in enumerate(paths)]
        shown = gr.Dropdown(choices=numbered, value=len(paths) - 1, visible=len(paths) > 1)
        return [*_refine(models.get(model), paths, strength), shown]

    @show_errors
    def show(images: Upload, which: int | None, model: str, strength: float) -> list[Any]:
        """Show another one of several images before and after (`which` counts from 0)."""
        path = _paths(images)[which or 0 : (which or 0) + 1] or _paths(images)[-1:]
        return _refine(models.get(model), path, strength)[:3]

    first = models.get(models.shipped[0])
    chosen = examples(first.domain.name)[:1]
    opening: list[Any] = [None, None, NONE_YET, None]
    for domain, name in [*models.domains().items(), (first.domain.name, first.name)]:
        for example in examples(domain)[:1]:  # compiles the kernels of that size, so that no visitor waits for them
            opening = _refine(models.get(name), [example], 1.0)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(ABOUT + "; ".join(_takes(models.get(name)) for name in models.domains().values()) + ".")
            images = image_field(chosen, "Synthetic images", "refine")
            choice = Choice(models, images, "refine", together=True)
            model = model_choice(models)
            strength = gr.Slider(0, 1, 1, step=0.05, label="Strength", info="0 gives the input back, 1 is refined.")
            button = gr.Button("Refine", variant="primary", elem_id="refine-button")
        with gr.Column(scale=3, min_width=300):
            shown = gr.Dropdown([], label="Shown image", visible=False, elem_id="refine-shown")
            comparison = gr.ImageSlider(
                opening[0],
                label="Before · after",
                format="png",
                interactive=False,
                buttons=["fullscreen"],
                elem_id="comparison",
            )
            note = gr.Markdown(opening[2], elem_id="refine-note")
            with gr.Row():
                difference = gr.Image(
                    opening[1],
                    label="Difference (grey: unchanged)",
                    format="png",
                    interactive=False,
                    buttons=["fullscreen"],
                    alt_text="What refining changed: grey where nothing did, lighter or darker where it did",
                    min_width=240,
                )
                download = gr.File(
                    opening[3],
                    label="Download, in the format that came in",
                    height=240,
                    elem_id="refine-download",
                    file_count="multiple",
                    interactive=False,
                    min_width=240,
                )
    outputs = [comparison, difference, note]
    gr.on(
        [button.click, images.change, choice.follow(model), strength.release],
        refine,
        [images, model, strength],
        [*outputs, download, shown],
        api_name="refine",
        trigger_mode="always_last",
        show_progress_on=comparison,
        **MODEL_QUEUE,
    )
    shown.input(
        show, [images, shown, model, strength], outputs, api_name="show", show_progress_on=comparison, **MODEL_QUEUE
    )


def model_choice(models: Models) -> gr.Dropdown:
    """Return the field in which a visitor chooses a shipped model or types a Hub id."""
    return gr.Dropdown(
        models.shipped,
        value=models.shipped[0],
        label="Model",
        info="A shipped one, or type the id of a public model on the Hub: org/name, then Enter.",
        allow_custom_value=True,
    )


def _paths(images: Upload) -> list[str]:
    paths = [path for path, _ in images or []]
    limits.check_files(paths)
    return paths


def _takes(model: Model) -> str:
    return f"{model.domain.words.images} (`{model.name}` and others: {model.domain.words.takes})"


def _refine(model: Model, paths: list[str], strength: float) -> list[Any]:
    """Return what is shown of the last image, which was added last, and the refined files."""
    pictures = open_uploads(paths, model.check_work)
    stored = [model.check(picture, limits.name(path)) for path, picture in zip(paths, pictures, strict=True)]
    with model_slot():
        start = time.perf_counter()
        refined: list[Array] = model.refiner.refine(stored, strength)
        seconds = (time.perf_counter() - start) / len(stored)
    files = []
    for path, picture, array in zip(paths, pictures, refined, strict=True):
        data = encode_like(model.codec.restore(array, picture), picture, picture.format)
        files.append(save_bytes_to_cache(data, limits.name(path), get_upload_folder()))
    first, second, difference = preview.compare(model.codec, stored[-1], refined[-1])
    return [(first, second), difference, describe(model, stored[-1], strength, seconds), files]
