"""The simulator of hands: clean depth of an articulated hand in the crop that networks see, with exact joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simgan.domains import DOMAINS, JOINTS
from simgan.images.depth import CUBE
from simgan.simulators.chance import Dice, numbers
from simgan.simulators.hands.pose import Habits, draw_pose, draw_view, settle, spheres
from simgan.simulators.hands.raycast import FOCAL, Window, cast
from simgan.simulators.hands.shape import MESH, PLACE, measure

SIZE = DOMAINS["hands"].width
_SEEN = [PLACE[name] for name in (
    "little tip", "little middle", "ring tip", "ring middle", "middle tip", "middle middle", "index tip",
    "index middle", "thumb tip", "thumb middle", "thumb base", "wrist ulnar", "wrist radial",
)]  # fmt: skip


@dataclass(frozen=True)
class World:
    """A population of hands before a camera: (low, high) is a uniform range, (mean, deviation) a bell."""

    stream: int
    persons: int
    prefix: str
    size: tuple[float, float]  # of the hand, 1 is an average adult
    girth: tuple[float, float]  # thickness to length
    distance: tuple[float, float]  # mm, range
    habits: Habits


WORLD = World(
    stream=0x4A2D5,
    persons=200,
    prefix="sim",
    size=(1.0, 0.08),
    girth=(1.0, 0.07),
    distance=(450, 900),
    habits=Habits(mixed=0.5, loose=9, back=0.15, aside=0.18, roll=(2, 24), slant=(23, 22)),
)


@dataclass
class Scene:
    """N hands before the camera, in its frame in mm; `left`, `top`, `width` are the crops' boxes in px of its frame."""

    centres: np.ndarray  # (N, P, 3) of the mesh's spheres
    radii: np.ndarray  # (N, P)
    joints: np.ndarray  # (N, 14, 3)
    middle: np.ndarray  # (N,) depth of the cube's centre
    left: np.ndarray  # in pixel edges, from the principal point
    top: np.ndarray
    width: np.ndarray
    person: np.ndarray  # (N,) str

    def labels(self) -> dict[str, np.ndarray]:
        """joints (N, 14, 3) as u, v in pixels of the crop and depth in mm; joints_mm (N, 14, 3); person (N,) str."""
        x, y, z = np.moveaxis(self.joints, -1, 0)
        scale = SIZE / self.width[:, None]
        u = (FOCAL * x / z - self.left[:, None]) * scale - 0.5
        v = (FOCAL * y / z - self.top[:, None]) * scale - 0.5
        points = np.stack([u, v, z], -1).astype(np.float32)
        return {"joints": points, "joints_mm": self.joints, "person": self.person}


def populate(world: World, wanted: np.ndarray, seed: int) -> Scene:
    """The scenes of images `wanted`: persons keep their bones and flesh from image to image."""
    image = Dice(seed, world.stream, wanted)
    who = image.integer(world.persons)
    hands = measure(Dice(seed, world.stream + 1, who), world.size, world.girth)
    pose = settle(hands, draw_pose(image, world.habits))
    own = spheres(hands, pose)
    turned = np.matmul(own, draw_view(image, world.habits).transpose(0, 2, 1))
    palm = 0.4 * turned[:, PLACE["middle root"]] + 0.6 * turned[:, PLACE["middle knuckle"]]
    joints = np.concatenate([turned[:, _SEEN], palm[:, None]], 1)
    assert joints.shape[1] == len(JOINTS)
    middle = image.uniform(*world.distance)
    place = np.stack([image.normal(0, 0.1) * middle, image.normal(0, 0.08) * middle, middle], -1)
    move = place - (joints.min(1) + joints.max(1)) / 2
    width = FOCAL * CUBE / middle
    names = np.array([f"{world.prefix}{number:03}" for number in range(world.persons)])
    return Scene(
        centres=(turned + move[:, None]).astype(np.float32),
        radii=hands.radii,
        joints=(joints + move[:, None]).astype(np.float32),
        middle=middle,
        left=FOCAL * place[:, 0] / middle - width / 2,
        top=FOCAL * place[:, 1] / middle - width / 2,
        width=width,
        person=names[who],
    )


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Render the images of these numbers (from 0 on; each number always gives the same image for a seed).

    Returns images uint16 (N, 224, 224) in mm, 0 where there is nothing within the cube, and labels: joints (N, 14, 3)
    as u, v in pixels of the crop and depth in mm, joints_mm (N, 14, 3) in the camera's frame, in the order of
    `simgan.domains.JOINTS`; person (N,) str. `ConfigError` if an index is negative or not a whole number.
    """
    wanted = numbers(indices)
    scene = populate(WORLD, wanted, seed)
    images = np.empty((len(wanted), SIZE, SIZE), np.uint16)
    grid = (np.arange(SIZE, dtype=np.float32) + np.float32(0.5)) / SIZE

    for k in range(len(wanted)):  # in one thread: its arrays are too small to release the interpreter's lock for long
        x, y = ((edge[k] + grid * scene.width[k]) / np.float32(FOCAL) for edge in (scene.left, scene.top))
        depth = cast(Window(x, y), scene.centres[k], scene.radii[k], MESH)
        images[k] = within(depth, scene.middle[k])
    return images, scene.labels()


def within(depth: np.ndarray, middle: float | np.ndarray) -> np.ndarray:
    """Depth in whole mm, uint16; 0 for what the cube around `middle` does not hold."""
    return np.where(np.abs(depth - middle) <= CUBE / 2, depth.round(), 0).astype(np.uint16)
