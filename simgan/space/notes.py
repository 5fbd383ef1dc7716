"""What a visitor sees and reads of an image: previews, what it is, and whether it differs from the training images."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.Image import Resampling

from simgan.images.arrays import Array, equalize, luminance
from simgan.images.codecs import Codec
from simgan.space.events import TEXTS
from simgan.space.models import Model
from simgan.space.samples import simulator_of

WIDTH, HEIGHT = 660, 420  # a preview is enlarged by a whole number until one of them is reached
LARGEST = 1600  # pixels of the longer side of a preview
SCALE = 1.5  # a size that differs by more from the domain's is warned of
CLOSE = 48  # pixels of the side of a close-up
LABEL = (255, 214, 0)  # yellow on black lines is seen on light and dark
LAYOUT = 12  # rows of pixels at which layouts are compared

Floats = NDArray[np.float32]


def compare(codec: Codec, before: Array, after: Array) -> list[Array]:
    """Return previews of a stored image, of the refined one, and of their difference: RGB, equal in size."""
    images = [*codec.show(before, after), codec.difference(before, after)]
    return [resize(image, interpolate=not codec.is_depth) for image in images]


def resize(image: Array, *, interpolate: bool) -> Array:
    """Return an image, uint8 (H, W) or (H, W, 3), in a size that is easy to look at."""
    height, width = image.shape[:2]
    factor = min(max(1, min(WIDTH // width, HEIGHT // height)), LARGEST / max(height, width))
    smooth = Resampling.BICUBIC if factor >= 1 else Resampling.BOX
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, smooth if interpolate else Resampling.NEAREST))


def describe(model: Model, image: Array, strength: float, seconds: float) -> str:
    """Return in Markdown what a stored image is, and how it was refined."""
    return str(TEXTS.note(model, image, strength, seconds))


def unlike(model: Model, image: Array) -> list[str]:
    """Return in what a stored image is unlike those that a model was trained on, in sentences of Markdown."""
    domain = model.domain
    ratios = [a / b for a, b in zip(image.shape[1::-1], domain.size or image.shape[1::-1], strict=True)]
    size = max(ratios) > SCALE or min(ratios) < 1 / SCALE
    layout = domain.unusual_layout is not None and strangeness(model, image) > domain.unusual_layout
    bits = [8 * np.dtype(dtype).itemsize for dtype in (image.dtype, model.refiner.codec.dtype)]
    return [line for line in str(TEXTS.unlike(model, size, layout, bits)).splitlines() if line]


def side_by_side(images: Sequence[Array], gap: int = 6) -> Array:
    """Return RGB images of one height, uint8 (H, W, 3), beside each other with a white gap."""
    white = np.full((images[0].shape[0], gap, 3), 255, np.uint8)
    return np.concatenate([part for image in images for part in (white, image)][1:], axis=1)


def pair(codec: Codec, before: Array, after: Array, height: int) -> Array:
    """Return a stored image before and after refining as one RGB picture of about that height, or twice as high."""
    shown, factor = codec.show(before, after), max(1, round(height / before.shape[0]))
    if before.shape[0] > 2 * height:
        size = (max(1, round(before.shape[1] * height / before.shape[0])), height)
        return side_by_side([np.asarray(Image.fromarray(image).resize(size, Resampling.BOX)) for image in shown])
    return side_by_side([_enlarged(image, factor, not codec.is_depth) for image in shown])


def draw_labels(model: Model, before: Array, after: Array, labels: Mapping[str, Any]) -> Array | None:
    """Return a picture of both stored images with the same labels drawn over each; None where they are not drawn."""
    if model.domain.outlines is None:
        return None
    pictures = []
    for image in compare(model.refiner.codec, before, after)[:2]:
        factor = image.shape[1] / before.shape[1]
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        for line in model.domain.outlines(labels):
            places = [tuple(place) for place in ((line + 0.5) * factor).tolist()]
            pen.line(places, fill="black", width=6, joint="curve")
            pen.line(places, fill=LABEL, width=3, joint="curve")
        pictures.append(np.asarray(picture))
    return side_by_side(pictures)


def closeup(codec: Codec, before: Array, after: Array) -> Array | None:
    """Return both stored images where they differ most, enlarged; None for images that are small as a whole."""
    height, width = before.shape[:2]
    if min(height, width) < 2 * CLOSE:
        return None
    changed = np.abs(codec.difference(before, after).astype(np.float32) - 128).max(-1)
    sums = np.pad(changed.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[CLOSE:, CLOSE:] - sums[:-CLOSE, CLOSE:] - sums[CLOSE:, :-CLOSE] + sums[:-CLOSE, :-CLOSE]
    top, left = np.unravel_index(inside.argmax(), inside.shape)
    parts = [image[top : top + CLOSE, left : left + CLOSE] for image in codec.show(before, after)]
    return side_by_side([_enlarged(part, HEIGHT // CLOSE, smooth=False) for part in parts])


def _enlarged(image: Array, factor: int, smooth: bool) -> Array:
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return np.asarray(Image.fromarray(image).resize(size, Resampling.BICUBIC if smooth else Resampling.NEAREST))


def strangeness(model: Model, image: Array) -> float:
    """Return from 0 to about 1 how unlike the layout of light and dark is to that of the domain's renders.

    It is the distance of the equalized, standardized image from the space of the first principal components of renders
    (Sirovich and Kirby 1987 did so with faces); 0 where the domain has no simulator.
    """
    if simulator_of(model.domain.name) is None:
        return 0.0
    width, height = model.domain.size or (1, 1)
    size = max(1, LAYOUT * width // height), LAYOUT
    mean, components = _layout_space(model.domain.name, size)
    away = _layout(luminance(model.refiner.codec.show(image)[0]), size) - mean
    return float(np.linalg.norm(away - components.T @ (components @ away)))


def _layout(grey: Array, size: tuple[int, int]) -> Floats:
    """Return a grey image, uint8 (H, W), equalized, reduced to a size, and standardized, as a vector."""
    small = np.asarray(Image.fromarray(equalize(grey).astype(np.float32)).resize(size, Resampling.BOX)).ravel()
    centred: Floats = small - small.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


@functools.cache
def _layout_space(domain: str, size: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return mean and principal components of the layouts of renders, mirrored too, at somewhat different places."""
    simulator = simulator_of(domain)
    assert simulator is not None
    rng = np.random.default_rng(0)
    width, height = simulator.size
    margin = max(width, height) // 4
    layouts = []
    for image in simulator.render(range(200))[0]:
        wide = Image.fromarray(np.pad(image, margin, mode="edge"))
        for mirror in (1, -1):
            scale, right, down = rng.uniform(0.85, 1.2), *rng.uniform(-0.07, 0.07, 2) * width
            left, top = (margin + side * (1 - 1 / scale) / 2 - by for side, by in ((width, right), (height, down)))
            box = (left, top, left + width / scale, top + height / scale)
            moved = np.asarray(wide.resize((width, height), Resampling.BILINEAR, box))
            layouts.append(_layout(np.ascontiguousarray(moved[:, ::mirror]), size))
    mean = np.mean(layouts, axis=0)
    return mean, np.linalg.svd(layouts - mean, full_matrices=False)[2][:6]
