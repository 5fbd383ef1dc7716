"""Experiments: does refining help a network that is trained on the images? Measures and ablation of refiners."""

from collections.abc import Callable
from typing import Annotated, Any

import tyro

from simgan.experiments.classes.experiment import ClassesExperiment
from simgan.experiments.gaze.experiment import GazeExperiment
from simgan.experiments.hand_pose.experiment import HandsExperiment
from simgan.experiments.points.experiment import PointsExperiment
from simgan.experiments.run import evaluate


def evaluate_gaze(options: Annotated[GazeExperiment, tyro.conf.arg(name="")]) -> None:
    """Does refining help? Train gaze networks on each arm's images and test all of them on the same real ones.

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.
    """
    evaluate(options)


def evaluate_hands(options: Annotated[HandsExperiment, tyro.conf.arg(name="")]) -> None:
    """Does refining help to find joints? Train hourglasses on each arm's depth images, test them on the same real ones.

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.
    """
    evaluate(options)


def evaluate_classes(options: Annotated[ClassesExperiment, tyro.conf.arg(name="")]) -> None:
    """Does refining help to recognize classes? Train networks on each arm's images, test them on the same real ones.

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.
    """
    evaluate(options)


def evaluate_points(options: Annotated[PointsExperiment, tyro.conf.arg(name="")]) -> None:
    """Does refining help to find points? Train hourglasses on each arm's images, test them on the same real ones.

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.
    """
    evaluate(options)


COMMANDS: dict[str, Callable[..., Any]] = {
    "classes": evaluate_classes,
    "points": evaluate_points,
    "gaze": evaluate_gaze,
    "hands": evaluate_hands,
}
"""Commands of `simgan evaluate`, by the name of the task."""
