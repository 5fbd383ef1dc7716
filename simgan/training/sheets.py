"""Sample sheets: input, refined, difference, heatmap, one column an image, always of the same images."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from simgan.images.colours import colour, difference, span

Images = NDArray[np.uint8]
SCALE = 3  # of what is small
CHANGE = 10  # mm, of the difference's white and black
_SMALL = 100  # px


def scale_of(height: int) -> int:
    """Tell how many pixels of a sheet one of an image of so many rows is wide."""
    return SCALE if height <= _SMALL else 1


def write_sheet(file: Path, before: NDArray[Any], after: NDArray[Any], probability_real: NDArray[np.float32]) -> None:
    """Write a PNG of inputs and refined images: uint8 (N, H, W) or (N, H, W, 3), or depth, uint16 (N, H, W) in mm.

    Rows: input; refined; difference (grey where nothing changed); the discriminator's map (N, h, w) of the refined
    images, from blue (looks refined, 0) to yellow (looks real, 1). Depth is in viridis from its nearest reading
    (yellow) to its farthest, black where there is none; its difference as `simgan.images.colours` has it, to 10 mm.
    """
    rows = [_row(images) for images in (_depths(before, after) if before.dtype == np.uint16 else _tones(before, after))]
    size = (before.shape[2], before.shape[1])
    maps = [
        cv2.resize((255 * map_).round().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        for map_ in probability_real
    ]
    rows.append(_row(np.stack([cv2.applyColorMap(map_, cv2.COLORMAP_CIVIDIS)[..., ::-1] for map_ in maps])))
    sheet, scale = np.concatenate(rows), scale_of(size[1])
    image = Image.fromarray(sheet).resize((sheet.shape[1] * scale, sheet.shape[0] * scale), Image.Resampling.NEAREST)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    image.save(aside, "PNG", optimize=True)
    aside.replace(file)


def _tones(before: Images, after: Images) -> list[Images]:
    moved = np.clip(after.astype(np.int16) - before + 128, 0, 255).astype(np.uint8)
    return [_rgb(images) for images in (before, after, moved)]


def _depths(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> list[Images]:
    spans = [span(image) for image in before]
    return [
        *(np.stack([colour(*pair) for pair in zip(images, spans, strict=True)]) for images in (before, after)),
        np.stack([difference(*pair, CHANGE) for pair in zip(before, after, strict=True)]),
    ]


def _rgb(images: Images) -> Images:
    return images if images.ndim == 4 else np.repeat(images[..., None], 3, -1)


def _row(images: Images) -> Images:
    """Put images (N, H, W, 3) beside each other with a black line between."""
    return np.concatenate([np.pad(image, ((0, 1), (0, 1), (0, 0))) for image in images], axis=1)
