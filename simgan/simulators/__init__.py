"""Simulators: labelled images rendered from numbers, clean ones and those of a look-alike of a real camera.

Image i depends on the seed and on i alone, whatever batch it is rendered in.
"""

from simgan.simulators.base import Simulator
from simgan.simulators.eyes import SIMULATORS as _EYES
from simgan.simulators.hands import SIMULATORS as _HANDS

__all__ = ["SIMULATORS", "Simulator"]

SIMULATORS: dict[str, Simulator] = _EYES | _HANDS
"""By the name of the source."""
