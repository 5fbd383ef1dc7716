"""What hourglasses are trained and tested on: depth crops of hands with 14 joints in px and in mm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data import Crops
from simgan.errors import ConfigError, SourceError
from simgan.experiments import arms
from simgan.experiments.hand_pose.training import AUGMENTATIONS, SIDE, check_hands
from simgan.refiner import Refiner


@dataclass(frozen=True)
class Arm(arms.Arm):
    """What one hourglass is trained on."""

    augmentations: ClassVar[tuple[str, ...]] = AUGMENTATIONS


@dataclass(frozen=True)
class Labelled(arms.Labelled):
    """Crops uint16 (N, 224, 224) in mm with joints (N, 14, 3): u, v in px and d in mm; x, y, z in mm."""

    joints: NDArray[np.float64]
    joints_mm: NDArray[np.float64]


@dataclass
class Material(arms.Material[Labelled]):
    """The sources of a hands experiment."""

    size = (SIDE, SIDE)
    arm = Arm

    def _read(self, dataset: Dataset, source: str) -> Labelled:
        columns = ("joints", "joints_mm")
        if missing := [name for name in columns if name not in dataset.column_names or None in dataset[name][:]]:
            raise SourceError(
                f"{source} has no {missing[0]} (of every image): it can neither train nor test a hourglass"
            )
        images = Crops(dataset)[:]
        joints, joints_mm = (np.asarray(dataset[name][:], np.float64) for name in columns)
        check_hands(source, images, joints, joints_mm)
        return Labelled(images, joints, joints_mm, persons=arms.persons_of(dataset))

    def _check_refiners(self, refiners: dict[str, Refiner]) -> None:
        super()._check_refiners(refiners)
        for name, refiner in refiners.items():
            if refiner.config.domain != "hands":
                raise ConfigError(f"{name} refines {refiner.config.domain}, not hands: give a model of depth images")
