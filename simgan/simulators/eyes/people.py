"""Who is in front of the camera, where they look, and under what light: a scene's parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simgan.simulators.chance import Dice
from simgan.simulators.eyes.geometry import DISTANCE, IRIS_DEPTH, Scene

_DEGREE = np.float32(np.pi / 180)


@dataclass(frozen=True)
class World:
    """A population and how it sits before the camera: (low, high) is a uniform range, (mean, deviation) a bell."""

    stream: int
    persons: int
    prefix: str
    head_pitch: tuple[float, float]  # degrees, bells
    head_yaw: tuple[float, float]
    eye_pitch: tuple[float, float]  # degrees relative to half the head's, ranges
    eye_yaw: tuple[float, float]
    openness: tuple[float, float]  # bell, 1 is a relaxed eye
    pupil: tuple[float, float]  # mm, range
    brow: tuple[float, float]  # row of its lower edge, bell
    lash_width: tuple[float, float]  # px, range
    skin: tuple[float, float]  # grey tones, ranges
    iris: tuple[float, float]
    sclera: tuple[float, float]
    contrast: tuple[float, float]  # of light and shadow on the face
    sideways: float  # how far light comes from the side at most, 1 = 45 degrees


@dataclass
class Face:
    """The looks of one person in one light, (N,) float32: tones in [0, 1], lengths in px of the crop."""

    skin: np.ndarray
    iris: np.ndarray
    sclera: np.ndarray
    light_x: np.ndarray  # slope of the light: > 0 comes from the right of the image
    light_y: np.ndarray  # > 0 comes from below
    contrast: np.ndarray
    crease: np.ndarray  # height of the upper fold above the lid's margin
    crease_depth: np.ndarray
    hollow: np.ndarray  # darkness between nose and brow
    brow: np.ndarray  # row of the brow's lower edge
    brow_tone: np.ndarray
    lashes: np.ndarray  # darkness of the upper lashes
    lash_width: np.ndarray
    lower_lashes: np.ndarray
    bag: np.ndarray  # depth of the fold below the eye
    bumps: np.ndarray  # (N, 4, 3): x, y, height of the face's own unevenness
    glint: np.ndarray  # brightness of the light's image on the cornea
    fibres: np.ndarray  # contrast of the iris' fibres
    turn: np.ndarray  # where around the iris they start, radians

    def part(self, where: slice) -> Face:
        """Some of the faces."""
        return Face(**{name: value[where] for name, value in vars(self).items()})


def populate(world: World, numbers: np.ndarray, seed: int) -> tuple[Scene, Face, np.ndarray]:
    """The scenes, faces and names of images `numbers`: persons keep their looks from image to image."""
    image = Dice(seed, world.stream, numbers)
    who = image.integer(world.persons)
    person = Dice(seed, world.stream + 1, who)
    names = np.array([f"{world.prefix}{number:03}" for number in range(world.persons)])
    return *_meet(world, person, image), names[who]


def _meet(world: World, person: Dice, image: Dice) -> tuple[Scene, Face]:
    head_pitch, head_yaw = image.normal(*world.head_pitch), image.normal(*world.head_yaw)
    eye_pitch, eye_yaw = image.uniform(*world.eye_pitch), image.uniform(*world.eye_yaw)
    half, limit = np.float32(0.5), np.float32(32)
    pitch = head_pitch + np.clip(eye_pitch - half * head_pitch, -limit, limit)
    yaw = head_yaw + np.clip(eye_yaw - half * head_yaw, -limit, limit)
    up = np.float32(IRIS_DEPTH) * np.sin((pitch - head_pitch) * _DEGREE)  # how far the iris has risen in the head

    squint = image.normal(*world.openness)
    follows = person.uniform(0.65, 0.85)
    drop = person.normal(1.9, 0.5)
    lift = np.maximum(person.normal(4.4, 0.6) * squint + follows * up + drop, np.float32(0.4))
    sink = np.maximum(person.normal(5.2, 0.5) * (half + half * squint) - np.float32(0.3) * up - drop, np.float32(1.0))
    shift = np.stack([image.normal(0, 0.45), image.normal(0, 0.45), np.zeros_like(up)], -1)
    place = np.stack([person.normal(0, 0.4), person.normal(-1.7, 0.4), np.full_like(up, DISTANCE)], -1)
    scene = Scene(
        pitch=pitch * _DEGREE,
        yaw=yaw * _DEGREE,
        head_pitch=head_pitch * _DEGREE,
        head_yaw=head_yaw * _DEGREE,
        eyeball=place + shift,
        pupil=image.uniform(*world.pupil),
        half_width=person.normal(14.4, 0.7),
        drop=drop,
        tilt=person.normal(0.03, 0.05),
        skew=person.normal(0.12, 0.12),
        lift=lift,
        sink=sink,
    )
    own = [person.normal(0, 1) for _ in range(12)]
    bumps = np.stack(own, -1).reshape(-1, 4, 3) * np.array([18, 12, 1.2], np.float32)
    face = Face(
        skin=person.uniform(*world.skin) * image.uniform(0.75, 1.2),
        iris=world.iris[0] + (world.iris[1] - world.iris[0]) * person.uniform() ** 1.7,
        sclera=image.uniform(*world.sclera),
        light_x=image.uniform(-world.sideways, world.sideways),
        light_y=image.uniform(-1.0, 0.15),
        contrast=image.uniform(*world.contrast),
        crease=np.maximum(person.normal(4.2, 1.5) - np.float32(0.5) * up, np.float32(0.8)),
        crease_depth=person.uniform(0.1, 0.45),
        hollow=person.uniform(0.0, 0.3),
        brow=person.normal(*world.brow) + np.float32(0.2) * head_pitch,
        brow_tone=person.uniform(0.25, 0.75),
        lashes=person.uniform(0.45, 0.9),
        lash_width=person.uniform(*world.lash_width),
        lower_lashes=person.uniform(0.05, 0.35),
        bag=person.uniform(0.0, 0.18),
        bumps=bumps,
        glint=image.uniform(0.2, 1.0) * image.happens(0.8),
        fibres=person.uniform(0.02, 0.12),
        turn=person.uniform(0, 2 * np.pi),
    )
    return scene, face
