"""The look-alike of a webcam: other persons in other light, equalized as MPIIGaze stores its crops."""

import cv2
import numpy as np

from simgan.domains.eyes import HEIGHT, WIDTH
from simgan.simulators.base import Batch, RandomNumbers, noise_fields
from simgan.simulators.eyes.renders import Eyes

_FIELD = 256
_SIGMAS = (
    ("white", (0.0, 0.0)),  # the sensor's noise
    ("skin", (0.6, 0.6, 1.5, 1.5, 5.0, 5.0)),  # pores and spots
    ("wrinkles", (5.0, 0.8, 9.0, 1.3)),
    ("lashes", (0.5, 3.0)),
)


class Webcam:
    """The settings by which each of N images is taken: details of skin, glasses, optics, sensor, compression."""

    def __init__(self, draw: RandomNumbers) -> None:
        self.fields = noise_fields(0x5C1A, _FIELD, _SIGMAS)
        self.corner = {name: (draw.integer(_FIELD - HEIGHT), draw.integer(_FIELD - WIDTH)) for name in self.fields}
        self.roughness = draw.uniform(0.004, 0.03)
        self.wrinkles = draw.uniform() ** 2 * 0.12
        self.lashes = draw.uniform(0.1, 0.55)
        self.lash_length = draw.uniform(1.5, 4.0)
        self.glasses = draw.happens(0.15)
        self.rim = np.stack([draw.normal(2, 5), draw.normal(27, 8), draw.uniform(0.001, 0.012)], -1)
        self.rim_tone = draw.uniform(-0.35, 0.45)
        self.glare = np.stack([draw.uniform(0, 55), draw.uniform(0, 35), draw.uniform(2, 10), draw.uniform(2, 6)], -1)
        self.glare_tone = draw.uniform(0.0, 0.5)
        self.scale = draw.uniform(0.65, 1.0)
        self.blur = draw.uniform(0.4, 1.2)
        self.exposure = draw.uniform(0.5, 1.15)
        self.noise = draw.uniform() ** 4 * 0.025 + 0.002
        self.quality = draw.integer(14) + 84

    def _windows(self, name: str, part: slice) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(self.fields[name], (HEIGHT, WIDTH))
        rows, columns = self.corner[name]
        return windows[rows[part], columns[part]]

    def tint(self, part: slice, view: Batch) -> np.ndarray:
        """Return the factors (n, 35, 55) by which pores, wrinkles and single lashes change the skin's tones."""
        wide = np.s_[part, None, None]
        factor = 1 + self.roughness[wide] * self._windows("skin", part)
        near = np.exp(-np.square((view.above_lower + 6) * 0.14))
        factor += self.wrinkles[wide] * near * self._windows("wrinkles", part)
        inside = np.clip((1.1 - np.abs(view.across)) * 3, 0, 1)
        fringe = np.exp(-np.square((-view.below_upper - 1) / self.lash_length[wide])) * inside
        strands = np.clip(self._windows("lashes", part) * 0.5 + 0.5, 0, 1)
        return factor * (1 - self.lashes[wide] * fringe * strands)

    def develop(self, number: int, tones: np.ndarray) -> np.ndarray:
        """Return the photograph of tones (35, 55), uint8 and equalized."""
        if self.glasses[number]:
            # The upper rim of a lens, dark or shining, and the blurred reflection of a lamp or a window.
            y, x = np.ogrid[:HEIGHT, :WIDTH]
            top, middle, bend = self.rim[number]
            rim = np.exp(-np.square(y - top - bend * np.square(x - middle)))
            left, above, width, height = self.glare[number]
            lamp = np.exp(-(((x - left) / width) ** 4) - ((y - above) / height) ** 4)
            tones = tones + (rim * self.rim_tone[number] + lamp * self.glare_tone[number]).astype(np.float32)
        scale, blur = float(self.scale[number]), float(self.blur[number])
        size = (round(WIDTH * scale), round(HEIGHT * scale))
        small = cv2.resize(cv2.GaussianBlur(tones, (0, 0), blur), size, interpolation=cv2.INTER_LINEAR)
        row, column = (where[number] for where in self.corner["white"])
        noise = self.fields["white"][row : row + size[1], column : column + size[0]]
        exposed = np.clip(small * self.exposure[number] + noise * self.noise[number], 0, 1)
        stored = np.asarray((exposed * 255).round(), np.uint8)
        _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, int(self.quality[number])])
        seen = np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))
        return cv2.equalizeHist(cv2.resize(seen, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


SIMULATOR = Eyes(
    stream=0xCA3E4A,
    persons=120,
    prefix="cam",
    pupil=(1.2, 2.6),
    brow=(-10, 4.5),
    lash_width=(1.0, 2.0),
    skin=(0.3, 0.75),
    iris=(0.05, 0.22),
    sclera=(0.35, 0.75),
    contrast=(0.9, 2.6),
    sideways=1.2,
    camera=Webcam,
)
render = SIMULATOR.render
