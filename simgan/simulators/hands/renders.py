"""Clean depth of an articulated hand in the crop that networks see, with exact joints."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simgan.domains.hands import JOINTS, SIDE
from simgan.images.depth import CUBE
from simgan.simulators.base import Population
from simgan.simulators.hands.pose import draw_pose, draw_view, settle, spheres
from simgan.simulators.hands.raycast import FOCAL, Rays, cast
from simgan.simulators.hands.shape import MESH, PLACE, measure
from simgan.simulators.random_numbers import image_numbers

SIZE = SIDE
_DISTANCE = (450, 900)  # mm from the camera, uniform
_JOINTS = [PLACE[name] for name in (
    "little tip", "little middle", "ring tip", "ring middle", "middle tip", "middle middle", "index tip",
    "index middle", "thumb tip", "thumb middle", "thumb base", "wrist ulnar", "wrist radial",
)]  # fmt: skip


@dataclass(frozen=True)
class HandPopulation(Population):
    """The hands of a population: (mean, deviation) unless said otherwise."""

    size: tuple[float, float]  # 1 is an average adult
    girth: tuple[float, float]  # thickness relative to the length
    deviation: float  # of every joint from the shape that is shown, degrees
    roll: tuple[float, float]  # about the line of sight, 0 = fingers up, degrees


POPULATION = HandPopulation(
    stream=0x4A2D5, persons=200, prefix="sim", size=(1.0, 0.08), girth=(1.0, 0.07), deviation=9, roll=(2, 24)
)


@dataclass
class HandScene:
    """N hands in the camera's frame in mm; `left`, `top`, `width` are the boxes of their crops in px of its image."""

    centres: np.ndarray  # (N, P, 3) of the mesh's spheres
    radii: np.ndarray  # (N, P)
    joints: np.ndarray  # (N, 14, 3)
    middle: np.ndarray  # (N,) depth of the cube's centre
    left: np.ndarray  # (N,) in pixel edges, from the principal point
    top: np.ndarray
    width: np.ndarray
    person: np.ndarray  # (N,) str

    def labels(self) -> dict[str, np.ndarray]:
        """Return the labels that `render` lists."""
        x, y, z = np.moveaxis(self.joints, -1, 0)
        scale = SIZE / self.width[:, None]
        u = (FOCAL * x / z - self.left[:, None]) * scale - 0.5
        v = (FOCAL * y / z - self.top[:, None]) * scale - 0.5
        points = np.stack([u, v, z], -1).astype(np.float32)
        return {"joints": points, "joints_mm": self.joints, "person": self.person}

    def cast(self, number: int, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Return depth (H, W) in mm of one hand at columns (W,) and rows (H,) of the image, px from the centre."""
        rays = Rays(columns / np.float32(FOCAL), rows / np.float32(FOCAL))
        return cast(rays, self.centres[number], self.radii[number], MESH)


def populate(population: HandPopulation, numbers: np.ndarray, seed: int) -> HandScene:
    """Return the scenes of images by number. Persons keep the shape of their hands from image to image."""
    image, person, names = population.draw(numbers, seed)
    hands = measure(person, population.size, population.girth)
    pose = settle(hands, draw_pose(image, population.deviation))
    turned = np.matmul(spheres(hands, pose), draw_view(image, population.roll).transpose(0, 2, 1))
    palm = 0.4 * turned[:, PLACE["middle root"]] + 0.6 * turned[:, PLACE["middle knuckle"]]
    joints = np.concatenate([turned[:, _JOINTS], palm[:, None]], 1)
    assert joints.shape[1] == len(JOINTS)
    middle = image.uniform(*_DISTANCE)
    place = np.stack([image.normal(0, 0.1) * middle, image.normal(0, 0.08) * middle, middle], -1)
    move = place - (joints.min(1) + joints.max(1)) / 2
    width = FOCAL * CUBE / middle
    return HandScene(
        centres=(turned + move[:, None]).astype(np.float32),
        radii=hands.radii,
        joints=(joints + move[:, None]).astype(np.float32),
        middle=middle,
        left=FOCAL * place[:, 0] / middle - width / 2,
        top=FOCAL * place[:, 1] / middle - width / 2,
        width=width,
        person=names,
    )


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Render the images of these numbers (from 0 on; each number always gives the same image for a seed).

    Returns images uint16 (N, 224, 224) in mm, 0 where there is nothing within the cube, and labels: joints (N, 14, 3)
    as u, v in pixels of the crop and depth in mm, joints_mm (N, 14, 3) in the camera's frame, in the order of
    `simgan.domains.hands.JOINTS`; person (N,) str. `ConfigError` if an index is negative or not a whole number.
    """
    numbers = image_numbers(indices)
    scene = populate(POPULATION, numbers, seed)
    images = np.empty((len(numbers), SIZE, SIZE), np.uint16)
    grid = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / SIZE
    for k in range(len(numbers)):  # in one thread: its arrays are too small to release the interpreter's lock for long
        columns, rows = (edge[k] + grid * scene.width[k] for edge in (scene.left, scene.top))
        images[k] = within_cube(scene.cast(k, columns, rows), scene.middle[k])
    return images, scene.labels()


def within_cube(depth: np.ndarray, middle: float | np.ndarray) -> np.ndarray:
    """Return depth in whole mm, uint16; 0 where it is outside the cube around `middle`."""
    return np.where(np.abs(depth - middle) <= CUBE / 2, depth.round(), 0).astype(np.uint16)
