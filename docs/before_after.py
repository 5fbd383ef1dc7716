"""Draw the README's picture: `python docs/before_after.py docs/before-after.png`.

Renders of simgan's own simulators above, what `eyes-simulated` and `hands-simulated` make of them below, and the labels
of the renders drawn over both.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from simgan import Refiner
from simgan.simulators import SIMULATORS

HEIGHT, GAP, BAND = 280, 8, 52  # px of an image, between images, of the words above a row
SQUARE = 112  # px of the hand that are shown
EYES, HAND = (31, 13), 10  # numbers of the renders
ROWS = ("rendered: every label is known", "refined: looks real, and the labels still hold")
LABEL, ARROW = (0, 225, 255), (255, 60, 90)


def enlarged(image: np.ndarray, how: Image.Resampling) -> Image.Image:
    """Return an image `HEIGHT` px high."""
    return Image.fromarray(image).resize((round(image.shape[1] * HEIGHT / image.shape[0]), HEIGHT), how)


def eye(image: np.ndarray, labels: dict[str, Any]) -> Image.Image:
    """Return an eye with the outline of its iris and the direction of its gaze."""
    shown = enlarged(image, Image.Resampling.BICUBIC)
    pen, outline = ImageDraw.Draw(shown), (np.asarray(labels["iris"]) + 0.5) * HEIGHT / image.shape[0]
    pen.polygon([*map(tuple, outline)], outline=LABEL, width=3)
    start = outline.mean(0)
    end = start + 0.8 * HEIGHT * np.asarray(labels["gaze"])[:2]
    along = (end - start) / np.hypot(*(end - start))
    pen.line([*start, *end], fill=ARROW, width=5)
    sides = [end - 16 * along + side * np.array((-along[1], along[0])) for side in (-9, 9)]
    pen.polygon([*map(tuple, (end + 4 * along, *sides))], fill=ARROW)
    return shown


def hand(image: np.ndarray, labels: dict[str, Any]) -> Image.Image:
    """Return the square about the joints of depth in colours, with them."""
    joints = np.asarray(labels["joints"])[:, :2]
    corner = ((joints.min(0) + joints.max(0)) / 2 - SQUARE / 2).round().astype(int)
    part = image[corner[1] : corner[1] + SQUARE, corner[0] : corner[0] + SQUARE]
    shown = enlarged(part, Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(shown)
    for x, y in (joints - corner + 0.5) * HEIGHT / SQUARE:
        pen.ellipse([x - 5, y - 5, x + 5, y + 5], fill=ARROW, outline="white")
    return shown


def pairs() -> list[tuple[Image.Image, Image.Image]]:
    """Return rendered and refined images, with the labels drawn over both."""
    drawn = []
    for name, numbers, draw in (("eyes", EYES, eye), ("hands", (HAND,), hand)):
        images, labels = SIMULATORS[f"simulator:{name}"].render(numbers)
        refiner = Refiner.from_pretrained(f"{name}-simulated")
        for number, image in enumerate(images):
            shown = refiner.codec.show(image, refiner.refine(image))
            drawn.append(tuple(draw(one, {key: values[number] for key, values in labels.items()}) for one in shown))
    return drawn


def main(file: Path) -> None:
    """Write the picture."""
    rows = [*zip(*pairs(), strict=True)]
    width = sum(image.width + GAP for image in rows[0]) + GAP
    sheet = Image.new("RGB", (width, 2 * (HEIGHT + BAND) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(34)
    for number, (words, images) in enumerate(zip(ROWS, rows, strict=True)):
        top, left = number * (HEIGHT + BAND), GAP
        pen.text((left, top + BAND / 2), words, "black", font, anchor="lm")
        for image in images:
            sheet.paste(image, (left, top + BAND))
            left += image.width + GAP
    sheet.quantize(256).save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
