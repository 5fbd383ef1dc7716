"""The hands experiment: the same hourglass trained on each arm's crops, tested on the same real ones, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.domains.hands import JOINTS
from simgan.experiments.experiment import ArmResult, Comparison, Task, pairs, run_arms
from simgan.experiments.hand_pose.arms import Labelled, Material
from simgan.experiments.hand_pose.training import (
    WITHIN,
    HandsResult,
    HandsTraining,
    build_network,
    estimate_joints,
    measure_joints,
    train_network,
)
from simgan.measures.statistics import Estimate
from simgan.measures.statistics import estimate_errors as estimate

ARMS = ("synthetic", "refined", "3x-synthetic", "3x-refined", "synthetic+noise+holes")
"""The paper's table but for real images, and the rival: plain augmentation of what the simulator gives."""

PAPER = {"synthetic": 0.697, "refined": 0.724, "real": 0.745, "3x-synthetic": 0.777, "3x-refined": 0.833}
"""Share of joints within 5 px that the paper reports, on NYU."""

_PIXELS = tuple(range(1, 11))
_MILLIMETRES = tuple(range(2, 41, 2))


@dataclass(frozen=True)
class Difference:
    """One arm less another, paired by test image and seed; the first is better where its share is greater."""

    first: str
    second: str
    share_within_5px: Estimate
    error: Estimate  # px
    error_mm: Estimate


@dataclass(frozen=True)
class HandsComparison(Comparison[HandsResult]):
    """All arms of an experiment with hands."""

    def differences(self) -> list[Difference]:
        """The arms in `pairs`."""
        return [self._difference(first, second) for first, second in pairs(self.arms)]

    def _difference(self, first: ArmResult[HandsResult], second: ArmResult[HandsResult]) -> Difference:
        each = [
            estimate(one - other, self.groups)
            for one, other in zip(_by_image(first).values(), _by_image(second).values(), strict=True)
        ]
        return Difference(first.name, second.name, *each)

    def figures(self, row: ArmResult[HandsResult]) -> dict[str, Any]:
        """What is reported of an arm: means over the seeds with their intervals, and every seed by itself."""
        by_joint = (row.errors < WITHIN).mean((0, 1))
        return {
            "trained_on": row.name,
            "images": row.images,
            **{name: asdict(estimate(values, self.groups)) for name, values in _by_image(row).items()},
            "median_error": float(np.mean([result.median_error for result in row.results])),
            "pck_px": {str(d): float((row.errors < d).mean()) for d in _PIXELS},
            "pck_mm": {str(d): float((row.stacked("errors_mm") < d).mean()) for d in _MILLIMETRES},
            "share_within_5px_by_joint": dict(zip(JOINTS, by_joint.tolist(), strict=True)),
            "seeds": row.seeds(),
        }


def _by_image(row: ArmResult[HandsResult]) -> dict[str, NDArray[np.float64]]:
    """What is resampled, (seeds, images): means over the joints of an image."""
    return {
        "share_within_5px": (row.errors < WITHIN).mean(2),
        "error": row.errors.mean(2),
        "error_mm": row.stacked("errors_mm").mean(2),
    }


def run_experiment(
    material: Material,
    arms: Sequence[str] = ARMS,
    *,
    seeds: int = 3,
    training: HandsTraining | None = None,
    finetune: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda line: None,
) -> HandsComparison:
    """Train and test every arm with every seed, as `run_arms` does; `ConfigError` for what cannot be trained."""
    training = training or HandsTraining()
    task: Task[Labelled, HandsTraining, HandsResult] = Task(
        build=lambda data, used, seed: build_network(used, seed=seed),
        train=lambda network, data, used, seed: train_network(network, data.images, data.joints, used, seed=seed),
        estimate=lambda network, data: estimate_joints(network, data.images, training.heat),
        measure=lambda estimates, data, seed: measure_joints(estimates, data.joints, data.joints_mm, seed=seed),
        tell=lambda result: f"{result.share_within_5px:.1%} within 5 px",
    )
    found = run_arms(
        task,
        material,
        arms,
        training=training,
        seeds=seeds,
        finetune=finetune,
        folder=folder,
        device=device,
        tell=tell,
    )
    return HandsComparison(*found)
