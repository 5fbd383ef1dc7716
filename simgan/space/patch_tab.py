"""The tab Where it looks fake: the discriminator's patch map over the input and over the refined image."""

from pathlib import Path
from typing import Any

import gradio as gr

from simgan.errors import ImageError, ModelError
from simgan.images import colours as depth_colours
from simgan.images.depth import find_window, stored_depth
from simgan.refining.engine import is_of_depth
from simgan.space import depths, limits
from simgan.space.events import MODEL_QUEUE, show_errors
from simgan.space.models import Model, Models
from simgan.space.patch_map import draw, field_of, judge, judge_depth, report
from simgan.space.refine_tab import NONE_YET, model_choice
from simgan.space.samples import Choice, Upload, examples, image_field

SCRIPT = Path(__file__).parent / "patch_map.js"
PIXELS = 1_000_000  # of an image: each patch is sent to the page
ABOUT = """
The refiner learns against a *discriminator*. It looks at an image patch by patch (the paper's *local adversarial
loss*), and tells for each how likely it is a real one. Yellow patches look real to it, blue ones refined.
"""
WORDS = """
Shown is 1 − D<sub>φ</sub>(x), as D<sub>φ</sub>(x) is the probability of being a refined image (eq. 2), for each patch
of the w × h probability map (section 2.2). A patch lies in the middle of its receptive field: the dashed box is all
that it sees. Images are shown as the discriminator sees them: grey, and equalized where its training images were.
Of depth, near is light, and no reading black.
"""


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def inspect(images: Upload, model: str) -> tuple[str, dict[str, Any]]:
        """Give the patch maps of an image and of its refined version, as HTML and as numbers."""
        if not images:
            return NONE_YET, {}
        return _inspect(models.get(model), images[-1][0])

    chosen = examples()[1]
    page, numbers = _inspect(models.get(models.shipped[0]), chosen)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            gr.Markdown(ABOUT)
            images = image_field([chosen], "Image (of several, the last)", "patch")
            choice = Choice(images, "inspect")
            model = model_choice(models)
            button = gr.Button("Look for fake patches", variant="primary", elem_id="patch-button")
        with gr.Column(scale=2, min_width=300):
            maps = gr.HTML(page, js_on_load=SCRIPT.read_text(), elem_id="patch-maps")
            gr.Markdown(WORDS, elem_id="patch-words")
            values = gr.JSON(numbers, visible=False)
    gr.on(
        [button.click, images.change, choice.follow(models, model)],
        inspect,
        [images, model],
        [maps, values],
        api_name="inspect",
        trigger_mode="always_last",
        show_progress_on=maps,
        **MODEL_QUEUE,
    )


def _inspect(model: Model, path: str) -> tuple[str, dict[str, Any]]:
    if model.discriminator is None:
        raise ModelError(f"{model.name} comes without a discriminator, which draws the map: choose another model")
    image = limits.open_upload(path)
    depths.check_kind(model.refiner, image, limits.name(path))
    if image.width * image.height > PIXELS:
        raise ImageError(f"{limits.name(path)} has {image.width}×{image.height} pixels: maps take {PIXELS:,} at most")
    limits.check_work(model.refiner, image.width * image.height)
    refined = model.refiner.refine(image)
    if is_of_depth(model.refiner):
        depth = stored_depth(image)
        windows = find_window(depth), depth_colours.span(depth)
        both = [judge_depth(model.discriminator, one, *windows) for one in (depth, depths.readings(refined))]
    else:
        both = [judge(model.refiner, model.discriminator, one) for one in (image, refined)]
    found = dict(zip(("Input", "Refined"), both, strict=True))
    fields = field_of(model.discriminator, found["Input"].seen)
    numbers = {name.lower(): report(one) for name, one in found.items()}
    axes = {axis: {"first": f.first, "size": f.size, "stride": f.stride} for axis, f in zip("xy", fields, strict=True)}
    return draw(found, fields), {**numbers, "receptive_field": axes}
