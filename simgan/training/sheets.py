"""Sample sheets: input, refined, difference and discriminator's map, one column an image, always the same images."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.images.codecs import Codec

Pixels = NDArray[np.uint8]
SCALE = 3  # of small images
_SMALL = 100  # px


def scale_of(height: int) -> int:
    """Return how many pixels of a sheet one pixel of an image with so many rows takes."""
    return SCALE if height <= _SMALL else 1


def write_sheet(
    file: Path, before: NDArray[Any], after: NDArray[Any], probability_real: NDArray[np.float32], codec: Codec
) -> None:
    """Write a PNG of stored images before and after refining, (N, H, W) or (N, H, W, 3), as the codec shows them.

    Rows: input; refined; difference (grey where nothing changed); the discriminator's map (N, h, w) of the refined
    images, from blue (looks refined, 0) to yellow (looks real, 1).
    """
    size = (before.shape[2], before.shape[1])
    columns = []
    for first, second, probability in zip(before, after, probability_real, strict=True):
        map_ = cv2.resize((255 * probability).round().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        heat = cv2.applyColorMap(map_, cv2.COLORMAP_CIVIDIS)[..., ::-1]
        cells = [*codec.show(first, second), codec.difference(first, second), heat]
        columns.append(np.concatenate([np.pad(cell, ((0, 1), (0, 1), (0, 0))) for cell in cells]))
    sheet, scale = np.concatenate(columns, axis=1), scale_of(size[1])
    image = Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    image.save(aside, "PNG", optimize=True)
    aside.replace(file)
