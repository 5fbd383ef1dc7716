"""Embedded domains: labelled renders, and what a look-alike of a real camera makes of other scenes.

All images are rendered from numbers: image i depends on the seed and on i alone, whatever batch it is rendered in.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simgan.simulators.eyes import camera as eye_camera
from simgan.simulators.eyes import renders as eye_renders
from simgan.simulators.hands import camera as hand_camera
from simgan.simulators.hands import renders as hand_renders

Render = Callable[..., tuple[np.ndarray, dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Simulator:
    """A source that renders its images.

    `render(indices, seed=0)` returns stored images (N, height, width) and a dictionary of labels, N rows each.
    """

    domain: str
    size: tuple[int, int]  # width and height
    labels: tuple[str, ...]
    batch: int  # images that are rendered together
    render: Render


_EYES = ("gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids")
_HANDS = ("joints", "joints_mm")
SIMULATORS: dict[str, Simulator] = {
    "simulator:eyes": Simulator("eyes", (55, 35), _EYES, 256, eye_renders.render),
    "camera:eyes": Simulator("eyes", (55, 35), _EYES, 256, eye_camera.render),
    "simulator:hands": Simulator("hands", (224, 224), _HANDS, 16, hand_renders.render),
    "camera:hands": Simulator("hands", (224, 224), _HANDS, 16, hand_camera.render),
}
"""By the name of the source."""
