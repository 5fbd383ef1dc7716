"""The simulator of hands, and the look-alike of a depth camera that sees other persons' hands."""

from simgan.simulators.base import Simulator
from simgan.simulators.hands import camera, renders

_LABELS = ("joints", "joints_mm")
SIMULATORS = {
    "simulator:hands": Simulator("hands", (renders.SIZE, renders.SIZE), _LABELS, 16, renders.render),
    "camera:hands": Simulator("hands", (renders.SIZE, renders.SIZE), _LABELS, 16, camera.render),
}
