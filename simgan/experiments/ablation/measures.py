"""What is measured of the runs of an ablation: both promises of a refiner, on the same images that none has seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.data import Crops, load
from simgan.discriminator import Discriminator
from simgan.domains import of_preset
from simgan.domains.iris import annotation_shift
from simgan.hub.cards.records import read_records
from simgan.images.arrays import equalize, to_tensor
from simgan.measures.patches import patch_swd
from simgan.refiner import Refiner
from simgan.training.config import TrainingConfig
from simgan.training.sources import REAL_SEED, SYNTHETIC_SEED, split

Images = NDArray[np.uint8]
_MEASURED = 400  # images of a source
_OTHER_WORLD = 80_000  # added to a simulator's seed: other persons than it trains with


@dataclass(frozen=True)
class Unseen:
    """Images that no run was trained on, uint8 (N, H, W), equalized where the refiner wants it.

    `synthetic`: of each source, with the places of the pupils (N, 2) where the source labels them. `halves`: of the
    real images, each source in equal shares; frames next to each other are in the same half.
    """

    synthetic: list[tuple[Images, NDArray[np.float64] | None]]
    halves: tuple[Images, Images]

    @classmethod
    def of(cls, config: TrainingConfig) -> Unseen:
        """Read them: of an embedded source another seed's world, of any other what the runs hold out.

        `SourceError` where a source is unknown, empty or too small.
        """
        real = [_read(source, config, REAL_SEED)[0] for source in config.real]
        size = max(1, min(len(images) for images in real) // 2)
        first, second = ([images[part] for images in real] for part in (slice(size), slice(-size, None)))
        synthetic = [_read(source, config, SYNTHETIC_SEED) for source in config.synthetic]
        return cls(synthetic, (np.concatenate(first), np.concatenate(second)))

    @property
    def real(self) -> Images:
        """All real images."""
        return np.concatenate(self.halves)

    @cached_property
    def raw(self) -> float:
        """Patch distance of the synthetic images to the real ones."""
        return self._distance([before for before, _ in self.synthetic])

    @cached_property
    def floor(self) -> float:
        """Patch distance between the halves of the real images."""
        return patch_swd(*self.halves)

    def measure(self, checkpoint: Path) -> dict[str, Any]:
        """Measure the networks of a checkpoint; a figure that could not be measured is None.

        Returns:
            `distance`: patch distance of the refined images to the real ones, mean over the synthetic sources;
            `raw`, `floor`, and `closed`, the share of the gap between both that is closed. `shift`: how far the iris
            moved, px, mean without the worst 5 %; `shift_median`; `shift_failed`, the share where none was found; of
            the source that they are worst for. `accuracy`: share of patches that the discriminator tells right, mean of
            refined and real ones (of images where its loss is global). `commit` of the code that trained.
        """
        refiner, discriminator = Refiner.from_pretrained(checkpoint), Discriminator.from_pretrained(checkpoint)
        after = [refine_all(refiner, before) for before, _ in self.synthetic]
        shifts = [
            annotation_shift(before, refined, start)
            for (before, start), refined in zip(self.synthetic, after, strict=True)
        ]
        fooled = [discriminator.probability_real(to_tensor(images)).numpy() >= 0.5 for images in (*after, self.real)]
        distance, gap = self._distance(after), self.raw - self.floor
        figures = {
            "distance": distance,
            "raw": self.raw,
            "floor": self.floor,
            "closed": (self.raw - distance) / gap if gap > 0 else math.nan,
            "shift": np.max([shift.trimmed_mean for shift in shifts]),
            "shift_median": np.max([shift.median for shift in shifts]),
            "shift_failed": np.max([shift.failed for shift in shifts]),
            "accuracy": float((1 - np.mean([seen.mean() for seen in fooled[:-1]]) + fooled[-1].mean()) / 2),
        }
        known = {name: float(value) if math.isfinite(value) else None for name, value in figures.items()}
        return {**known, "commit": read_records(checkpoint).header.get("commit", "unknown")}

    def _distance(self, sets: list[Images]) -> float:
        return float(np.mean([patch_swd(images, self.real) for images in sets]))


def refine_all(refiner: Refiner, images: Images) -> Images:
    """Refine images (N, H, W) to the same shape."""
    refined: Images = np.stack(refiner.refine(list(images)))
    return refined


def _read(source: str, config: TrainingConfig, seed: int) -> tuple[Images, NDArray[np.float64] | None]:
    if source.partition(":")[0] in ("simulator", "camera"):
        data = load(source, limit=min(_MEASURED, config.limit or _MEASURED), seed=seed + _OTHER_WORLD)
    else:
        data = split(source, config, seed)[1]
        data = data.select(np.linspace(0, len(data) - 1, min(_MEASURED, len(data))).astype(int))
    images: Images = Crops(data)[:]
    if of_preset(config.preset)[1].refiner.get("equalize"):
        images = np.stack([equalize(image) for image in images])
    if "pupil" not in data.column_names:
        return images, None
    return images, np.array([(math.nan, math.nan) if at is None else at for at in data["pupil"]], dtype=np.float64)
