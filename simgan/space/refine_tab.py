"""The tab Refine: images in; before and after beside each other, and the refined files in the format they came in."""

import time
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from simgan.images.files import encode_like
from simgan.refining.engine import is_of_depth
from simgan.space import depths, limits, preview
from simgan.space.events import MODEL_QUEUE, show_errors
from simgan.space.models import Model, Models
from simgan.space.notes import describe
from simgan.space.samples import Choice, Upload, examples, hand_examples, image_field

ABOUT = """
Choose synthetic eye images and compare: left of the line as rendered, right of it refined. Size, bit depth, file
format and what the labels say stay as they were.

A model of hands takes depth: 16 bits of millimetres, 0 = no reading. As thumbnails such images are all but black.
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
        return [*_refine_files(models.get(model), paths, strength), shown]

    @show_errors
    def show(images: Upload, which: int | None, model: str, strength: float) -> list[Any]:
        """Show another one of several images before and after (`which` counts from 0)."""
        paths = _paths(images)
        network = models.get(model)
        picture = _open(network, paths[min(which or 0, len(paths) - 1)])
        seconds, refined = _refine(network, [picture], strength)
        return _compare(network, picture, refined[0], strength, seconds)

    chosen = [examples()[0]]
    for _ in range(2):  # opens with a result; the first run compiles kernels, for which no visitor has to wait
        *opening, files = _refine_files(models.get(models.shipped[0]), chosen, 1.0)
    for name in models.of_hands[:1]:  # of another size, so it compiles others
        _refine_files(models.get(name), hand_examples()[:1], 1.0)
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            gr.Markdown(ABOUT)
            images = image_field(chosen, "Synthetic images", "refine")
            choice = Choice(images, "refine", together=True)
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
                    files,
                    label="Download, in the format that came in",
                    height=240,
                    elem_id="refine-download",
                    file_count="multiple",
                    interactive=False,
                    min_width=240,
                )
    outputs = [comparison, difference, note]
    gr.on(
        [button.click, images.change, choice.follow(models, model), strength.release],
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
    """Give the field in which a visitor chooses a shipped model or types a Hub id."""
    return gr.Dropdown(
        models.shipped,
        value=models.shipped[0],
        label="Model",
        info="A shipped one, or type the id of a public model on the Hub: org/name, then Enter.",
        allow_custom_value=True,
    )


def _paths(images: Upload) -> list[str]:
    paths = [path for path, _ in images or []]
    limits.check_count(paths)
    return paths


def _refine_files(model: Model, paths: list[str], strength: float) -> list[Any]:
    """Give what is shown of the last image, which is the one that was added last, and the refined files."""
    pictures = [_open(model, path) for path in paths]
    seconds, refined = _refine(model, pictures, strength)
    files = [
        save_bytes_to_cache(encode_like(after, before, before.format), limits.name(path), get_upload_folder())
        for path, before, after in zip(paths, pictures, refined, strict=True)
    ]
    return [*_compare(model, pictures[-1], refined[-1], strength, seconds), files]


def _open(model: Model, path: str) -> Image.Image:
    """Read an image that the model takes; what it does not take is told by the file's name."""
    picture = limits.open_upload(path)
    depths.check_kind(model.refiner, picture, limits.name(path))
    return picture


def _refine(model: Model, pictures: list[Image.Image], strength: float) -> tuple[float, list[Image.Image]]:
    """Refine pictures; also give the seconds that an image took on average."""
    limits.check_work(model.refiner, sum(picture.width * picture.height for picture in pictures))
    start = time.perf_counter()
    refined = model.refiner.refine(pictures, strength)
    return (time.perf_counter() - start) / len(pictures), refined


def _compare(model: Model, before: Image.Image, after: Image.Image, strength: float, seconds: float) -> list[Any]:
    pair = depths.pair if is_of_depth(model.refiner) else preview.pair
    first, second, difference = pair(before, after)
    return [(first, second), difference, describe(model, before, strength, seconds)]
