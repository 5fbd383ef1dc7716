"""Experiments: does refining help a network that is trained on the images? Measures and ablation of refiners."""

from collections.abc import Callable
from typing import Any

from simgan.experiments.gaze.command import evaluate_gaze
from simgan.experiments.hand_pose.command import evaluate_hands

COMMANDS: dict[str, Callable[..., Any]] = {"gaze": evaluate_gaze, "hands": evaluate_hands}
"""Commands of `simgan evaluate`, by the name of the task; light to import."""
