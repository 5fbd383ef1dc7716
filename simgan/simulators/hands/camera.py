"""The "real" look-alike for hands: other persons before a structured-light camera like Kinect v1, and what it misses.

The camera finds how far a projected pattern is shifted, its disparity f·b/z in px, by comparing small windows: so edges
are ragged, thin gaps close, depth comes in steps that grow with its square, and what the projector does not light or
what is seen at a grazing angle has no reading. All of that happens on the camera's own pixels; the crop comes last. To
training its images are unlabelled; their labels are true, of the hand and not of the reading, and kept for evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from simgan.preparation.triangulation import unlit
from simgan.simulators.chance import Dice, numbers
from simgan.simulators.hands.pose import Habits
from simgan.simulators.hands.raycast import FAR, FOCAL, Window, cast
from simgan.simulators.hands.renders import SIZE, Scene, World, populate, within
from simgan.simulators.hands.shape import MESH

WORLD = World(
    stream=0xDE9CA,
    persons=120,
    prefix="cam",
    size=(1.0, 0.07),
    girth=(1.02, 0.07),
    distance=(450, 900),
    habits=Habits(mixed=0.5, loose=10, back=0.15, aside=0.18, roll=(4, 26), slant=(23, 22)),
)
BASELINE = 75.0
"""From the camera to the projector on its left, in mm."""
STEP = 1 / 8
"""The smallest difference of disparity in px that the camera tells."""
_MARGIN = 8  # px around the crop whose hand the windows at its border see
_FIELD = 640


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Photograph the images of these numbers; arguments, results and errors are those of `hands.render`."""
    wanted = numbers(indices)
    scene = populate(WORLD, wanted, seed)
    shot = Shot(Dice(seed, WORLD.stream + 2, wanted))
    images = np.empty((len(wanted), SIZE, SIZE), np.uint16)
    grid = (np.arange(SIZE) + 0.5) / SIZE
    for k in range(len(wanted)):
        frame, corner = shot.photograph(k, scene)
        rows, columns = (
            np.rint(edge[k] + grid * scene.width[k]).astype(int) - first
            for edge, first in zip((scene.top, scene.left), corner, strict=True)
        )
        images[k] = frame[rows[:, None], columns]
    return images, scene.labels()


def _around(some: np.ndarray) -> slice:
    """From the first to the last that is true, with a margin."""
    places = np.flatnonzero(some)
    return slice(max(int(places[0]) - _MARGIN, 0), int(places[-1]) + _MARGIN + 1) if len(places) else slice(0, 0)


@lru_cache(maxsize=1)
def _fields() -> dict[str, np.ndarray]:
    """Noise (640, 640) float32 of mean 0 and deviation 1, of which each image takes windows, by its grain in px."""
    generator = np.random.default_rng(0xD15)
    fields = {}
    for name, grain in {"white": 0.0, "window": 2.4, "across": 2.0, "down": 2.0, "holes": 1.2}.items():
        noise = generator.standard_normal((_FIELD, _FIELD)).astype(np.float32)
        field = cv2.GaussianBlur(noise, (0, 0), grain) if grain else noise
        fields[name] = (field - field.mean()) / field.std()
    return fields


class Shot:
    """How the camera takes each of N images."""

    def __init__(self, dice: Dice) -> None:
        self.corner = {name: (dice.uniform(), dice.uniform()) for name in _fields()}
        self.ragged = dice.uniform(0.35, 0.9)  # px that an edge is off
        self.noise = dice.uniform(0.03, 0.07)  # px of disparity
        self.merged = dice.integer(3)  # px of a gap that closes
        self.grazing = dice.uniform(0.14, 0.28)  # cosine below which the pattern is lost
        self.bridged = 3 + dice.integer(3)  # px of the smallest hole that the windows do not bridge
        self.holes = dice.uniform(3.3, 4.5)
        self.flying = dice.uniform(1.6, 2.8)
        self.wall = dice.uniform(300, 1500)  # mm behind the hand

    def _window(self, name: str, k: int, shape: tuple[int, int]) -> np.ndarray:
        top, left = (int(part[k] * (_FIELD - side)) for part, side in zip(self.corner[name], shape, strict=True))
        return _fields()[name][top : top + shape[0], left : left + shape[1]]

    def photograph(self, k: int, scene: Scene) -> tuple[np.ndarray, tuple[int, int]]:
        """What the camera reads around image k's crop.

        Returns uint16 mm on its own pixels, and the row and column of the first of them from the principal point.
        """
        top, left = (int(np.floor(edge[k])) - _MARGIN for edge in (scene.top, scene.left))
        side = int(np.ceil(scene.width[k])) + 2 * _MARGIN + 1
        x, y = ((first + np.arange(side, dtype=np.float32)) / np.float32(FOCAL) for first in (left, top))
        whole = cast(Window(x, y), scene.centres[k], scene.radii[k], MESH)
        frame = np.zeros(whole.shape, np.uint16)
        hand = np.s_[_around(whole.min(1) < FAR), _around(whole.min(0) < FAR)]
        frame[hand] = within(self._read(k, np.minimum(whole[hand], scene.middle[k] + self.wall[k])), scene.middle[k])
        return frame, (top, left)

    def _read(self, k: int, depth: np.ndarray) -> np.ndarray:
        """Readings of true depth, float32 (H, W) in mm, 0 where there is none."""
        scale = np.float32(FOCAL * BASELINE)
        disparity = scale / depth
        # What is lost in less than a window is bridged by what is around it.
        lost = (unlit(disparity) | self._grazing(k, depth)).astype(np.uint8)
        lost = cv2.morphologyEx(lost, cv2.MORPH_OPEN, np.ones((int(self.bridged[k]),) * 2, np.uint8)).astype(bool)
        lost |= self._window("holes", k, depth.shape) > self.holes[k]
        read, lost = self._match(k, disparity, lost)
        steps = np.maximum(np.rint(read / np.float32(STEP)), 1) * np.float32(STEP)
        return np.where(lost, np.float32(0), scale / steps)

    def _grazing(self, k: int, depth: np.ndarray) -> np.ndarray:
        """Where the surface is seen so much from the side that the pattern is lost."""
        rise_x = cv2.Sobel(depth, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
        rise_y = cv2.Sobel(depth, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
        pixel = depth / np.float32(FOCAL)  # mm across
        rise = (rise_x * rise_x + rise_y * rise_y) / (pixel * pixel)
        limit = self.grazing[k] * (1 + np.float32(0.25) * self._window("window", k, depth.shape))
        surface = rise < 150  # more is an edge between two of them
        return surface & ((1 + rise) * (limit * limit) > 1)

    def _match(self, k: int, disparity: np.ndarray, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compare windows: at an edge a pixel reads the surface a little beside it, and all of them with noise."""
        shape = disparity.shape
        if self.merged[k]:
            disparity = cv2.morphologyEx(disparity, cv2.MORPH_CLOSE, np.ones((1 + int(self.merged[k]),) * 2, np.uint8))
        # A window sees one surface or the other where they are far apart, and their mean where they are not.
        disparity = cv2.bilateralFilter(cv2.medianBlur(disparity, 5), 7, 1.0, 2.5)
        rows = np.arange(shape[0], dtype=np.float32)[:, None] + self.ragged[k] * self._window("down", k, shape)
        columns = np.arange(shape[1], dtype=np.float32) + self.ragged[k] * self._window("across", k, shape)
        there = np.rint(rows).clip(0, shape[0] - 1) * shape[1] + np.rint(columns).clip(0, shape[1] - 1)
        beside, lost = (values.ravel()[there.astype(np.int64)] for values in (disparity, lost))
        read = np.where(np.abs(beside - disparity) > 1, beside, disparity)
        white = self._window("white", k, shape)
        between = cv2.blur(read, (3, 3))
        read = np.where((np.abs(between - read) > 1) & (white > self.flying[k]), between, read)
        noise = self._window("window", k, shape) + np.float32(0.1) * white
        return read + self.noise[k] * noise, lost
