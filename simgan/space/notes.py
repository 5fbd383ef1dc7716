"""What a visitor reads about an image: what it is, and whether it differs from those that the model was trained on."""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.images.arrays import Array, equalize, luminance
from simgan.space.models import Model
from simgan.space.samples import simulator_of

SCALE = 1.5  # a size that differs by more from the domain's is warned of
HEIGHT = 12  # pixels at which layouts are compared
COMPONENTS = 6

Floats = NDArray[np.float32]


def describe(model: Model, image: Array, strength: float, seconds: float) -> str:
    """Return in Markdown what a stored image is, how it was refined, and in what it is unlike the training images."""
    took = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    kind = f"{image.shape[1]}×{image.shape[0]}, {model.codec.describe(image)}"
    lines = [f"{kind}, refined by `{model.name}` at strength {strength:g} in {took}."]
    lines.append(f"{model.codec.legend} In the difference image: {model.domain.words.legend}.".strip())
    return "\n\n".join(lines + [f"⚠️ {warning}" for warning in warnings(model, image)])


def warnings(model: Model, image: Array) -> list[str]:
    """Return the ways in which a stored image is unlike those that the model was trained on."""
    domain, found = model.domain, []
    if domain.size is not None:
        width, height = domain.size
        ratios = (image.shape[1] / width, image.shape[0] / height)
        if max(ratios) > SCALE or min(ratios) < 1 / SCALE:
            found.append(
                f"**Unusual size.** The model was trained on {domain.words.images} of {width}×{height} pixels. The "
                "image was refined as it is, but do not trust details of another scale: crop it, and bring it to that "
                "size."
            )
    if domain.unusual_layout is not None and strangeness(model, image) > domain.unusual_layout:
        found.append(
            f"**Unusual layout.** Light and dark are not where they are in the {domain.words.images} that the model "
            "was trained on. The image was refined as it is, but what the model adds has no meaning here."
        )
    if image.dtype != model.codec.dtype:
        bits = (8 * np.dtype(dtype).itemsize for dtype in (image.dtype, model.codec.dtype))
        found.append("**{} bits.** The model was trained on images of {} bits.".format(*bits))
    return found


def strangeness(model: Model, image: Array) -> float:
    """Return from 0 to about 1 how unlike the layout of light and dark is to that of the domain's renders.

    It is the distance of the equalized, standardized image from the space of the first principal components of renders
    (Sirovich and Kirby 1987 did so with faces); 0 where the domain has no simulator.
    """
    space = _layout_space(model)
    if space is None:
        return 0.0
    mean, components = space
    away = _layout(luminance(model.codec.show(image)[0]), _size(model)) - mean
    return float(np.linalg.norm(away - components.T @ (components @ away)))


def _size(model: Model) -> tuple[int, int]:
    width, height = model.domain.size or (1, 1)
    return max(1, HEIGHT * width // height), HEIGHT


def _layout(grey: Array, size: tuple[int, int]) -> Floats:
    """Return a grey image, uint8 (H, W), equalized, reduced to a size, and standardized, as a vector."""
    small = np.asarray(Image.fromarray(equalize(grey).astype(np.float32)).resize(size, Image.Resampling.BOX)).ravel()
    centred: Floats = small - small.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


def _layout_space(model: Model) -> tuple[Floats, Floats] | None:
    return _space_of(model.domain.name, _size(model))


@functools.cache
def _space_of(domain: str, size: tuple[int, int]) -> tuple[Floats, Floats] | None:
    """Return mean and principal components of the layouts of renders, mirrored too, at somewhat different places."""
    simulator = simulator_of(domain)
    if simulator is None:
        return None
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
            moved = np.asarray(wide.resize((width, height), Image.Resampling.BILINEAR, box))
            layouts.append(_layout(np.ascontiguousarray(moved[:, ::mirror]), size))
    mean = np.mean(layouts, axis=0)
    return mean, np.linalg.svd(layouts - mean, full_matrices=False)[2][:COMPONENTS]
