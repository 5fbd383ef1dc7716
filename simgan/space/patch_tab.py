"""The tab Where it looks fake: the discriminator's patch maps of the input and of the refined image."""

from pathlib import Path
from typing import Any

import gradio as gr

from simgan.errors import ImageError, ModelError
from simgan.space import limits
from simgan.space.decoding import open_uploads
from simgan.space.events import MODEL_QUEUE, model_slot, show_errors
from simgan.space.models import Model, Models
from simgan.space.patch_map import draw, field_of, judge, report
from simgan.space.refine_tab import NONE_YET, model_choice
from simgan.space.samples import Choice, Upload, examples, image_field

SCRIPT = Path(__file__).parent / "patch_map.js"
PIXELS = 1_000_000  # of an image: each patch is sent to the page
ABOUT = """
The refiner is trained against a *discriminator*, which judges an image patch by patch (the paper's *local adversarial
loss*): how probable is it that this patch is real? It takes yellow patches for real ones, and blue ones for refined.
"""
WORDS = """
The map shows 1 − D<sub>φ</sub>(x) for each patch of the w × h probability map (section 2.2), because
D<sub>φ</sub>(x) is the probability of being a refined image (eq. 2). A patch is drawn at the centre of its receptive
field, which is the dashed box. Images are shown as the discriminator sees them: grey, and equalized where its training
images were. Depth is light where it is near, and black where there is no reading.
"""


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def inspect(images: Upload, model: str) -> tuple[str, dict[str, Any]]:
        """Return the patch maps of an image and of its refined version, as HTML and as numbers."""
        if not images:
            return NONE_YET, {}
        return _inspect(models.get(model), images[-1][0])

    first = models.get(models.shipped[0])
    chosen = examples(first.domain.name)[1:2]
    page, numbers = _inspect(first, chosen[0]) if chosen else (NONE_YET, {})
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            gr.Markdown(ABOUT)
            images = image_field(chosen, "Image (of several, the last)", "patch")
            choice = Choice(models, images, "inspect")
            model = model_choice(models)
            button = gr.Button("Look for fake patches", variant="primary", elem_id="patch-button")
        with gr.Column(scale=2, min_width=300):
            maps = gr.HTML(page, js_on_load=SCRIPT.read_text(), elem_id="patch-maps")
            gr.Markdown(WORDS, elem_id="patch-words")
            values = gr.JSON(numbers, visible=False)
    gr.on(
        [button.click, images.change, choice.follow(model)],
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
    (image,) = open_uploads([path], model.check_work)
    stored = model.check(image, limits.name(path))
    if image.width * image.height > PIXELS:
        raise ImageError(f"{limits.name(path)} has {image.width}×{image.height} pixels: maps take {PIXELS:,} at most")
    with model_slot():
        found = judge(model.refiner, model.discriminator, stored, model.refiner.refine(stored))
    maps = dict(zip(("Input", "Refined"), found, strict=True))
    fields = field_of(model.discriminator, found[0].seen)
    numbers = {name.lower(): report(one) for name, one in maps.items()}
    axes = {axis: {"first": f.first, "size": f.size, "stride": f.stride} for axis, f in zip("xy", fields, strict=True)}
    return draw(maps, fields), {**numbers, "receptive_field": axes}
