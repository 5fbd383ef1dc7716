"""Images as a page shows them: small ones enlarged, large ones made smaller."""

import numpy as np
from PIL import Image

from simgan.images.arrays import Array
from simgan.images.codecs import Codec

WIDTH, HEIGHT = 660, 420  # a preview is enlarged by a whole number until one of them is reached
LARGEST = 1600  # pixels of the longer side of a preview


def compare(codec: Codec, before: Array, after: Array) -> list[Array]:
    """Return previews of a stored image, of the refined one, and of their difference: RGB, equal in size."""
    images = [*codec.show(before, after), codec.difference(before, after)]
    return [resize(image, interpolate=not codec.is_depth) for image in images]


def resize(image: Array, *, interpolate: bool = True) -> Array:
    """Return an image, uint8 (H, W) or (H, W, 3), in a size that is easy to look at."""
    height, width = image.shape[:2]
    factor = float(max(1, min(WIDTH // width, HEIGHT // height)))
    if max(height, width) > LARGEST:
        factor = LARGEST / max(height, width)
    smooth = Image.Resampling.BICUBIC if factor >= 1 else Image.Resampling.BOX
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    resized = Image.fromarray(image).resize(size, smooth if interpolate else Image.Resampling.NEAREST)
    return np.asarray(resized)
