"""The tab Where it looks fake: the discriminator's patch maps of the input and of the refined image."""

import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.discriminator import Discriminator, ReceptiveField, receptive_field
from simgan.errors import ImageError, ModelError
from simgan.images import codecs
from simgan.images.arrays import Array, equalize_images, luminance
from simgan.images.files import encode_png
from simgan.refiner import Refiner
from simgan.space.accelerator import compute
from simgan.space.events import HERE, MODEL, MODEL_QUEUE, TEXTS
from simgan.space.failures import stay_in_place
from simgan.space.models import Model, Models, check_image
from simgan.space.notes import unlike
from simgan.space.refine_tab import NONE_YET
from simgan.space.samples import Upload, examples, image_fields
from simgan.space.uploads import open_uploads

PIXELS = 1_000_000  # of an image: each patch is sent to the page
REFINED, REAL = (30, 90, 255), (255, 196, 0)  # blue and yellow, which colour-blind people can distinguish
STRONGEST = 0.8  # opacity at 0 and 1; a patch of probability 0.5 is transparent
NONE = 255  # in place of a probability of 0 to 254: a patch without anything of what the image is of
_OPACITY = 255 * STRONGEST * np.abs(np.linspace(-1, 1, NONE)) ** 0.7
SCALE = np.c_[np.repeat([REFINED, REAL], 128, axis=0)[:NONE], _OPACITY].round().astype(np.uint8)  # (255, 4): of 0 to 1
Fields = tuple[ReceptiveField, ReceptiveField]  # along x and y


def add(models: Models) -> None:
    """Build the tab inside the current `gr.Tab`."""

    @stay_in_place({})
    def inspect(images: Upload, model: str) -> tuple[str, dict[str, Any]]:
        """Return the patch maps of an image and of its refined version, as HTML and as numbers."""
        return _inspect(models.get(model), images[-1][0]) if images else (NONE_YET, {})

    domain, first = next(found for found in models.domains().items() if examples(found[0]))
    example = most_telling(first, examples(domain))
    page, numbers = _inspect(first, example)
    gr.Markdown(TEXTS.patches())
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            images, model, moment = image_fields(models, "patch", "inspect", "Image (of several, the last)", example)
            button = gr.Button("Look for fake patches", variant="primary", elem_id="patch-button")
        with gr.Column(scale=2, min_width=300, elem_id="patch-result"):
            maps = gr.HTML(page, js_on_load=(HERE / "patch_map.js").read_text(encoding="utf-8"), elem_id="patch-maps")
            gr.Markdown(TEXTS.patches_below(), elem_id="patch-words")
            values = gr.JSON(numbers, visible=False)
    settings = MODEL_QUEUE | {"api_name": "inspect", "trigger_mode": "always_last", "show_progress_on": maps}
    gr.on([button.click, images.change, moment.change], inspect, [images, model], [maps, values], **settings)


def _inspect(model: Model, path: str) -> tuple[str, dict[str, Any]]:
    name = Path(path).name
    if model.discriminator is None:
        raise ModelError(f"{model.name} comes without a discriminator, which draws the map: choose another model")
    (opened,) = open_uploads([path], min(PIXELS, model.most_pixels(1)))
    if isinstance(opened, ImageError):
        raise opened
    model.check_work([opened.image.width * opened.image.height])
    stored = check_image(model.refiner, opened.image, name)
    with MODEL:
        found = compute(judge_both, model, stored)
    maps = dict(zip(("Input", "Refined"), found, strict=True))
    fields = field_of(model.discriminator, found[0].seen)
    numbers: dict[str, Any] = {"receptive_field": {axis: asdict(one) for axis, one in zip("xy", fields, strict=True)}}
    for side, one in maps.items():
        mean = round(mean_of(one, fields), 4)
        numbers[side.lower()] = {"mean": mean, "map": one.probability_real.astype(float).round(4).tolist()}
    told = [*opened.done, *(sentence.replace("**", "") for sentence in unlike(model, stored))]
    return TEXTS.done(told) + draw(maps, fields), numbers


def most_telling(model: Model, paths: Sequence[str]) -> str:
    """Return the image of those files that gains most by being refined, as the model's discriminator judges it."""
    discriminator = model.discriminator
    if discriminator is None:
        return paths[0]

    def gain(path: str) -> float:
        before, after = judge_both(model, check_image(model.refiner, Image.open(path), path))
        fields = field_of(discriminator, before.seen)
        return mean_of(after, fields) - mean_of(before, fields)

    return max(paths, key=gain)


@dataclass(frozen=True)
class PatchMap:
    """An image as the discriminator sees it, and its probabilities of being real, (h, w).

    `seen` is uint8 (H, W) or (H, W, 3); `subject`, bool (H, W), is where it is not background.
    """

    seen: Array
    probability_real: NDArray[np.float32]
    subject: NDArray[np.bool_]


def judge_both(model: Model, stored: Array) -> list[PatchMap]:
    """Return the maps of a stored image and of the refined one, by the discriminator that the model has."""
    assert model.discriminator is not None
    return judge(model.refiner, model.discriminator, stored, model.refiner.refine(stored))


def judge(refiner: Refiner, discriminator: Discriminator, *images: Array) -> list[PatchMap]:
    """Return the discriminator's maps of stored images of one scene, seen as in training, in the first one's window."""
    codec = codecs.get(codecs.fitting(refiner.config.codec, discriminator.config.channels))
    windows = codec.windows(images[0][None])
    planes = [codec.planes(image[None]) for image in images]
    if refiner.config.equalize:
        planes = [equalize_images(plane) for plane in planes]
    shown = codec.show(*(plane[0] for plane in planes))
    tensors = (codec.to_tensor(plane, windows) for plane in planes)
    maps = [discriminator.probability_real(tensor)[0].float().cpu().numpy() for tensor in tensors]
    seen = map(luminance, shown) if codec.channels == 1 else shown
    return [PatchMap(*both, codec.subject(images[0])) for both in zip(seen, maps, strict=True)]


def cells(found: PatchMap, fields: Fields) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row of patches that each row of pixels belongs to, (H,), and the columns, (W,).

    The cell of a patch is what is nearest to the middle of its receptive field.
    """

    def patch(field: ReceptiveField, pixels: int, patches: int) -> NDArray[np.intp]:
        place = (np.arange(pixels) - field.first - (field.size - field.stride) / 2) // field.stride
        return place.clip(0, patches - 1).astype(np.intp)

    (height, width), (rows, columns) = found.subject.shape, found.probability_real.shape
    return patch(fields[1], height, rows), patch(fields[0], width, columns)


def has_subject(found: PatchMap, fields: Fields) -> NDArray[np.bool_]:
    """Return the patches whose cells hold something of the subject, bool (h, w)."""
    rows, columns = cells(found, fields)
    held = np.zeros(found.probability_real.shape, bool)
    np.logical_or.at(held, (rows[:, None], columns[None]), found.subject)
    return held


def mean_of(found: PatchMap, fields: Fields) -> float:
    """Return the mean probability of being real, over the patches that hold something of the subject."""
    return float(found.probability_real[has_subject(found, fields)].mean())


def field_of(discriminator: Discriminator, image: Array) -> Fields:
    """Return the receptive fields of patches along x and y; a global discriminator has one patch, the whole image."""
    if discriminator.config.scope == "global":
        height, width = image.shape[:2]
        return ReceptiveField(0, width, width), ReceptiveField(0, height, height)
    field = receptive_field(discriminator.config.layers)
    return field, field


def draw(maps: dict[str, PatchMap], fields: Fields) -> str:
    """Return the maps side by side as HTML, each with its name; `patch_map.js` shows the value of a patch."""
    stops = ", ".join(f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in SCALE[:: NONE // 15].tolist())
    places = {axis: list(asdict(field).values()) for axis, field in zip("xy", fields, strict=True)}
    described = []
    for name, found in maps.items():
        values = (254 * found.probability_real).round().astype(np.uint8)
        rows, columns = cells(found, fields)
        heat = SCALE[values[rows[:, None], columns]]
        heat[~found.subject] = 0
        (height, width), sent = found.seen.shape[:2], np.where(has_subject(found, fields), values, NONE)
        sizes = {"name": name, "width": width, "height": height, "rows": len(values), "columns": values.shape[1]}
        described.append(
            sizes
            | {
                "data": json.dumps(sizes | places | {"values": base64.b64encode(sent.tobytes()).decode()}),
                "percent": f"{100 * mean_of(found, fields):.0f}",
                "seen": base64.b64encode(encode_png(np.ascontiguousarray(found.seen))).decode(),
                "heat": base64.b64encode(encode_png(heat)).decode(),
            }
        )
    return str(TEXTS.patch_maps(described, stops))
