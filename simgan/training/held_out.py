"""What a run measures on held-out images: realism, annotation shift, and a sample sheet."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from simgan.domains.base import Floats, Images
from simgan.images.arrays import equalize_images, to_array, to_tensor
from simgan.training.measures import as_measured, summarize
from simgan.training.selection import Record
from simgan.training.sheets import write_sheet
from simgan.training.step import Trainer

MEASURED = 192  # held-out images of either side that are measured
SHEET = 12  # of them shown on a sheet
BATCH = 32


class HeldOut:
    """The held-out images of a run, as the refiner takes them."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.domain = trainer, trainer.domain
        equalize = trainer.average.config.equalize
        self.synthetic, self.real = (
            [equalize_images(images) if equalize else images for images in sources]
            for sources in (trainer.data.held_out_synthetic, trainer.data.held_out_real)
        )

    @torch.inference_mode()
    def measure(self, sheet: Path) -> Record:
        """Return the record of the present step, and write its sample sheet.

        Realism is the mean over the synthetic sources and shift that of the worst one: each source has to become real
        and keep its labels, not their mixture.
        """
        trainer = self.trainer
        before, real = (_mixed(sources, MEASURED) for sources in (self.synthetic, self.real))
        after, prepared = (self._map(f, before) for f in (trainer.average, trainer.average.photometry))
        maps = [
            trainer.discriminator.probability_real(to_tensor(images)).float().cpu().numpy() for images in (after, real)
        ]
        shifts = [summarize(shift) for shift in self._shifts(before, after)]
        halves = [_mixed([images[k::2] for images in self.real], MEASURED // 2) for k in (0, 1)]
        shown = np.linspace(0, len(before) - 1, min(SHEET, len(before))).astype(int)
        write_sheet(sheet, self._seen(before[shown]), self._seen(after[shown]), maps[0][shown], trainer.average.codec)
        return {
            "step": trainer.counters.step,
            "realism": float(np.mean([self._distance(after[part], real) for part in self._sources()])),
            "realism_raw": float(np.mean([self._distance(before[part], real) for part in self._sources()])),
            "realism_floor": self._distance(*halves),
            "shift": float(np.max([shift.trimmed_mean for shift in shifts])),
            "shift_median": float(np.max([shift.median for shift in shifts])),
            "shift_failed": float(np.mean([shift.failed for shift in shifts])),
            "accuracy_refined": float((maps[0].mean((1, 2)) < 0.5).mean()),
            "accuracy_real": float((maps[1].mean((1, 2)) >= 0.5).mean()),
            "map_spread": float(np.concatenate([m.ravel() for m in maps]).std()),
            "change": float(np.abs(after.astype(float) - prepared).mean() / (np.iinfo(after.dtype).max / 2)),
            "contrast": float(after.std() / max(before.std(), 1e-6)),
            "regularization_weight": trainer.regularization_weight,
        }

    def _map(self, function: Callable[[Tensor], Tensor], images: Images) -> Images:
        parts = np.array_split(images, max(1, len(images) // BATCH))
        like = next(self.trainer.average.parameters())
        return np.concatenate([to_array(function(to_tensor(part).to(like)), part.dtype) for part in parts])

    def _distance(self, images: Images, real: Images) -> float:
        return self.domain.realism(self._seen(images), self._seen(real))

    def _seen(self, images: Images) -> Images:
        return as_measured(self.domain, images)

    def _shifts(self, before: Images, after: Images) -> Iterator[Floats]:
        """Return how far the labelled parts of the images of each synthetic source moved, (N, 2)."""
        labels = self.trainer.data.held_out_labels or [{}] * len(self.synthetic)
        for part, images, known in zip(self._sources(), self.synthetic, labels, strict=True):
            chosen = _evenly(len(images), len(before) // len(self.synthetic))
            of_these = {name: [values[i] for i in chosen] for name, values in known.items()}
            yield self.domain.shift(self._seen(before[part]), self._seen(after[part]), of_these)

    def _sources(self) -> list[slice]:
        """Return which images of the mixture are of each synthetic source."""
        return [slice(k, None, len(self.synthetic)) for k in range(len(self.synthetic))]


def _mixed(sources: Sequence[Images], count: int) -> Images:
    """Return images of all sources in turn, evenly spread over each; those of small sources repeat."""
    share = -(-count // len(sources))
    picked = [images[_evenly(len(images), share)] for images in sources]
    return np.stack(picked, 1).reshape(-1, *picked[0].shape[1:])


def _evenly(length: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, length, count, endpoint=False).astype(np.int64)
