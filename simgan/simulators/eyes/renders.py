"""Clean grey renders of eyes, 55×35 as MPIIGaze crops them, with labels that are exact by geometry."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from simgan.simulators.base import run_in_threads
from simgan.simulators.eyes.geometry import HEIGHT, WIDTH, labels, look
from simgan.simulators.eyes.painting import paint
from simgan.simulators.eyes.people import EyePopulation, populate
from simgan.simulators.random_numbers import RandomNumbers, image_numbers

# Gaze and lids are distributed as those of the look-alike webcam, or a refiner would take that for the difference and
# close the eyes. Only the appearance differs: one lamp before the face, pale whites and irises, thin lashes, no brow.
POPULATION = EyePopulation(
    stream=0x5EED,
    persons=200,
    prefix="sim",
    pupil=(1.6, 3.2),
    brow=(-14, 1),
    lash_width=(0.5, 0.8),
    skin=(0.35, 0.72),
    iris=(0.3, 0.6),
    sclera=(0.85, 1.0),
    contrast=(0.1, 0.4),
    sideways=0.3,
)


def render(indices: Sequence[int] | np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Render the images of these numbers (from 0 on; each number always gives the same image for a seed).

    Returns images uint8 (N, 35, 55) and labels: gaze (N, 3) unit vectors, pitch and yaw (N,) in radians,
    head_rotation (N, 9), pupil (N, 2), iris (N, 8, 2) and lids (N, 12, 2) in pixels of the crop, person (N,) str.
    `ConfigError` if an index is negative or not a whole number.
    """
    return render_population(POPULATION, indices, seed)


def render_population(
    population: EyePopulation,
    indices: Sequence[int] | np.ndarray,
    seed: int,
    camera: Callable[[RandomNumbers], Any] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Render images of a population as `render` does, or as a camera with the methods of `Webcam` takes them."""
    numbers = image_numbers(indices)
    scene, face, person = populate(population, numbers, seed)
    taken = None if camera is None else camera(population.camera(numbers, seed))
    images = np.empty((len(numbers), HEIGHT, WIDTH), np.uint8)

    def work(part: slice) -> None:
        some = scene.part(part)
        view = look(some)
        tones = paint(some, face.part(part), view, None if taken is None else taken.tint(part, view))
        if taken is None:
            images[part] = np.clip(tones * 255, 0, 255).round()
        else:
            for number, tone in enumerate(tones, part.start):
                images[number] = taken.develop(number, tone)

    run_in_threads(work, len(numbers))
    return images, {**labels(scene), "person": person}
