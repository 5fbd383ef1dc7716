"""Train the classifier that decides whether there is an iris: `python benchmarks/iris.py [SOURCE …]`.

Writes `simgan/domains/iris.npz`, and prints the share of images in which an iris is found: in noise, in images of other
things, in embedded eyes that were not trained on, and in each source that is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch.nn import functional

from simgan.data import Crops, load
from simgan.domains import iris
from simgan.images.arrays import equalize
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands

HEIGHT, WIDTH = 35, 55
EYES, OTHERS, ROUNDS, STEPS = 2500, 150, 5, 1000
Y, X = np.mgrid[:HEIGHT, :WIDTH]
Generator = np.random.Generator


def noise(rng: Generator, blur: float = 0.0, slope: float = 0.0) -> np.ndarray:
    """Draw white noise, blurred noise, or noise with a spectrum that falls with a power of the frequency."""
    values = rng.normal(0, 1, (96, 96))
    if blur:
        values = cv2.GaussianBlur(values, (0, 0), blur)
    if slope:
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(96)))
        frequency[0, 0] = 1
        values = np.fft.ifft2(np.fft.fft2(values) / frequency**slope).real
    cut = values[20 : 20 + HEIGHT, 20 : 20 + WIDTH]
    return 128 + 50 * (cut - cut.mean()) / cut.std()


def gradient(rng: Generator) -> np.ndarray:
    """Draw a gradient of any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    values = np.cos(angle) * X + np.sin(angle) * Y
    return 255 * ((values - values.min()) / np.ptp(values)) ** rng.uniform(0.5, 2) + rng.normal(0, 3, values.shape)


def checkerboard(rng: Generator) -> np.ndarray:
    """Draw a checkerboard of any size and direction."""
    side, angle = rng.uniform(4, 16), rng.uniform(0, np.pi)
    across, down = np.cos(angle) * X + np.sin(angle) * Y, np.cos(angle) * Y - np.sin(angle) * X
    squares = (np.floor((across + rng.uniform(0, side)) / side) + np.floor((down + rng.uniform(0, side)) / side)) % 2
    return cv2.GaussianBlur(40 + 170 * squares, (0, 0), 0.6) + rng.normal(0, 4, X.shape)


def stripes(rng: Generator) -> np.ndarray:
    """Draw a sinusoid of any wavelength and direction."""
    angle = rng.uniform(0, np.pi)
    phase = (np.cos(angle) * X + np.sin(angle) * Y) / rng.uniform(3, 20) + rng.uniform()
    return 128 + 90 * np.sin(2 * np.pi * phase) + rng.normal(0, 6, X.shape)


def letters(rng: Generator) -> np.ndarray:
    """Draw one to four dark letters on a light ground."""
    image = np.full((HEIGHT, WIDTH), rng.integers(150, 255), np.uint8)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(-5, 45)), int(rng.integers(10, 38))
        font, size, grey, thick = rng.integers(0, 5), rng.uniform(0.4, 1.6), rng.integers(0, 90), rng.integers(1, 4)
        cv2.putText(image, chr(rng.integers(65, 91)), place, int(font), float(size), int(grey), int(thick), cv2.LINE_AA)
    return image


def polygons(rng: Generator) -> np.ndarray:
    """Draw twelve overlapping quadrangles."""
    image = np.full((HEIGHT, WIDTH), rng.integers(0, 255), np.uint8)
    for _ in range(12):
        cv2.fillPoly(image, [rng.integers(-5, 60, (4, 2)).astype(np.int32)], int(rng.integers(0, 255)), cv2.LINE_AA)
    return image


def hand(rng: Generator, renders: list[np.ndarray]) -> np.ndarray:
    """Cut a piece of a render of a hand, its depth as grey."""
    depth = renders[rng.integers(len(renders))].astype(float)
    there = depth > 0
    grey = np.where(there, np.clip(255 - (depth - depth[there].min()) * 255 / 300, 0, 255), 0).astype(np.uint8)
    scale = rng.uniform(1, 3)
    high, wide = int(HEIGHT * scale), int(WIDTH * scale)
    row, column = (place[rng.integers(there.sum())] for place in np.nonzero(there))
    top, left = (int(np.clip(at - own // 2, 0, 224 - own)) for at, own in ((row, high), (column, wide)))
    return cv2.resize(grey[top : top + high, left : left + wide], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def other_things(seed: int, count: int) -> dict[str, np.ndarray]:
    """Draw images without an iris, by what they show."""
    rng = np.random.default_rng(seed)
    renders = list(hands.render(range(40), seed=seed)[0])
    kinds: dict[str, Callable[[], np.ndarray]] = {"white noise": lambda: noise(rng)}
    kinds |= {f"noise blurred by {blur} px": lambda blur=blur: noise(rng, blur=blur) for blur in (1, 2, 3, 5)}
    kinds |= {f"noise of slope {slope}": lambda slope=slope: noise(rng, slope=slope) for slope in (1, 1.5, 2)}
    drawn = (gradient, checkerboard, stripes, letters, polygons)
    kinds |= {draw.__name__: lambda draw=draw: draw(rng) for draw in drawn} | {"hand": lambda: hand(rng, renders)}
    return {
        kind: np.clip(np.stack([draw() for _ in range(count)]), 0, 255).astype(np.uint8) for kind, draw in kinds.items()
    }


def vary(images: np.ndarray, rng: Generator) -> np.ndarray:
    """Change place, size, sharpness, contrast and noise of eyes, so that the classifier knows other cameras."""
    varied = []
    for image in images.astype(np.float32):
        turn = cv2.getRotationMatrix2D((WIDTH // 2, HEIGHT // 2), rng.uniform(-12, 12), rng.uniform(0.8, 1.3))
        turn[:, 2] += rng.uniform(-5, 5, 2)
        image = cv2.warpAffine(image, turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        if rng.random() < 0.6:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 2.2))
        if rng.random() < 0.5:
            image = image[:, ::-1]
        image = 255 * (np.clip(image, 0, 255) / 255) ** rng.uniform(0.5, 2)
        image = (image - 128) * rng.uniform(0.3, 1.2) + 128 + rng.normal(0, rng.uniform(0, 12), image.shape)
        image = np.clip(image, 0, 255).astype(np.uint8)
        varied.append(equalize(image) if rng.random() < 0.4 else image)
    return np.stack(varied)


def found_by_edges(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the images in which the edges alone give a place, with these places."""
    centres = iris._fit(images, iris._seek(images))
    found = np.isfinite(centres[:, 0])
    return images[found], centres[found]


def train() -> None:
    """Fit the weights by logistic regression, both classes counting alike, and write them."""
    rng = np.random.default_rng(1)
    positive = [vary(world.render(range(EYES), seed=21)[0], rng) for world in (eyes, camera)]
    negative = [images for seed in range(2, 2 + ROUNDS) for images in other_things(seed, OTHERS).values()]
    features = [
        np.concatenate([iris.describe(*found_by_edges(images)) for images in side]) for side in (positive, negative)
    ]
    x = torch.from_numpy(np.concatenate(features)).float()
    y = torch.cat([torch.ones(len(features[0])), torch.zeros(len(features[1]))])
    torch.manual_seed(0)
    layer = torch.nn.Linear(x.shape[1], 1)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=0.3)
    balance = torch.tensor(len(features[1]) / len(features[0]))
    for _ in range(STEPS):
        loss = functional.binary_cross_entropy_with_logits(layer(x)[:, 0], y, pos_weight=balance)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = layer.weight.detach().numpy()[0].astype(np.float16)
    np.savez_compressed(iris.WEIGHTS, weights=weights, bias=np.float32(layer.bias.item()))
    iris._classifier.cache_clear()


def report(name: str, images: np.ndarray) -> None:
    """Print how often an iris is found, by edges alone and in all."""
    found = np.isfinite(iris.iris_centres(images)[:, 0]).mean()
    print(f"{name:24} {len(images):5}  edges {len(found_by_edges(images)[0]) / len(images):6.1%}  found {found:6.1%}")


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*")
    parser.add_argument("--keep", action="store_true", help="report on the weights that are there")
    arguments = parser.parse_args()
    if not arguments.keep:
        train()
    for name, images in other_things(100, 300).items():
        report(name, images)
    for name, world in (("simulator:eyes", eyes), ("camera:eyes", camera)):
        report(name, world.render(range(400), seed=5)[0])
    for source in arguments.sources:
        crops = Crops(load(source))
        chosen = crops[np.linspace(0, len(crops) - 1, min(400, len(crops))).astype(int)]
        report(source.rpartition("/")[2], chosen)
        report(f"{source.rpartition('/')[2]}, equalized", np.stack([equalize(image) for image in chosen]))


if __name__ == "__main__":
    main()
