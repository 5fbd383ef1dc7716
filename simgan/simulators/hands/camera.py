"""The look-alike of a structured-light camera such as Kinect v1, with other persons and its artefacts.

Such a camera finds the disparity f·b/z of a projected pattern in px by comparing small windows. So edges are ragged,
narrow gaps close, depth has steps that grow with its square, and surfaces that the projector does not light, or that
are seen at a grazing angle, have no reading. All of this is computed on the camera's own pixels; the crop comes last.
"""

import cv2
import numpy as np

from simgan.domains.hands import SIDE
from simgan.preparation.triangulation import unlit
from simgan.simulators.base import Batch, RandomNumbers, noise_fields
from simgan.simulators.hands.raycast import FOCAL, NO_HIT
from simgan.simulators.hands.renders import Hands, cast_hand, within_cube

BASELINE = 75.0  # mm from the camera to the projector on its left
STEP = 1 / 8  # the smallest difference of disparity in px that the camera resolves
_MARGIN = 8  # px around the crop that the matching windows at its border need
_FIELD = 640
_SIGMAS = tuple(
    (name, (s, s)) for name, s in (("white", 0), ("window", 2.4), ("across", 2), ("down", 2), ("holes", 1.2))
)


class DepthCamera:
    """The settings by which each of N images is taken."""

    def __init__(self, draw: RandomNumbers) -> None:
        self.fields = noise_fields(0xD15, _FIELD, _SIGMAS)
        self.corner = {name: (draw.uniform(), draw.uniform()) for name in self.fields}
        self.ragged = draw.uniform(0.35, 0.9)  # px by which edges are displaced
        self.noise = draw.uniform(0.03, 0.07)  # px of disparity
        self.merged = draw.integer(3)  # px of a gap that closes
        self.grazing = draw.uniform(0.14, 0.28)  # cosine below which the pattern is lost
        self.bridged = 3 + draw.integer(3)  # px of the smallest hole that matching does not bridge
        self.holes = draw.uniform(3.3, 4.5)
        self.flying = draw.uniform(1.6, 2.8)
        self.wall = draw.uniform(300, 1500)  # mm behind the hand

    def _window(self, name: str, k: int, shape: tuple[int, int]) -> np.ndarray:
        top, left = (int(part[k] * (_FIELD - side)) for part, side in zip(self.corner[name], shape, strict=True))
        return self.fields[name][top : top + shape[0], left : left + shape[1]]

    def photograph(self, k: int, scene: Batch) -> np.ndarray:
        """Return the crop of image k, uint16 (224, 224) in mm: for each pixel the nearest one of the camera's own."""
        left, top = (int(np.floor(edge)) - _MARGIN for edge in scene.corner[k])
        side = int(np.ceil(scene.width[k])) + 2 * _MARGIN + 1
        columns, rows = (first + np.arange(side, dtype=np.float32) for first in (left, top))
        depth = cast_hand(k, scene, columns, rows)
        frame = np.zeros(depth.shape, np.uint16)
        x, y, wide, high = cv2.boundingRect((depth < NO_HIT).astype(np.uint8))
        hand = np.s_[max(y - _MARGIN, 0) : y + high + _MARGIN, max(x - _MARGIN, 0) : x + wide + _MARGIN]
        readings = self._read(k, np.minimum(depth[hand], scene.middle[k] + self.wall[k]))
        frame[hand] = within_cube(readings, scene.middle[k])
        wanted = scene.corner[k] + ((np.arange(SIDE) + 0.5) / SIDE * scene.width[k])[:, None]
        columns, rows = np.rint(wanted).astype(int).T
        return frame[rows[:, None] - top, columns - left]

    def _read(self, k: int, depth: np.ndarray) -> np.ndarray:
        """Return the readings of true depth, float32 (H, W) in mm, 0 where there is none."""
        shape, scale = depth.shape, np.float32(FOCAL * BASELINE)
        disparity: np.ndarray = scale / depth
        # The pattern is lost where the surface is seen at a grazing angle; a steeper rise is an edge between two.
        rises = (cv2.Sobel(depth, cv2.CV_32F, *axis, ksize=3, scale=1 / 8) for axis in ((1, 0), (0, 1)))
        rise = sum(rise * rise for rise in rises) / np.square(depth / np.float32(FOCAL))  # of mm across
        limit = self.grazing[k] * (1 + 0.25 * self._window("window", k, shape))
        grazing = (rise < 150) & ((1 + rise) * (limit * limit) > 1)
        # Holes smaller than a matching window are bridged by their surroundings.
        lost = (unlit(disparity) | grazing).astype(np.uint8)
        lost = cv2.morphologyEx(lost, cv2.MORPH_OPEN, np.ones((int(self.bridged[k]),) * 2, np.uint8)).astype(bool)
        lost |= self._window("holes", k, shape) > self.holes[k]
        # Comparing windows makes edges ragged and adds noise.
        if self.merged[k]:
            disparity = cv2.morphologyEx(disparity, cv2.MORPH_CLOSE, np.ones((1 + int(self.merged[k]),) * 2, np.uint8))
        # A window finds one of two surfaces that are far apart, and the mean of two that are close.
        disparity = cv2.bilateralFilter(cv2.medianBlur(disparity, 5), 7, 1.0, 2.5)
        rows = np.arange(shape[0], dtype=np.float32)[:, None] + self.ragged[k] * self._window("down", k, shape)
        columns = np.arange(shape[1], dtype=np.float32) + self.ragged[k] * self._window("across", k, shape)
        source = np.rint(rows).clip(0, shape[0] - 1) * shape[1] + np.rint(columns).clip(0, shape[1] - 1)
        displaced, lost = (values.ravel()[source.astype(np.int64)] for values in (disparity, lost))
        read = np.where(np.abs(displaced - disparity) > 1, displaced, disparity)
        white = self._window("white", k, shape)
        between = cv2.blur(read, (3, 3))
        read = np.where((np.abs(between - read) > 1) & (white > self.flying[k]), between, read)
        noise = self._window("window", k, shape) + np.float32(0.1) * white
        steps = np.maximum(np.rint((read + self.noise[k] * noise) / STEP), 1) * STEP
        return np.where(lost, np.float32(0), scale / steps)


SIMULATOR = Hands(
    stream=0xDE9CA,
    persons=120,
    prefix="cam",
    length=(1.0, 0.07),
    girth=(1.02, 0.07),
    deviation=10,
    roll=(4, 26),
    camera=DepthCamera,
)
render = SIMULATOR.render
