"""The gaze experiment: networks estimate where eyes look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from torch import nn

from simgan.data import Crops
from simgan.errors import ConfigError, SourceError
from simgan.experiments.gaze.training import (
    AUGMENTATIONS,
    GazeResult,
    build_network,
    check_crops,
    estimate_gaze,
    measure_gaze,
    train_network,
)
from simgan.experiments.sources import persons_of
from simgan.experiments.task import Column, Curve, Floats, LabelledImages, Task

WITHIN = 7.0  # degrees, of the paper's table


@dataclass(frozen=True)
class GazeTask(Task):
    """Pitch and yaw of eyes; networks are trained on synthetic eyes that look within `pitch` and `yaw` degrees."""

    pitch: float = 90.0
    yaw: float = 90.0

    name = "gaze"
    title = "Gaze"
    domain = "eyes"
    columns = (
        Column("error", "error°"),
        Column("median_error", "median°", median=True),
        Column("error_without_offset", "without offset°"),
        Column("share_within_7_degrees", f"within {WITHIN:.0f}°, %", 0, 100),
    )
    axis = "gaze error, degrees"
    unit = "°"
    less_is_better = True
    curve = Curve(20.0, "distance from the true gaze, degrees", "test images")
    augmentations = AUGMENTATIONS

    def read(self, dataset: Dataset, source: str) -> LabelledImages:
        """Return crops uint8 (N, H, W) with `angles`: pitch and yaw (N, 2) in radians."""
        if not {"pitch", "yaw"} <= set(dataset.column_names):
            raise SourceError(
                f"{source} has no gaze labels (pitch and yaw): it can neither train nor test a gaze network"
            )
        images = Crops(dataset)[:]
        angles = np.stack([np.asarray(dataset[name], np.float64) for name in ("pitch", "yaw")], 1)
        check_crops(source, images, angles)
        return LabelledImages(images, {"angles": angles}, persons_of(dataset))

    def select(self, data: LabelledImages, source: str) -> LabelledImages:
        """Return the eyes that look within the limits."""
        within = np.flatnonzero((np.abs(np.degrees(data.labels["angles"])) <= [self.pitch, self.yaw]).all(1))
        if len(within) < 2:
            raise ConfigError(
                f"{source} has no images within ±{self.pitch}° of pitch and ±{self.yaw}° of yaw: allow more"
            )
        return data.part(within)

    def build(self, data: LabelledImages, training: Any, seed: int) -> nn.Module:
        """Return an untrained gaze network."""
        height, width = data.images.shape[1:]
        return build_network(height, width, training, seed=seed)

    def train(self, network: nn.Module, data: LabelledImages, training: Any, seed: int) -> None:
        """Train a gaze network in place."""
        train_network(network, data.images, data.labels["angles"], training, seed=seed)

    def estimate(self, network: nn.Module, data: LabelledImages, training: Any) -> Floats:
        """Return pitch and yaw (N, 2) in radians."""
        return estimate_gaze(network, data.images)

    def measure(self, estimates: Floats, data: LabelledImages, seed: int) -> GazeResult:
        """Compare estimates with the true angles."""
        return measure_gaze(estimates, data.labels["angles"], seed=seed)

    def errors_by_image(self, result: GazeResult) -> dict[str, Floats]:
        """Return errors in degrees, with and without the mean offset, and whether they are within 7°."""
        within = (result.errors < WITHIN).astype(np.float64)
        calibrated = result.errors_without_offset
        return {"error": result.errors, "error_without_offset": calibrated, "share_within_7_degrees": within}

    def summary(self, result: GazeResult) -> str:
        """Return the mean error."""
        return f"{result.error:.2f}°"
