"""The discriminator's patch map, drawn over the image: each patch at the place of its receptive field.

A patch is drawn as a cell of one stride, centred on its receptive field. The field is larger than the cell and overlaps
its neighbours; it is outlined when a patch is chosen. All maps have the same colour scale.
"""

import base64
import html
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.discriminator import Discriminator, ReceptiveField, receptive_field
from simgan.images import codecs
from simgan.images.arrays import Array, equalize, luminance
from simgan.images.files import encode_png
from simgan.refiner import Refiner

REFINED, REAL = (30, 90, 255), (255, 196, 0)  # blue and yellow, which colour-blind people can distinguish
STRONGEST = 0.8  # opacity at 0 and 1; a patch of probability 0.5 is transparent


def _scale() -> Array:
    certainty = np.abs(np.linspace(-1, 1, 256))
    colours = np.where(np.arange(256)[:, None] < 128, REFINED, REAL)
    return np.c_[colours, 255 * STRONGEST * certainty**0.7].round().astype(np.uint8)


SCALE = _scale()  # (256, 4): red, green, blue and opacity of the probabilities 0 to 1


@dataclass(frozen=True)
class PatchMap:
    """An image as the discriminator sees it, uint8 (H, W) or (H, W, 3), and its probabilities of being real, (h, w)."""

    seen: Array
    probability_real: NDArray[np.float32]

    @property
    def mean(self) -> float:
        """The mean probability over all patches."""
        return float(self.probability_real.mean())


def judge(refiner: Refiner, discriminator: Discriminator, *images: Array) -> list[PatchMap]:
    """Return the discriminator's maps of stored images of one scene, which it sees as in training.

    That is without alpha, in its own number of channels, equalized if its training images were, and in the first
    image's window of depth.
    """
    codec = codecs.get(codecs.fitting(refiner.config.codec, discriminator.config.channels))
    windows = codec.windows(images[0][None])
    planes = [codec.planes(image[None]) for image in images]
    if refiner.config.equalize:
        planes = [equalize(p) if p.ndim == 3 else np.moveaxis(equalize(np.moveaxis(p, -1, 1)), 1, -1) for p in planes]
    shown = codec.show(*(plane[0] for plane in planes))
    return [
        PatchMap(
            luminance(seen) if codec.channels == 1 else seen,
            discriminator.probability_real(codec.to_tensor(plane, windows))[0].float().numpy(),
        )
        for seen, plane in zip(shown, planes, strict=True)
    ]


def field_of(discriminator: Discriminator, image: Array) -> tuple[ReceptiveField, ReceptiveField]:
    """Return the receptive fields of patches along x and y; a global discriminator has one patch, the whole image."""
    if discriminator.config.scope == "global":
        height, width = image.shape[:2]
        return ReceptiveField(0, width, width), ReceptiveField(0, height, height)
    field = receptive_field(discriminator.config.layers)
    return field, field


def draw(maps: dict[str, PatchMap], fields: tuple[ReceptiveField, ReceptiveField]) -> str:
    """Return the maps side by side as HTML, each with its name; `patch_map.js` shows the value of a patch."""
    figures = "".join(_figure(name, found, fields) for name, found in maps.items())
    stops = ", ".join(f"rgb({r} {g} {b} / {a / 255:.2f})" for r, g, b, a in SCALE[:: 255 // 15].tolist())
    return (
        f'<div class="patch-maps">{figures}</div>'
        f'<div class="patch-value" role="status">Point at a patch, tap it, or choose it with the arrow keys.</div>'
        f'<div class="patch-legend"><span>0: refined</span>'
        f'<i style="background: linear-gradient(90deg, {stops}), #808080"></i>'
        "<span>1: real</span></div>"
    )


def _figure(name: str, found: PatchMap, fields: tuple[ReceptiveField, ReceptiveField]) -> str:
    height, width = found.seen.shape[:2]
    rows, columns = found.probability_real.shape
    heat = SCALE[(255 * found.probability_real).round().astype(np.uint8)]
    boxes = []
    for field, count, extent in ((fields[0], columns, width), (fields[1], rows, height)):
        start = field.first + (field.size - field.stride) / 2
        boxes.append((100 * start / extent, 100 * count * field.stride / extent))
    (left, wide), (top, high) = boxes
    data = {
        "name": name,
        "width": width,
        "height": height,
        "rows": rows,
        "columns": columns,
        "x": [fields[0].first, fields[0].size, fields[0].stride],
        "y": [fields[1].first, fields[1].size, fields[1].stride],
        "values": base64.b64encode((255 * found.probability_real).round().astype(np.uint8).tobytes()).decode(),
    }
    label = f"{name}: patch map of {columns} by {rows} patches; arrow keys go from patch to patch"
    return (
        f'<figure class="patch-map" data-map="{html.escape(json.dumps(data))}">'
        f"<figcaption><b>{html.escape(name)}</b><span>mean probability of being real "
        f"<b>{100 * found.mean:.0f} %</b></span></figcaption>"
        f'<div class="stage" tabindex="0" role="application" aria-roledescription="patch map" '
        f'aria-label="{html.escape(label)}" style="aspect-ratio: {width} / {height}">'
        f'<img class="seen" alt="{html.escape(name)}, as the discriminator sees it" src="{_data(found.seen)}">'
        f'<img class="heat" alt="" src="{_data(heat)}" '
        f'style="left: {left:.4f}%; top: {top:.4f}%; width: {wide:.4f}%; height: {high:.4f}%">'
        '<i class="field"></i><i class="cell"></i></div></figure>'
    )


def _data(image: Array) -> str:
    return "data:image/png;base64," + base64.b64encode(encode_png(np.ascontiguousarray(image))).decode()


def report(found: PatchMap) -> dict[str, Any]:
    """Return a map as numbers for code that calls the Space: rows of probabilities, and their mean."""
    return {"mean": round(found.mean, 4), "map": found.probability_real.astype(float).round(4).tolist()}
