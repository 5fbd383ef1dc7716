"""The simulator: clean grey renders of eyes, 55×35 as MPIIGaze crops them, with labels that are exact by geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simgan.simulators.chance import numbers
from simgan.simulators.eyes.geometry import HEIGHT, WIDTH, labels, look
from simgan.simulators.eyes.painting import paint
from simgan.simulators.eyes.people import World, populate
from simgan.simulators.parallel import in_batches

# Eyes look where those before the camera look and open as wide, or a refiner would take that for the difference and
# close them. What is left is appearance: one lamp before the face, pale whites and irises, thin lashes, no brow.
WORLD = World(
    stream=0x5EED,
    persons=200,
    prefix="sim",
    head_pitch=(-3, 6),
    head_yaw=(0, 9),
    eye_pitch=(-20, 8),
    eye_yaw=(-20, 20),
    openness=(0.92, 0.12),
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
    wanted = numbers(indices)
    scene, face, person = populate(WORLD, wanted, seed)
    images = np.empty((len(wanted), HEIGHT, WIDTH), np.uint8)

    def work(part: slice) -> None:
        some = scene.part(part)
        tones = paint(some, face.part(part), look(some))
        images[part] = np.clip(tones * 255, 0, 255).round()

    in_batches(work, len(wanted))
    return images, {**labels(scene), "person": person}
