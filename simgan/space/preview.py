"""Images for the eye of a visitor: small ones enlarged, large ones made smaller, 16 bits brought into 8."""

import cv2
import numpy as np
from PIL import Image

from simgan.images.arrays import Array, to_stored

WIDTH, HEIGHT = 660, 420  # a preview is enlarged until one of them is reached, by whole numbers
LARGEST = 1600  # and made smaller until no side is longer


def pair(before: Image.Image, after: Image.Image) -> tuple[Array, Array, Array]:
    """Give previews of an image, of the refined one, and of their difference: uint8, equal in size, without alpha.

    The difference is grey where nothing changed. Deep images are scaled from their common least to greatest value.
    """
    planes = [visible(to_stored(image)) for image in (before, after)]
    if planes[0].dtype != np.uint8:
        least, greatest = (float(f([f(plane) for plane in planes])) for f in (np.min, np.max))
        scale = 255 / max(greatest - least, 1)
        planes = [((plane - least) * scale).round().astype(np.uint8) for plane in planes]
    difference = np.clip(planes[1].astype(np.int16) - planes[0] + 128, 0, 255).astype(np.uint8)
    first, second, third = (resized(plane) for plane in (*planes, difference))
    return first, second, third


def resized(image: Array, *, mixed: bool = True) -> Array:
    """Bring an image, uint8 (H, W) or (H, W, 3), to a size that is seen well; not `mixed`, by its own values only."""
    height, width = image.shape[:2]
    factor = float(max(1, min(WIDTH // width, HEIGHT // height)))
    if max(height, width) > LARGEST:
        factor = LARGEST / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    smooth = cv2.INTER_CUBIC if factor >= 1 else cv2.INTER_AREA
    return cv2.resize(image, size, interpolation=smooth if mixed else cv2.INTER_NEAREST)


def visible(array: Array) -> Array:
    """Leave alpha out of a stored image: (H, W) or (H, W, 3)."""
    if array.ndim == 3 and array.shape[-1] in (2, 4):
        array = array[..., :-1]
    return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
