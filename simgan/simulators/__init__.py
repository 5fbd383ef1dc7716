"""Simulators of labelled images, clean or as a real camera's look-alike; image i depends on the seed and on i alone."""

from simgan.simulators.base import Simulator
from simgan.simulators.eyes import camera as _webcam
from simgan.simulators.eyes import renders as _eyes
from simgan.simulators.hands import camera as _depth_camera
from simgan.simulators.hands import renders as _hands

__all__ = ["SIMULATORS", "Simulator"]

SIMULATORS: dict[str, Simulator] = {
    "simulator:eyes": _eyes.SIMULATOR,
    "camera:eyes": _webcam.SIMULATOR,
    "simulator:hands": _hands.SIMULATOR,
    "camera:hands": _depth_camera.SIMULATOR,
}
"""Simulators by the name of their source; add your own."""
