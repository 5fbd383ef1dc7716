"""The "real" look-alike: other persons in other light before a webcam, equalized as MPIIGaze stores its crops.

To training it is a set of unlabelled photographs; its labels are true and kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from simgan.simulators.chance import Dice, numbers
from simgan.simulators.eyes.geometry import HEIGHT, WIDTH, View, labels, look
from simgan.simulators.eyes.painting import paint
from simgan.simulators.eyes.people import World, populate
from simgan.simulators.parallel import in_batches

WORLD = World(
    stream=0xCA3E4A,
    persons=120,
    prefix="cam",
    head_pitch=(-3, 6),
    head_yaw=(0, 9),
    eye_pitch=(-20, 8),
    eye_yaw=(-20, 20),
    openness=(0.92, 0.12),
    pupil=(1.2, 2.6),
    brow=(-10, 4.5),
    lash_width=(1.0, 2.0),
    skin=(0.3, 0.75),
    iris=(0.05, 0.22),
    sclera=(0.35, 0.75),
    contrast=(0.9, 2.6),
    sideways=1.2,
)
_FIELD = 256


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Photograph the images of these numbers; arguments, results and errors are those of `eyes.render`."""
    wanted = numbers(indices)
    scene, face, person = populate(WORLD, wanted, seed)
    shot = Shot(Dice(seed, WORLD.stream + 2, wanted))
    images = np.empty((len(wanted), HEIGHT, WIDTH), np.uint8)

    def work(part: slice) -> None:
        some, seen = scene.part(part), look(scene.part(part))
        tones = paint(some, face.part(part), seen, shot.tint(part, seen))
        for k, tone in enumerate(tones, part.start):
            images[k] = shot.develop(k, tone)

    in_batches(work, len(wanted))
    return images, {**labels(scene), "person": person}


@lru_cache(maxsize=1)
def _fields() -> dict[str, np.ndarray]:
    """Noise fields (256, 256) float32 of mean 0 and deviation 1, of which each image takes windows.

    White (the sensor's), pores and spots of skin, wrinkles that run level, lashes that stand upright.
    """
    generator = np.random.default_rng(0x5C1A)
    octaves = {
        "white": [(0.0, 0.0)],
        "skin": [(0.6, 0.6), (1.5, 1.5), (5.0, 5.0)],
        "wrinkles": [(5.0, 0.8), (9.0, 1.3)],
        "lashes": [(0.5, 3.0)],
    }
    fields = {}
    for name, sigmas in octaves.items():
        total = np.zeros((_FIELD, _FIELD), np.float32)
        for sigma in sigmas:
            noise = generator.standard_normal(total.shape).astype(np.float32)
            octave = cv2.GaussianBlur(noise, (0, 0), sigma[0], sigmaY=sigma[1]) if sigma[0] else noise
            total += (octave - octave.mean()) / octave.std()
        fields[name] = total / total.std()
    return fields


class Shot:
    """How each of N images is taken: the skin's details, glasses, optics, sensor and compression."""

    def __init__(self, dice: Dice) -> None:
        self.corner = {name: (dice.integer(_FIELD - HEIGHT), dice.integer(_FIELD - WIDTH)) for name in _fields()}
        self.roughness = dice.uniform(0.004, 0.03)
        self.wrinkles = dice.uniform() ** 2 * np.float32(0.12)
        self.lashes = dice.uniform(0.1, 0.55)
        self.lash_length = dice.uniform(1.5, 4.0)
        self.glasses = dice.happens(0.15)
        self.rim = np.stack([dice.normal(2, 5), dice.normal(27, 8), dice.uniform(0.001, 0.012)], -1)
        self.rim_tone = dice.uniform(-0.35, 0.45)
        self.glare = np.stack([dice.uniform(0, 55), dice.uniform(0, 35), dice.uniform(2, 10), dice.uniform(2, 6)], -1)
        self.glare_tone = dice.uniform(0.0, 0.5)
        self.scale = dice.uniform(0.65, 1.0)
        self.blur = dice.uniform(0.4, 1.2)
        self.exposure = dice.uniform(0.5, 1.15)
        self.noise = dice.uniform() ** 4 * np.float32(0.025) + np.float32(0.002)
        self.quality = dice.integer(14) + 84

    def _windows(self, name: str, part: slice) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(_fields()[name], (HEIGHT, WIDTH))
        rows, columns = self.corner[name]
        return windows[rows[part], columns[part]]

    def tint(self, part: slice, view: View) -> np.ndarray:
        """What pores, wrinkles and single lashes do to the skin's tone: factors (N, 35, 55)."""
        wide = np.s_[part, None, None]
        factor = 1 + self.roughness[wide] * self._windows("skin", part)
        near = np.exp(-np.square((view.above_lower + np.float32(6)) * np.float32(0.14)))
        factor += self.wrinkles[wide] * near * self._windows("wrinkles", part)
        above = -view.below_upper
        inside = np.clip((np.float32(1.1) - np.abs(view.across)) * np.float32(3), 0, 1)
        fringe = np.exp(-np.square((above - 1) / self.lash_length[wide])) * inside
        strands = np.clip(self._windows("lashes", part) * np.float32(0.5) + np.float32(0.5), 0, 1)
        return factor * (1 - self.lashes[wide] * fringe * strands)

    def develop(self, k: int, tone: np.ndarray) -> np.ndarray:
        """Tones (35, 55) of image k as the webcam's photograph of it, uint8, equalized."""
        if self.glasses[k]:
            tone = self._behind_glasses(k, tone)
        size = (round(WIDTH * float(self.scale[k])), round(HEIGHT * float(self.scale[k])))
        small = cv2.resize(cv2.GaussianBlur(tone, (0, 0), float(self.blur[k])), size, interpolation=cv2.INTER_LINEAR)
        row, column = (where[k] for where in self.corner["white"])
        noise = _fields()["white"][row : row + size[1], column : column + size[0]]
        exposed = np.clip(small * self.exposure[k] + noise * self.noise[k], 0, 1)
        stored = np.asarray((exposed * 255).round(), np.uint8)
        _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, int(self.quality[k])])
        seen = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
        return cv2.equalizeHist(cv2.resize(seen, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))

    def _behind_glasses(self, k: int, tone: np.ndarray) -> np.ndarray:
        """Adds the upper rim of a lens, dark or shining, and the soft mirror image of a lamp or a window."""
        y, x = np.ogrid[:HEIGHT, :WIDTH]
        top, middle, bend = self.rim[k]
        rim = np.exp(-np.square(y - top - bend * np.square(x - middle)))
        left, above, width, height = self.glare[k]
        lamp = np.exp(-(((x - left) / width) ** 4) - ((y - above) / height) ** 4)
        return tone + (rim * self.rim_tone[k] + lamp * self.glare_tone[k]).astype(np.float32)
