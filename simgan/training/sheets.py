"""Sample sheets: input, refined, difference, heatmap, one column an image, always of the same images."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
SCALE = 3


def write_sheet(file: Path, before: NDArray[Any], after: NDArray[Any], probability_real: NDArray[np.float32]) -> None:
    """Write a PNG of inputs and refined images, uint8 (N, H, W) or (N, H, W, 3).

    Rows: input; refined; difference (grey where nothing changed); the discriminator's map (N, h, w) of the refined
    images, from blue (looks refined, 0) to yellow (looks real, 1).
    """
    before, after = _eight_bits(before), _eight_bits(after)
    difference = np.clip(after.astype(np.int16) - before + 128, 0, 255).astype(np.uint8)
    rows = [_row(_rgb(images)) for images in (before, after, difference)]
    size = (before.shape[2], before.shape[1])
    maps = [
        cv2.resize((255 * map_).round().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for map_ in probability_real
    ]
    rows.append(_row(np.stack([cv2.applyColorMap(map_, cv2.COLORMAP_CIVIDIS)[..., ::-1] for map_ in maps])))
    sheet = np.concatenate(rows)
    image = Image.fromarray(sheet).resize((sheet.shape[1] * SCALE, sheet.shape[0] * SCALE), Image.Resampling.NEAREST)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    image.save(aside, "PNG")
    aside.replace(file)


def _eight_bits(images: NDArray[Any]) -> Images:
    return images if images.dtype == np.uint8 else (images >> 8).astype(np.uint8)


def _rgb(images: Images) -> Images:
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, -1)


def _row(images: Images) -> Images:
    """Put images (N, H, W, 3) beside each other with a black line between."""
    return np.concatenate([np.pad(image, ((0, 1), (0, 1), (0, 0))) for image in images], axis=1)
