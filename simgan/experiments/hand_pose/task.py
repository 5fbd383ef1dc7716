"""The hand pose experiment: stacked hourglasses find the joints of hands in depth images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from torch import nn

from simgan.data import Crops
from simgan.errors import SourceError
from simgan.experiments.hand_pose.training import (
    AUGMENTATIONS,
    WITHIN,
    HandsResult,
    build_network,
    check_hands,
    estimate_joints,
    measure_joints,
    train_network,
)
from simgan.experiments.sources import persons_of
from simgan.experiments.task import Column, Curve, Floats, LabelledImages, Task


@dataclass(frozen=True)
class HandPoseTask(Task):
    """14 joints of hands, in px of the crop."""

    name = "hands"
    title = "Hands"
    domain = "hands"
    columns = (
        Column("share_within_5px", "within 5 px, %", 1, 100),
        Column("error", "error px"),
        Column("error_mm", "error mm"),
    )
    axis = "joints within 5 px, %"
    unit = " %"
    less_is_better = False
    curve = Curve(10.0, "distance from the true joint, px of 224", "joints")
    augmentations = AUGMENTATIONS
    # The paper's table but for real images, and what a user would do without a refiner: plain augmentation.
    arms = ("synthetic", "refined", "3x-synthetic", "3x-refined", "synthetic+noise+holes")
    paper = {"synthetic": 0.697, "refined": 0.724, "real": 0.745, "3x-synthetic": 0.777, "3x-refined": 0.833}  # noqa: RUF012
    note = "px of a crop of 224; mm across, at the depth of the joint's label. The paper's figures are on NYU."

    def read(self, dataset: Dataset, source: str) -> LabelledImages:
        """Return crops uint16 (N, 224, 224) in mm with `joints` (u, v in px, d in mm) and `joints_mm`, (N, 14, 3)."""
        columns = ("joints", "joints_mm")
        if missing := [name for name in columns if name not in dataset.column_names or None in dataset[name][:]]:
            raise SourceError(
                f"{source} has no {missing[0]} (of every image): it can neither train nor test an hourglass"
            )
        images = Crops(dataset)[:]
        labels = {name: np.asarray(dataset[name][:], np.float64) for name in columns}
        check_hands(source, images, **labels)
        return LabelledImages(images, labels, persons_of(dataset))

    def build(self, data: LabelledImages, training: Any, seed: int) -> nn.Module:
        """Return an untrained hourglass."""
        return build_network(training, seed=seed)

    def train(self, network: nn.Module, data: LabelledImages, training: Any, seed: int) -> None:
        """Train an hourglass in place."""
        train_network(network, data.images, data.labels["joints"], training, seed=seed)

    def estimate(self, network: nn.Module, data: LabelledImages, training: Any) -> Floats:
        """Return joints (N, 14, 2) in px."""
        return estimate_joints(network, data.images, training.heat)

    def measure(self, estimates: Floats, data: LabelledImages, seed: int) -> HandsResult:
        """Compare estimates with the true joints."""
        return measure_joints(estimates, data.labels["joints"], data.labels["joints_mm"], seed=seed)

    def errors_by_image(self, result: HandsResult) -> dict[str, Floats]:
        """Return means over the joints of each image."""
        within = (result.errors < WITHIN).mean(1)
        return {"share_within_5px": within, "error": result.errors.mean(1), "error_mm": result.errors_mm.mean(1)}

    def summary(self, result: HandsResult) -> str:
        """Return the share of joints within 5 px."""
        return f"{result.share_within_5px:.1%} within 5 px"
