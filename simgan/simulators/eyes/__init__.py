"""The simulator of eyes, and the look-alike of a webcam that photographs other persons' eyes."""

from simgan.simulators.base import Simulator
from simgan.simulators.eyes import camera, renders
from simgan.simulators.eyes.geometry import HEIGHT, WIDTH

_LABELS = ("gaze", "pitch", "yaw", "head_rotation", "pupil", "iris", "lids")
SIMULATORS = {
    "simulator:eyes": Simulator("eyes", (WIDTH, HEIGHT), _LABELS, 256, renders.render),
    "camera:eyes": Simulator("eyes", (WIDTH, HEIGHT), _LABELS, 256, camera.render),
}
