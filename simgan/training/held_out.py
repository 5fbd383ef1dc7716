"""What a run measures on held-out images: realism, annotation shift, and a sample sheet."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from simgan.domains.base import Floats, Images
from simgan.images.arrays import equalize_images, to_array, to_tensor
from simgan.images.codecs import Codec
from simgan.measures.shift import KEPT, known_mean, known_quantile, trimmed_mean
from simgan.training.data import depths_of
from simgan.training.selection import Record
from simgan.training.step import Trainer

MEASURED = 192  # held-out images of either side that are measured


class ShiftSummary(NamedTuple):
    """Annotation shift over some images, in the domain's unit; NaN where no image could be measured."""

    trimmed_mean: float  # of the images' 90th percentiles, without the largest 5 %
    median: float  # of the images' medians
    failed: float  # share of images that could not be measured


def summarize(shift: Floats) -> ShiftSummary:
    """Sum up what `Domain.shift` returns, (N, 2)."""
    measured = shift[np.isfinite(shift[:, 0])]
    found = (trimmed_mean(measured[:, 1]), float(np.median(measured[:, 0]))) if len(measured) else (np.nan, np.nan)
    return ShiftSummary(*found, failed=1 - len(measured) / len(shift))


@torch.inference_mode()
def measure(trainer: Trainer, sheet: Path) -> Record:
    """Return the record of the present step, and write its sample sheet.

    Realism is the mean over the synthetic sources; shift, and what is left of edges, are those of the worst one: each
    source has to become real and keep its labels, not their mixture.
    """
    domain, average, data = trainer.domain, trainer.average, trainer.data
    synthetic, real_sources = (
        [equalize_images(images) if average.config.equalize else images for images in sources]
        for sources in (data.held_out_synthetic, data.held_out_real)
    )
    before, real = _mixed(synthetic, MEASURED), _mixed(real_sources, MEASURED)
    after, prepared = (_map(f, before, trainer) for f in (partial(average, equalized=True), average.photometry))
    maps = [trainer.discriminator.probability_real(to_tensor(x)).float().cpu().numpy() for x in (after, real)]

    def seen(images: Images) -> Images:
        """As people and measures see stored values: 8 bits, or depth in mm."""
        return depths_of(images) if average.codec.is_depth else images

    parts = [slice(k, None, len(synthetic)) for k in range(len(synthetic))]  # of the mixture, by source
    shifts, single, left, labelled = [], [], [], []
    for part, images, known in zip(parts, synthetic, data.held_out_labels or [{}] * len(parts), strict=True):
        chosen = _evenly(len(images), len(before) // len(parts))
        labels = {name: [values[i] for i in chosen] for name, values in known.items()}
        pair = seen(before[part]), seen(after[part])
        shifts.append(summarize(shift := domain.shift(*pair, labels)))
        labelled.append(domain.is_labelled(labels))
        if labelled[-1]:  # other measures than those at labels err far in single images
            single.append(np.fmax.reduce(shift[:, 1]))
        if domain.edges_left:
            rest = domain.edges_left(*pair, labels)
            left.append((known_mean(rest), known_quantile(rest, 1 - KEPT)))
    halves = [_mixed([images[k::2] for images in real_sources], MEASURED // 2) for k in (0, 1)]
    shown = np.linspace(0, len(before) - 1, min(12, len(before))).astype(int)
    write_sheet(sheet, seen(before[shown]), seen(after[shown]), maps[0][shown], average.codec)
    return {
        "step": trainer.counters.step,
        "realism": float(np.mean([domain.realism(seen(after[part]), seen(real)) for part in parts])),
        "realism_raw": float(np.mean([domain.realism(seen(before[part]), seen(real)) for part in parts])),
        "realism_floor": domain.realism(*map(seen, halves)),
        "shift": float(np.max([shift.trimmed_mean for shift in shifts])),
        "shift_median": float(np.max([shift.median for shift in shifts])),
        "shift_failed": float(np.mean([shift.failed for shift in shifts])),
        "shift_labelled": float(np.mean(labelled)),
        **({"shift_single": float(np.max(single))} if single else {}),
        **(dict(zip(("edges_left", "edges_left_95"), np.min(left, axis=0).tolist(), strict=True)) if left else {}),
        "accuracy_refined": float((maps[0].mean((1, 2)) < 0.5).mean()),
        "accuracy_real": float((maps[1].mean((1, 2)) >= 0.5).mean()),
        "map_spread": float(np.concatenate([m.ravel() for m in maps]).std()),
        "change": float(np.abs(after.astype(float) - prepared).mean() / (np.iinfo(after.dtype).max / 2)),
        "contrast": float(after.std() / max(before.std(), 1e-6)),
        "regularization_weight": trainer.regularization_weight,
    }


def _map(function: Callable[[Tensor], Tensor], images: Images, trainer: Trainer) -> Images:
    parts = np.array_split(images, max(1, len(images) // 32))
    like = next(trainer.average.parameters())
    return np.concatenate([to_array(function(to_tensor(part).to(like)), part.dtype) for part in parts])


def _mixed(sources: Sequence[Images], count: int) -> Images:
    """Return images of all sources in turn, evenly spread over each; those of small sources repeat."""
    share = -(-count // len(sources))
    picked = [images[_evenly(len(images), share)] for images in sources]
    return np.stack(picked, 1).reshape(-1, *picked[0].shape[1:])


def _evenly(length: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, length, count, endpoint=False).astype(np.int64)


def write_sheet(
    file: Path, before: NDArray[Any], after: NDArray[Any], probability_real: NDArray[np.float32], codec: Codec
) -> None:
    """Write a PNG of stored images before and after refining, (N, H, W) or (N, H, W, 3), one column an image.

    Rows, as the codec shows them: input; refined; difference (grey where nothing changed); the discriminator's map
    (N, h, w) of the refined images, from blue (looks refined, 0) to yellow (looks real, 1).
    """
    size = (before.shape[2], before.shape[1])
    columns = []
    for first, second, probability in zip(before, after, probability_real, strict=True):
        map_ = cv2.resize((255 * probability).round().astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        heat = cv2.applyColorMap(map_, cv2.COLORMAP_CIVIDIS)[..., ::-1]
        cells = [*codec.show(first, second), codec.difference(first, second), heat]
        columns.append(np.concatenate([np.pad(cell, ((0, 1), (0, 1), (0, 0))) for cell in cells]))
    sheet = Image.fromarray(np.concatenate(columns, axis=1))
    if size[1] <= 100:
        sheet = sheet.resize((3 * sheet.width, 3 * sheet.height), Image.Resampling.NEAREST)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_suffix(".part")
    sheet.save(aside, "PNG", optimize=True)
    aside.replace(file)
