"""What is measured on held-out images in the course of a run: realism and annotation shift, each of its domain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.images.depth import Window
from simgan.measures.depth import detail_of, mask_of, moved_surface
from simgan.measures.iris import annotation_shift
from simgan.measures.patches import patch_swd

Images = NDArray[Any]  # stored: uint8 or uint16

PIXELS_OF = 55  # width at which the bounds on an iris' shift are stated


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

    @staticmethod
    def shown(images: Images) -> Images:
        """Give images as a sample sheet shows them: as they are."""
        return images


class Hands:
    """Patch distance of depth's detail and of where there is a reading, and how far the surface moved, in mm."""

    moved = "surface moved {median:.2f} mm in the median, {mean:.2f} mm in the 90th percentile"

    @staticmethod
    def realism(images: Images, real: Images) -> float:
        """Mean of the patch distances of detail (noise, steps, edges) and of masks (outlines, holes)."""
        depths = Hands.shown(images), Hands.shown(real)
        return float(np.mean([patch_swd(*map(view, depths)) for view in (detail_of, mask_of)]))

    @staticmethod
    def shift(before: Images, after: Images) -> Moved:
        """How far readings moved that stay readings: mean of the images' 90th percentiles, and median of medians."""
        moved = np.array([moved_surface(*pair) for pair in zip(Hands.shown(before), Hands.shown(after), strict=True)])
        there = moved[np.isfinite(moved[:, 0])]
        if not len(there):
            return Moved(float("nan"), float("nan"), 1.0)
        kept = np.sort(there[:, 1])[: max(1, round(0.95 * len(there)))]
        return Moved(float(kept.mean()), float(np.median(there[:, 0])), 1 - len(there) / len(before))

    @staticmethod
    def shown(images: Images) -> Images:
        """Give what `training.frames` stores as depth images in mm, their windows beginning at 500 mm."""
        window = Window(500.0)
        return np.stack([window.to_depth(frame * np.float32(2 / 65535) - 1) for frame in images])


DOMAIN_MEASURES: dict[str, type[Eyes] | type[Hands]] = {"eyes": Eyes, "hands": Hands}


def _grey(images: Images) -> Images:
    return images if images.ndim == 3 else images.mean(-1).round().astype(np.uint8)
