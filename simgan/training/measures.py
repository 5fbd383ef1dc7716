"""What is measured on held-out images in the course of a run: realism and annotation shift, each of its domain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.depth import FAR, THRESHOLD
from simgan.evaluation.realism import patch_swd
from simgan.evaluation.shift import annotation_shift

Images = NDArray[Any]  # stored: uint8 or uint16

PIXELS_OF = 55  # width at which the bounds on an iris' shift are stated
_BACKGROUND = (THRESHOLD + 1) / 2 * 65535  # stored values beyond are no reading
_MM = 300 / ((FAR + 1) / 2 * 65535)  # of a step of the stored values


@dataclass(frozen=True)
class Moved:
    """Annotation shift over some images: mean without the worst 5 %, median, share of images that have none."""

    trimmed_mean: float
    median: float
    failed: float


class Eyes:
    """Patch distance of crops, and how far the iris moved, in px at 55 px width."""

    moved = "iris moved {mean:.2f} px on average, {median:.2f} px in the median"

    @staticmethod
    def realism(images: Images, real: Images) -> float:
        """Patch distance between two sets of crops."""
        return patch_swd(_grey(images), _grey(real))

    @staticmethod
    def shift(before: Images, after: Images) -> Moved:
        """How far irises moved; NaN where none is found."""
        shift, scale = annotation_shift(_grey(before), _grey(after)), PIXELS_OF / before.shape[2]
        return Moved(shift.trimmed_mean * scale, shift.median * scale, shift.failed)


class Hands:
    """Patch distance of depth and of where there is a reading, and how far the surface moved, in mm."""

    moved = "surface moved {mean:.2f} mm on average, {median:.2f} mm in the median"

    @staticmethod
    def realism(images: Images, real: Images) -> float:
        """Mean of the patch distances of depths and of masks: noise and steps, edges and holes."""
        values = [(stored / np.float32(65535)).astype(np.float32) for stored in (images, real)]
        masks = [(stored <= _BACKGROUND).astype(np.float32) for stored in (images, real)]
        return (patch_swd(*values) + patch_swd(*masks)) / 2

    @staticmethod
    def shift(before: Images, after: Images) -> Moved:
        """How far readings moved that stay readings: mean of the images' means, median over all of them."""
        valid = (before <= _BACKGROUND) & (after <= _BACKGROUND)
        moved = np.abs(after.astype(np.float32) - before) * np.float32(_MM)
        means = np.array([mm[where].mean() for mm, where in zip(moved, valid, strict=True) if where.any()])
        if not len(means):
            return Moved(float("nan"), float("nan"), 1.0)
        kept = np.sort(means)[: max(1, round(0.95 * len(means)))]
        return Moved(float(kept.mean()), float(np.median(moved[valid])), 1 - len(means) / len(before))


DOMAIN_MEASURES: dict[str, type[Eyes] | type[Hands]] = {"eyes": Eyes, "hands": Hands}


def _grey(images: Images) -> Images:
    return images if images.ndim == 3 else images.mean(-1).round().astype(np.uint8)
