"""What a visitor is told about an image: what it is, and whether it is far from what the model was trained on."""

import functools

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.domains import find
from simgan.images.arrays import Array, equalize, to_stored
from simgan.images.depth import find_window, stored_depth
from simgan.refining.engine import is_of_depth
from simgan.simulators.eyes import renders as eyes
from simgan.space.depths import LEGEND
from simgan.space.models import Model
from simgan.space.preview import visible

SCALE = 1.5  # by how much the size may differ from the domain's before a visitor is warned
SMALL = (18, 12)  # pixels at which it is compared how light and dark are laid out
COMPONENTS, STRANGE = 6, 0.85


def describe(model: Model, image: Image.Image, strength: float, seconds: float) -> str:
    """Say in Markdown what was refined by what, and warn where the result is not to be trusted."""
    if is_of_depth(model.refiner):
        window = find_window(stored_depth(image))
        kind = f"16-bit depth, the hand within {window.near:.0f}–{window.near + window.depth:.0f} mm"
    else:
        depth = "16-bit" if image.mode.startswith("I") else "8-bit"
        kind = f"{depth} {'colour' if image.mode in ('RGB', 'RGBA') else 'grey'}"
    took = f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
    lines = [f"{image.width}×{image.height}, {kind}, refined by `{model.name}` at strength {strength:g} in {took}."]
    if is_of_depth(model.refiner):
        lines.append(LEGEND)
    return "\n\n".join(lines + [f"⚠️ {warning}" for warning in warnings(model, image)])


def warnings(model: Model, image: Image.Image) -> list[str]:
    """Say in which ways an image differs from those that the model was trained on."""
    domain = find(model.refiner.config.domain)
    if domain.size is None:
        return []
    found = []
    width, height = domain.size
    wide, high = image.width / width, image.height / height
    if max(wide, high) > SCALE or min(wide, high) < 1 / SCALE:
        found.append(
            f"**Another size than the model knows.** It was trained on {domain.name} of {width}×{height} "
            "pixels. The image was refined all the same, but details of another scale are not to be trusted: crop it "
            "to one of them, and make that as large."
        )
    if domain.name == "eyes" and strangeness(visible(to_stored(image))) > STRANGE:
        found.append(
            "**Hardly an eye.** Light and dark are laid out otherwise than in the eye crops that the model was trained "
            "on. It was refined all the same, but what the model adds has no meaning here."
        )
    if domain.name == "eyes" and image.mode.startswith("I"):
        found.append("**16 bits.** The model was trained on images of 8 bits.")
    return found


def strangeness(image: Array) -> float:
    """How little an image, (H, W) or (H, W, 3), is laid out like an eye: from 0 to about 1.

    The distance of the equalized, standardized image to the space of the first principal components of eyes (Sirovich
    and Kirby 1987 did so with faces). More than 0.85: 0.5 % of renders, 2 % of UnityEyes' crops, 5 % of SynthesEyes',
    3 % of MPIIGaze's, all images of noise, and half of the crops at random places of photographs.
    """
    mean, components = _eye_space()
    away = _layout(image) - mean
    return float(np.linalg.norm(away - components.T @ (components @ away)))


def _layout(image: Array) -> NDArray[np.float32]:
    grey = image if image.ndim == 2 else cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(equalize(grey).astype(np.float32), SMALL, interpolation=cv2.INTER_AREA).ravel()
    centred = small - small.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-6)


@functools.cache
def _eye_space() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and principal components of renders, left and right eyes, at places and scales a little apart."""
    chance = np.random.default_rng(0)
    layouts = []
    for image in eyes.render(range(200))[0]:
        height, width = image.shape
        for mirror in (1, -1):
            scale, right, down = chance.uniform(0.85, 1.2), *chance.uniform(-4, 4, 2)
            place = np.array([[scale, 0, (1 - scale) * width / 2 + right], [0, scale, (1 - scale) * height / 2 + down]])
            moved = cv2.warpAffine(image, place, (width, height), borderMode=cv2.BORDER_REPLICATE)
            layouts.append(_layout(np.ascontiguousarray(moved[:, ::mirror])))
    mean = np.mean(layouts, axis=0)
    return mean, np.linalg.svd(layouts - mean, full_matrices=False)[2][:COMPONENTS]
