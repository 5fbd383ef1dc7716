"""What is measured of the runs of an ablation: realism and annotation shift, on images that no run has seen."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simgan.data import Crops, load
from simgan.discriminator import Discriminator
from simgan.domains import of_preset
from simgan.domains.base import Images
from simgan.experiments.files import finite
from simgan.hub.cards.records import read_records
from simgan.images import codecs
from simgan.images.arrays import equalize_images
from simgan.refiner import Refiner
from simgan.simulators import SIMULATORS
from simgan.training.config import TrainingConfig
from simgan.training.held_out import summarize
from simgan.training.sources import REAL_SEED, SYNTHETIC_SEED, split

MEASURED = 400  # images of a source
_OTHER_SEED = 80_000  # added to a simulator's seed: images of other persons than it trains with


class Unseen:
    """Stored images (N, H, W) or (N, H, W, 3) that no run was trained on, equalized if the refiner equalizes.

    `synthetic`: of each source, with its labels by column, of a simulator with another seed. `real`: the first half and
    then the second of each source, in equal shares. `raw` is the distance of the synthetic images from the real ones,
    `floor` that between the halves of the real ones. `SourceError` where a source is unknown, empty or too small.
    """

    def __init__(self, config: TrainingConfig) -> None:
        self.domain = of_preset(config.preset)[0]
        real = [_read(source, config, REAL_SEED)[0] for source in config.real]
        size = max(1, min(len(images) for images in real) // 2)
        halves = [np.concatenate([images[part] for images in real]) for part in (np.s_[:size], np.s_[-size:])]
        self.real = np.concatenate(halves)
        self.synthetic = [_read(source, config, SYNTHETIC_SEED) for source in config.synthetic]
        self.raw = self._distance([before for before, _ in self.synthetic])
        self.floor = self.domain.realism(*halves)

    def measure(self, checkpoint: Path) -> dict[str, Any]:
        """Measure the networks of a checkpoint; a figure that could not be measured is None.

        `distance` of the refined images from the real ones, mean over the synthetic sources; `closed`, the share of the
        gap between `raw` and `floor`; `shift`, `shift_median` and `shift_failed` (see `ShiftSummary`), each of the
        source for which it is worst; `accuracy`, the share of patches (of images where the loss is global) that the
        discriminator classifies correctly, mean of refined and real ones; `commit` of the code that trained.
        """
        refiner, discriminator = Refiner.from_pretrained(checkpoint), Discriminator.from_pretrained(checkpoint)
        refined = [np.stack(refiner.refine(list(before))) for before, _ in self.synthetic]
        shifts = [
            summarize(self.domain.shift(before, after, labels))
            for (before, labels), after in zip(self.synthetic, refined, strict=True)
        ]
        *refined_seen, real_seen = (
            float((discriminator.probability_real(refiner.codec.to_tensor(images)).numpy() >= 0.5).mean())
            for images in (*refined, self.real)
        )
        distance, gap = self._distance(refined), self.raw - self.floor
        worst = np.max(shifts, axis=0).tolist()
        figures = {
            "distance": distance,
            "raw": self.raw,
            "floor": self.floor,
            "closed": (self.raw - distance) / gap if gap > 0 else math.nan,
            **dict(zip(("shift", "shift_median", "shift_failed"), worst, strict=True)),
            "accuracy": float(1 - np.mean(refined_seen) + real_seen) / 2,
        }
        return dict(finite(figures)) | {"commit": read_records(checkpoint).header.get("commit", "unknown")}

    def _distance(self, sets: list[Images]) -> float:
        return float(np.mean([self.domain.realism(images, self.real) for images in sets]))


def _read(source: str, config: TrainingConfig, seed: int) -> tuple[Images, dict[str, Any]]:
    domain, recipe = of_preset(config.preset)
    config = replace(config, window=0) if codecs.get(domain.codec).is_depth else config  # depth is measured whole
    if source in SIMULATORS:
        size, count, seed = config.size or domain.size, min(MEASURED, config.limit or MEASURED), seed + _OTHER_SEED
        data = load(source, size=size, channels=config.channels or 1, limit=count, seed=seed, window=config.window or 0)
    else:
        data = split(source, config, seed)[1]
        data = data.select(np.linspace(0, len(data) - 1, min(MEASURED, len(data))).astype(int))
    images: Images = Crops(data, channels=config.channels or 1)[:]
    if config.equalize or recipe.refiner.get("equalize"):
        images = equalize_images(images)
    return images, {name: data[name][:] for name in domain.measured if name in data.column_names}
