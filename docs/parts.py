"""Draw an example to try simgan on: `python docs/parts.py renders/ photos/`, 64×64 in colour, with classes and points.

Renders show nuts, washers, gears and brackets in any colour on any background. What stands for photographs shows the
same parts in steel and brass on wood, with shadows, in one light, a little blurred and with noise. Both are drawn here.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np

SIDE, FINER = 64, 4  # px of an image; times as fine are parts drawn
CLASSES = ("nut", "washer", "gear", "bracket")


def outline(part: str) -> tuple[np.ndarray, float]:
    """Return the outline of a part, (N, 2) about its centre with a radius of 1, and the radius of its hole or 0."""
    if part == "bracket":
        return np.array([(-0.8, -0.8), (-0.2, -0.8), (-0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (-0.8, 0.8)]), 0.0
    corners = {"nut": 6, "washer": 48, "gear": 40}[part]
    radius = np.where(np.arange(corners) % 4 < 2, 1.0, 0.8) if part == "gear" else np.ones(corners)
    angles = 2 * np.pi * np.arange(corners) / corners
    return radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1), {"washer": 0.55}.get(part, 0.4)


def draw(part: str, rng: np.random.Generator, photograph: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return an image, uint8 (64, 64, 3), and the centre of the part, x and y in px."""
    points, hole = outline(part)
    angle, size = rng.uniform(0, 2 * np.pi), rng.uniform(16, 24) * FINER
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    squeeze = np.array([1, rng.uniform(0.7, 1)])  # seen from the side
    centre = (SIDE / 2 + rng.uniform(-5, 5, 2)) * FINER
    mask = np.zeros((SIDE * FINER, SIDE * FINER), np.float32)
    cv2.fillPoly(mask, [np.int32(points @ turn.T * squeeze * size + centre)], 1.0)
    if hole:
        cv2.ellipse(mask, (centre, 2 * hole * size * squeeze, 0), 0.0, -1)
    slopes = [cv2.Sobel(cv2.GaussianBlur(mask, (0, 0), 1.5 * FINER), -1, *order) for order in ((1, 0), (0, 1))]
    down, across = np.mgrid[: mask.shape[0], : mask.shape[1]] / mask.shape[0]
    if photograph:
        metal = np.array([(168, 172, 178), (201, 164, 92), (96, 98, 104)][rng.integers(3)]) * rng.uniform(0.8, 1.3)
        grain = np.sin(40 * across + 6 * np.sin(5 * down + rng.uniform(0, 6)) + rng.uniform(0, 6))[..., None]
        ground = np.array((186, 140, 96)) * rng.uniform(0.85, 1.1) + 9 * grain
        shadow = cv2.GaussianBlur(np.roll(mask, (4 * FINER, 5 * FINER), (0, 1)), (0, 0), 3 * FINER)[..., None]
        shade = 240 * (slopes[0] + slopes[1])[..., None]
        image = np.where(mask[..., None] > 0, metal + shade, ground * (1 - 0.7 * shadow))
        image = image * (1.25 - 0.5 * np.hypot(across - 0.3, down - 0.3))[..., None]
    else:
        colours = rng.uniform(60, 220, (2, 3))
        clouds = cv2.resize(rng.normal(0, 14, (8, 8, 3)).astype(np.float32), mask.shape, interpolation=cv2.INTER_CUBIC)
        shade = 90 * (np.cos(angle) * slopes[0] + np.sin(angle) * slopes[1])[..., None]
        image = np.where(mask[..., None] > 0, colours[0] + shade, colours[1] + clouds)
    image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    if photograph:
        image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0, 4, image.shape)
    return image.clip(0, 255).round().astype(np.uint8), centre / FINER - 0.5


def write(folder: Path, count: int, seed: int, photograph: bool) -> None:
    """Write PNG files, and their classes and centres in metadata.jsonl."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    with (folder / "metadata.jsonl").open("w", encoding="utf-8") as metadata:
        for number in range(count):
            label = CLASSES[number * len(CLASSES) // count]
            image, centre = draw(label, rng, photograph)
            cv2.imwrite(str(folder / f"{number:05}.png"), image[..., ::-1])
            row = {"file_name": f"{number:05}.png", "label": label, "points": [centre.round(2).tolist()]}
            metadata.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]), 2000, 1, photograph=False)
    write(Path(sys.argv[2]), 600, 2, photograph=True)
