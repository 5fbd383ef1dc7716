"""Persons before the camera, where they look, and the light: the parameters of a scene."""

from dataclasses import dataclass

import numpy as np

from simgan.simulators.base import Batch, Population
from simgan.simulators.eyes.geometry import DISTANCE, IRIS_DEPTH, EyeScene
from simgan.simulators.random_numbers import RandomNumbers

_DEGREE = np.float32(np.pi / 180)
# The same for all populations. (mean, deviation) of the head's angles, (low, high) of the eye's relative to half the
# head's, in degrees; (mean, deviation) of how far the eye is open, 1 = relaxed.
_HEAD_PITCH, _HEAD_YAW = (-3, 6), (0, 9)
_EYE_PITCH, _EYE_YAW = (-20, 8), (-20, 20)
_OPENNESS = (0.92, 0.12)


@dataclass(frozen=True)
class EyePopulation(Population):
    """The looks of a population and its light; (low, high) of uniform draws unless said otherwise."""

    pupil: tuple[float, float]  # radius in mm
    brow: tuple[float, float]  # row of its lower edge: mean and deviation
    lash_width: tuple[float, float]  # px
    skin: tuple[float, float]  # grey tones
    iris: tuple[float, float]
    sclera: tuple[float, float]
    contrast: tuple[float, float]  # of light and shadow on the face
    sideways: float  # largest slope of the light to either side, 1 = 45 degrees


@dataclass
class Face(Batch):
    """The looks of persons in their light, (N,) float32: tones in [0, 1], lengths in px of the crop."""

    skin: np.ndarray
    iris: np.ndarray
    sclera: np.ndarray
    light_x: np.ndarray  # slope of the light: > 0 comes from the right of the image
    light_y: np.ndarray  # > 0 comes from below
    contrast: np.ndarray
    crease: np.ndarray  # height of the upper fold above the margin of the lid
    crease_depth: np.ndarray
    hollow: np.ndarray  # darkness between nose and brow
    brow: np.ndarray  # row of the brow's lower edge
    brow_tone: np.ndarray
    lashes: np.ndarray  # darkness of the upper lashes
    lash_width: np.ndarray
    lower_lashes: np.ndarray
    bag: np.ndarray  # depth of the fold below the eye
    bumps: np.ndarray  # (N, 4, 3): x, y and height of bumps of the face
    glint: np.ndarray  # brightness of the light's image on the cornea
    fibres: np.ndarray  # contrast of the iris' fibres
    turn: np.ndarray  # the angle around the iris at which they start, radians


def populate(population: EyePopulation, numbers: np.ndarray, seed: int) -> tuple[EyeScene, Face, np.ndarray]:
    """Return scenes, faces and persons' names of images by number. Persons keep their looks from image to image."""
    image, person, names = population.draw(numbers, seed)
    return *_draw(population, person, image), names


def _draw(population: EyePopulation, person: RandomNumbers, image: RandomNumbers) -> tuple[EyeScene, Face]:
    head_pitch, head_yaw = image.normal(*_HEAD_PITCH), image.normal(*_HEAD_YAW)
    eye_pitch, eye_yaw = image.uniform(*_EYE_PITCH), image.uniform(*_EYE_YAW)
    half, limit = np.float32(0.5), np.float32(32)
    pitch = head_pitch + np.clip(eye_pitch - half * head_pitch, -limit, limit)
    yaw = head_yaw + np.clip(eye_yaw - half * head_yaw, -limit, limit)
    up = np.float32(IRIS_DEPTH) * np.sin((pitch - head_pitch) * _DEGREE)  # mm that the iris has risen in the head

    openness = image.normal(*_OPENNESS)
    follows = person.uniform(0.65, 0.85)
    drop = person.normal(1.9, 0.5)
    lift = np.maximum(person.normal(4.4, 0.6) * openness + follows * up + drop, np.float32(0.4))
    sink = np.maximum(person.normal(5.2, 0.5) * (half + half * openness) - np.float32(0.3) * up - drop, np.float32(1.0))
    shift = np.stack([image.normal(0, 0.45), image.normal(0, 0.45), np.zeros_like(up)], -1)
    place = np.stack([person.normal(0, 0.4), person.normal(-1.7, 0.4), np.full_like(up, DISTANCE)], -1)
    scene = EyeScene(
        pitch=pitch * _DEGREE,
        yaw=yaw * _DEGREE,
        head_pitch=head_pitch * _DEGREE,
        head_yaw=head_yaw * _DEGREE,
        eyeball=place + shift,
        pupil=image.uniform(*population.pupil),
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
        skin=person.uniform(*population.skin) * image.uniform(0.75, 1.2),
        iris=population.iris[0] + (population.iris[1] - population.iris[0]) * person.uniform() ** 1.7,
        sclera=image.uniform(*population.sclera),
        light_x=image.uniform(-population.sideways, population.sideways),
        light_y=image.uniform(-1.0, 0.15),
        contrast=image.uniform(*population.contrast),
        crease=np.maximum(person.normal(4.2, 1.5) - np.float32(0.5) * up, np.float32(0.8)),
        crease_depth=person.uniform(0.1, 0.45),
        hollow=person.uniform(0.0, 0.3),
        brow=person.normal(*population.brow) + np.float32(0.2) * head_pitch,
        brow_tone=person.uniform(0.25, 0.75),
        lashes=person.uniform(0.45, 0.9),
        lash_width=person.uniform(*population.lash_width),
        lower_lashes=person.uniform(0.05, 0.35),
        bag=person.uniform(0.0, 0.18),
        bumps=bumps,
        glint=image.uniform(0.2, 1.0) * image.happens(0.8),
        fibres=person.uniform(0.02, 0.12),
        turn=person.uniform(0, 2 * np.pi),
    )
    return scene, face
