"""The gaze experiment: the same gaze network trained on each arm's images, tested on the same real eyes, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simgan.experiments.experiment import ArmResult, Comparison, Task, pairs, run_arms
from simgan.experiments.gaze.arms import Labelled, Material
from simgan.experiments.gaze.training import (
    GazeResult,
    GazeTraining,
    build_network,
    estimate_gaze,
    measure_gaze,
    train_network,
)
from simgan.measures.statistics import Estimate
from simgan.measures.statistics import estimate_errors as estimate

SHARE_WITHIN = 7.0  # degrees, of the paper's table

GAZE: Task[Labelled, GazeTraining, GazeResult] = Task(
    build=lambda data, training, seed: build_network(data.images.shape[1], data.images.shape[2], training, seed=seed),
    train=lambda network, data, training, seed: train_network(network, data.images, data.angles, training, seed=seed),
    estimate=lambda network, data: estimate_gaze(network, data.images),
    measure=lambda estimates, data, seed: measure_gaze(estimates, data.angles, seed=seed),
    tell=lambda result: f"{result.error:.2f}°",
)


@dataclass(frozen=True)
class Difference:
    """The error of one arm less that of another, paired by test image and seed; below zero the first is better."""

    first: str
    second: str
    error: Estimate
    error_without_offset: Estimate
    reduction: float  # of the mean error, as a share of the second's


@dataclass(frozen=True)
class GazeComparison(Comparison[GazeResult]):
    """All arms of an experiment with gaze."""

    def differences(self) -> list[Difference]:
        """The arms in `pairs`."""
        return [self._difference(first, second) for first, second in pairs(self.arms)]

    def _difference(self, first: ArmResult[GazeResult], second: ArmResult[GazeResult]) -> Difference:
        calibrated = first.stacked("errors_without_offset") - second.stacked("errors_without_offset")
        error = estimate(first.errors - second.errors, self.groups)
        return Difference(
            first=first.name,
            second=second.name,
            error=error,
            error_without_offset=estimate(calibrated, self.groups),
            reduction=-error.value / float(second.errors.mean()),
        )

    def figures(self, row: ArmResult[GazeResult]) -> dict[str, Any]:
        """What is reported of an arm: means over the seeds with their intervals, and every seed by itself."""
        seen = (row.errors, row.stacked("errors_without_offset"))
        within = (row.errors < SHARE_WITHIN).astype(np.float64)
        return {
            "trained_on": row.name,
            "images": row.images,
            "error": asdict(estimate(seen[0], self.groups)),
            "median_error": asdict(estimate(seen[0], self.groups, median=True)),
            "error_without_offset": asdict(estimate(seen[1], self.groups)),
            "median_error_without_offset": asdict(estimate(seen[1], self.groups, median=True)),
            "share_within_7_degrees": asdict(estimate(within, self.groups)),
            "correlation_pitch": float(np.mean([result.correlation_pitch for result in row.results])),
            "correlation_yaw": float(np.mean([result.correlation_yaw for result in row.results])),
            "seeds": row.seeds(),
        }


def run_experiment(
    material: Material,
    arms: Sequence[str],
    *,
    seeds: int = 3,
    training: GazeTraining | None = None,
    finetune: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda line: None,
) -> GazeComparison:
    """Train and test every arm with every seed, as `run_arms` does; `ConfigError` for what cannot be trained."""
    training = training or GazeTraining()
    found = run_arms(
        GAZE,
        material,
        arms,
        training=training,
        seeds=seeds,
        finetune=finetune,
        folder=folder,
        device=device,
        tell=tell,
    )
    return GazeComparison(*found)
