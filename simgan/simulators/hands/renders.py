"""Clean depth of an articulated hand in the crop that networks see, with exact joints."""

from dataclasses import dataclass

import numpy as np

from simgan.domains.hands import SIDE
from simgan.images.depth import CUBE
from simgan.simulators.base import Batch, RandomNumbers, Rendered, Simulator
from simgan.simulators.hands.pose import EDGES, PLACE, PLATES, draw_pose, draw_view, measure, settle, spheres
from simgan.simulators.hands.raycast import FOCAL, cast

_JOINTS = [PLACE[name] for name in (
    "little tip", "little middle", "ring tip", "ring middle", "middle tip", "middle middle", "index tip",
    "index middle", "thumb tip", "thumb middle", "thumb base", "wrist ulnar", "wrist radial",
)]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Hands(Simulator):
    """Hands of persons: (mean, deviation) of normal draws unless said otherwise.

    Images are uint16 (N, 224, 224) in mm, 0 where there is nothing within the cube. Labels, in the order of
    `simgan.domains.hands.JOINTS`, are joints (N, 14, 3) as u, v in pixels of the crop and depth in mm, and joints_mm
    (N, 14, 3) in the camera's frame.
    """

    domain = "hands"
    size = (SIDE, SIDE)
    labels = ("joints", "joints_mm")
    batch = 16

    length: tuple[float, float]  # 1 is an average adult
    girth: tuple[float, float]  # thickness relative to the length
    deviation: float  # of every joint from the shape that is shown, degrees
    roll: tuple[float, float]  # about the line of sight, 0 = fingers up, degrees

    def populate(self, person: RandomNumbers, image: RandomNumbers) -> Batch:
        """Draw hands in the camera's frame in mm, and the boxes of their crops in px of the camera's image."""
        hands = measure(person, self.length, self.girth)
        pose = settle(hands, draw_pose(image, self.deviation))
        turned = np.matmul(spheres(hands, pose), draw_view(image, self.roll).transpose(0, 2, 1))
        palm = 0.4 * turned[:, PLACE["middle root"]] + 0.6 * turned[:, PLACE["middle knuckle"]]
        joints = np.concatenate([turned[:, _JOINTS], palm[:, None]], 1)
        middle = image.uniform(450, 900)
        place = np.stack([image.normal(0, 0.1) * middle, image.normal(0, 0.08) * middle, middle], -1)
        move = place - (joints.min(1) + joints.max(1)) / 2
        width = FOCAL * CUBE / middle
        return Batch(
            centres=turned + move[:, None],  # (N, P, 3) of the mesh's spheres
            radii=hands.radii,  # (N, P)
            joints=joints + move[:, None],  # (N, 14, 3)
            middle=middle,  # (N,) depth of the cube's centre
            corner=FOCAL * place[:, :2] / middle[:, None] - width[:, None] / 2,  # (N, 2) left and top, in pixel
            width=width,  # edges from the principal point
        )

    def draw(self, person: RandomNumbers, image: RandomNumbers, camera: RandomNumbers) -> Rendered:
        """Return images and labels, see the class."""
        scene = self.populate(person, image)
        photograph = self.camera(camera).photograph if self.camera else _render
        images = np.empty((len(scene.middle), SIDE, SIDE), np.uint16)
        for k in range(len(images)):  # in one thread: arrays are too small to release the interpreter's lock for long
            images[k] = photograph(k, scene)
        pixels = FOCAL * scene.joints[..., :2] / scene.joints[..., 2:] - scene.corner[:, None]
        pixels = pixels * (SIDE / scene.width)[:, None, None] - 0.5
        return images, {"joints": np.concatenate([pixels, scene.joints[..., 2:]], -1), "joints_mm": scene.joints}


def _render(k: int, scene: Batch) -> np.ndarray:
    grid = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * scene.width[k]
    left, top = scene.corner[k]
    return within_cube(cast_hand(k, scene, left + grid, top + grid), scene.middle[k])


def cast_hand(k: int, scene: Batch, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return depth (H, W) in mm of one hand at columns (W,) and rows (H,) of the image, px from the centre."""
    return cast(columns / np.float32(FOCAL), rows / np.float32(FOCAL), scene.centres[k], scene.radii[k], EDGES, PLATES)


def within_cube(depth: np.ndarray, middle: float | np.ndarray) -> np.ndarray:
    """Return depth in whole mm, uint16; 0 where it is outside the cube around `middle`."""
    return np.where(np.abs(depth - middle) <= CUBE / 2, depth.round(), 0).astype(np.uint16)


SIMULATOR = Hands(
    stream=0x4A2D5, persons=200, prefix="sim", length=(1.0, 0.08), girth=(1.0, 0.07), deviation=9, roll=(2, 24)
)
render = SIMULATOR.render
