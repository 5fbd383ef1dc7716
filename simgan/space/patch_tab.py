"""The tab Where it looks fake: the discriminator's patch maps of the input and of the refined image."""

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from simgan.discriminator import Discriminator, ReceptiveField, receptive_field
from simgan.errors import ImageError, ModelError
from simgan.images import codecs
from simgan.images.arrays import Array, equalize_images, luminance
from simgan.images.files import encode_png
from simgan.refiner import Refiner
from simgan.space.events import HERE, MODEL, MODEL_QUEUE, TEXTS, show_errors
from simgan.space.models import Model, Models, check_image
from simgan.space.refine_tab import NONE_YET
from simgan.space.samples import Upload, examples, image_fields
from simgan.space.uploads import open_uploads

PIXELS = 1_000_000  # of an image: each patch is sent to the page
REFINED, REAL = (30, 90, 255), (255, 196, 0)  # blue and yellow, which colour-blind people can distinguish
STRONGEST = 0.8  # opacity at 0 and 1; a patch of probability 0.5 is transparent
_OPACITY = 255 * STRONGEST * np.abs(np.linspace(-1, 1, 256)) ** 0.7
SCALE = np.c_[np.repeat([REFINED, REAL], 128, axis=0), _OPACITY].round().astype(np.uint8)  # (256, 4): of 0 to 1
Fields = tuple[ReceptiveField, ReceptiveField]  # along x and y


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @show_errors
    def inspect(images: Upload, model: str) -> tuple[str, dict[str, Any]]:
        """Return the patch maps of an image and of its refined version, as HTML and as numbers."""
        return _inspect(models.get(model), images[-1][0]) if images else (NONE_YET, {})

    first, example = next((one, examples(domain)[1]) for domain, one in models.domains().items() if examples(domain))
    page, numbers = _inspect(first, example)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            gr.Markdown(TEXTS.patches())
            images, model, fits = image_fields(models, "patch", "inspect", "Image (of several, the last)", example)
            button = gr.Button("Look for fake patches", variant="primary", elem_id="patch-button")
        with gr.Column(scale=2, min_width=300):
            maps = gr.HTML(page, js_on_load=(HERE / "patch_map.js").read_text(encoding="utf-8"), elem_id="patch-maps")
            gr.Markdown(TEXTS.patches_below(), elem_id="patch-words")
            values = gr.JSON(numbers, visible=False)
    settings = MODEL_QUEUE | {"api_name": "inspect", "trigger_mode": "always_last", "show_progress_on": maps}
    gr.on([button.click, images.change, fits], inspect, [images, model], [maps, values], **settings)


def _inspect(model: Model, path: str) -> tuple[str, dict[str, Any]]:
    name = Path(path).name
    if model.discriminator is None:
        raise ModelError(f"{model.name} comes without a discriminator, which draws the map: choose another model")
    (opened,) = open_uploads([path], min(PIXELS, model.most_pixels(1)))
    if isinstance(opened, ImageError):
        raise opened
    image = opened.image
    stored = check_image(model.refiner, image, name)
    if image.width * image.height > PIXELS:
        raise ImageError(f"{name} has {image.width}×{image.height} pixels: maps take {PIXELS:,} at most")
    with MODEL:
        found = judge(model.refiner, model.discriminator, stored, model.refiner.refine(stored))
    maps = dict(zip(("Input", "Refined"), found, strict=True))
    fields = field_of(model.discriminator, found[0].seen)
    numbers: dict[str, Any] = {"receptive_field": {axis: asdict(one) for axis, one in zip("xy", fields, strict=True)}}
    for side, one in maps.items():
        mean = round(float(one.probability_real.mean()), 4)
        numbers[side.lower()] = {"mean": mean, "map": one.probability_real.astype(float).round(4).tolist()}
    return draw(maps, fields), numbers


@dataclass(frozen=True)
class PatchMap:
    """An image as the discriminator sees it, uint8 (H, W) or (H, W, 3), and its probabilities of being real, (h, w)."""

    seen: Array
    probability_real: NDArray[np.float32]


def judge(refiner: Refiner, discriminator: Discriminator, *images: Array) -> list[PatchMap]:
    """Return the discriminator's maps of stored images of one scene, seen as in training, in the first one's window."""
    codec = codecs.get(codecs.fitting(refiner.config.codec, discriminator.config.channels))
    windows = codec.windows(images[0][None])
    planes = [codec.planes(image[None]) for image in images]
    if refiner.config.equalize:
        planes = [equalize_images(plane) for plane in planes]
    shown = codec.show(*(plane[0] for plane in planes))
    tensors = (codec.to_tensor(plane, windows) for plane in planes)
    maps = [discriminator.probability_real(tensor)[0].float().numpy() for tensor in tensors]
    return list(map(PatchMap, map(luminance, shown) if codec.channels == 1 else shown, maps))


def field_of(discriminator: Discriminator, image: Array) -> Fields:
    """Return the receptive fields of patches along x and y; a global discriminator has one patch, the whole image."""
    if discriminator.config.scope == "global":
        height, width = image.shape[:2]
        return ReceptiveField(0, width, width), ReceptiveField(0, height, height)
    field = receptive_field(discriminator.config.layers)
    return field, field


def draw(maps: dict[str, PatchMap], fields: Fields) -> str:
    """Return the maps side by side as HTML, each with its name; `patch_map.js` shows the value of a patch."""
    stops = ", ".join(f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in SCALE[:: 255 // 15].tolist())
    places = {axis: list(asdict(field).values()) for axis, field in zip("xy", fields, strict=True)}
    starts = [100 * (field.first + (field.size - field.stride) / 2) for field in fields]
    described = []
    for name, found in maps.items():
        values = (255 * found.probability_real).round().astype(np.uint8)
        (rows, columns), (height, width) = values.shape, found.seen.shape[:2]
        sizes = {"name": name, "width": width, "height": height, "rows": rows, "columns": columns}
        extents = 100 * columns * fields[0].stride / width, 100 * rows * fields[1].stride / height
        described.append(
            sizes
            | {
                "data": json.dumps(sizes | places | {"values": base64.b64encode(values.tobytes()).decode()}),
                "percent": f"{100 * found.probability_real.mean():.0f}",
                "seen": base64.b64encode(encode_png(np.ascontiguousarray(found.seen))).decode(),
                "heat": base64.b64encode(encode_png(SCALE[values])).decode(),
                "box": (starts[0] / width, starts[1] / height, *extents),  # left, top, width and height in percent
            }
        )
    return str(TEXTS.patch_maps(described, stops))
