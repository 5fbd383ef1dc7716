"""What gaze networks are trained and tested on: eyes with pitch and yaw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data import Crops
from simgan.errors import ConfigError, SourceError
from simgan.experiments import arms
from simgan.experiments.gaze.training import AUGMENTATIONS, Images, check_crops


@dataclass(frozen=True)
class Arm(arms.Arm):
    """What one gaze network is trained on."""

    augmentations: ClassVar[tuple[str, ...]] = AUGMENTATIONS


@dataclass(frozen=True)
class Labelled(arms.Labelled):
    """Crops uint8 (N, H, W) with pitch and yaw (N, 2) in radians."""

    angles: NDArray[np.float64]


@dataclass
class Material(arms.Material[Labelled]):
    """The sources of a gaze experiment; synthetic eyes are left out that look beyond `pitch` and `yaw` degrees."""

    pitch: float = 90.0
    yaw: float = 90.0

    arm = Arm

    def _read(self, dataset: Dataset, source: str) -> Labelled:
        if not {"pitch", "yaw"} <= set(dataset.column_names):
            raise SourceError(
                f"{source} has no gaze labels (pitch and yaw): it can neither train nor test a gaze network"
            )
        images: Images = Crops(dataset)[:]
        angles = np.stack([np.asarray(dataset["pitch"], float), np.asarray(dataset["yaw"], float)], 1)
        check_crops(source, images, angles)
        return Labelled(images, angles, persons=arms.persons_of(dataset))

    def _wanted(self, data: Labelled) -> Labelled:
        within = np.flatnonzero((np.abs(np.degrees(data.angles)) <= [self.pitch, self.yaw]).all(1))
        if len(within) < 2:
            raise ConfigError(
                f"{self.synthetic} has no images within ±{self.pitch}° of pitch and ±{self.yaw}° of yaw: allow more"
            )
        return data.part(within)
