"""The "real" look-alike: other persons in other light before a webcam, equalized as MPIIGaze stores its crops.

To training it is a set of unlabelled photographs; its labels are true and kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from simgan.simulators.chance import Dice, numbers
from simgan.simulators.geometry import HEIGHT, WIDTH, labels, look
from simgan.simulators.painting import paint
from simgan.simulators.people import World, populate

WORLD = World(
    stream=0xCA3E4A,
    persons=60,
    prefix="cam",
    head_pitch=(-3, 6),
    head_yaw=(0, 9),
    eye_pitch=(-20, 8),
    eye_yaw=(-20, 20),
    openness=(0.92, 0.12),
    pupil=(1.2, 2.6),
    skin=(0.25, 0.7),
    iris=(0.06, 0.32),
    sclera=(0.5, 0.85),
    contrast=(0.7, 2.0),
    sideways=1.4,
)
_BATCH = 32
_FIELD = 256


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Photograph the images of these numbers; arguments, results and errors are those of `eyes.render`."""
    wanted = numbers(indices)
    scene, face, person = populate(WORLD, wanted, seed)
    shot = Shot(Dice(seed, WORLD.stream + 2, wanted))
    images = np.empty((len(wanted), HEIGHT, WIDTH), np.uint8)
    for start in range(0, len(wanted), _BATCH):
        part = slice(start, start + _BATCH)
        some = scene.part(part)
        tones = paint(some, face.part(part), look(some), shot.texture(part))
        for k, tone in enumerate(tones, start):
            images[k] = shot.develop(k, tone)
    return images, {**labels(scene), "person": person}


@lru_cache(maxsize=1)
def _noise() -> tuple[np.ndarray, np.ndarray]:
    """White noise and skin (a sum of octaves), (256, 256) float32 of deviation 1 each: images take windows of them."""
    generator = np.random.default_rng(0x5C1A)
    white = generator.standard_normal((_FIELD, _FIELD)).astype(np.float32)
    skin = np.zeros_like(white)
    for sigma in (0.6, 1.5, 4.0):
        octave = cv2.GaussianBlur(generator.standard_normal(white.shape).astype(np.float32), (0, 0), sigma)
        skin += octave / octave.std()
    return white, skin / skin.std()


class Shot:
    """How each image is taken: texture of the skin, optics, sensor, compression."""

    def __init__(self, dice: Dice) -> None:
        room_x, room_y = _FIELD - WIDTH, _FIELD - HEIGHT
        self.skin_x, self.skin_y = dice.integer(room_x), dice.integer(room_y)
        self.noise_x, self.noise_y = dice.integer(room_x), dice.integer(room_y)
        self.roughness = dice.uniform(0.01, 0.06)
        self.scale = dice.uniform(0.65, 1.0)
        self.blur = dice.uniform(0.3, 1.1)
        self.exposure = dice.uniform(0.5, 1.5)
        self.noise = dice.uniform() ** 3 * np.float32(0.025) + np.float32(0.002)
        self.quality = dice.integer(26) + 70

    def texture(self, part: slice) -> np.ndarray:
        """Unevenness of the skin's tone, (N, 35, 55)."""
        windows = np.lib.stride_tricks.sliding_window_view(_noise()[1], (HEIGHT, WIDTH))
        return windows[self.skin_y[part], self.skin_x[part]] * self.roughness[part, None, None]

    def develop(self, k: int, tone: np.ndarray) -> np.ndarray:
        """Tones (35, 55) of image k as the webcam's photograph of it, uint8, equalized."""
        blurred = cv2.GaussianBlur(tone, (0, 0), float(self.blur[k]))
        size = (round(WIDTH * float(self.scale[k])), round(HEIGHT * float(self.scale[k])))
        small = cv2.resize(blurred, size, interpolation=cv2.INTER_LINEAR) * self.exposure[k]
        x, y = self.noise_x[k], self.noise_y[k]
        small = small + _noise()[0][y : y + size[1], x : x + size[0]] * self.noise[k]
        stored = (np.clip(small, 0, 1) * 255).round().astype(np.uint8)
        _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, int(self.quality[k])])
        seen = cast(np.ndarray, cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))  # never None: it was just encoded
        return cv2.equalizeHist(cv2.resize(seen, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))
