"""Draw the README's picture: `python docs/before_after.py docs/before-after.png`.

Renders of simgan's own simulators above, what `eyes-simulated` and `hands-simulated` make of them below, and the labels
of the renders drawn over both.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from simgan import Refiner
from simgan.domains import find
from simgan.simulators import SIMULATORS

HEIGHT, GAP, BAND = 280, 8, 52  # px of an image, between images, of the words above a row
SQUARE = 112  # px of a larger image that are shown
EYES, HAND = (31, 13), 10  # numbers of the renders
ROWS = ("rendered: every label is known", "refined: like a camera's, and the labels still hold")
LABEL = (0, 225, 255)


def labelled(image: np.ndarray, lines: list[np.ndarray], side: int, how: Image.Resampling) -> Image.Image:
    """Return an image `HEIGHT` px high, of it at most the square of `side` px about lines, with the lines drawn."""
    places = np.concatenate(lines)
    middle, size = (places.min(0) + places.max(0)) / 2, np.minimum(image.shape[1::-1], side)
    left, top = np.clip((middle - size / 2).round().astype(int), 0, image.shape[1::-1] - size)
    shown = Image.fromarray(image[top : top + size[1], left : left + size[0]])
    scale = HEIGHT / shown.height
    shown = shown.resize((round(shown.width * scale), HEIGHT), how)
    pen = ImageDraw.Draw(shown)
    for line in lines:
        pen.line([tuple(place) for place in (line - (left, top) + 0.5) * scale], fill=LABEL, width=4, joint="curve")
    return shown


def pairs() -> list[tuple[Image.Image, Image.Image]]:
    """Return rendered and refined images, with the labels drawn over both."""
    drawn = []
    for name, numbers in (("eyes", EYES), ("hands", (HAND,))):
        images, labels = SIMULATORS[f"simulator:{name}"].render(numbers)
        refiner, domain = Refiner.from_pretrained(f"{name}-simulated"), find(name)
        how = Image.Resampling.NEAREST if refiner.codec.is_depth else Image.Resampling.BICUBIC
        for number, image in enumerate(images):
            shown = refiner.codec.show(image, refiner.refine(image))
            lines = domain.outlines({key: values[number] for key, values in labels.items()})
            drawn.append(tuple(labelled(one, lines, SQUARE, how) for one in shown))
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
