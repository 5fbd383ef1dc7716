"""What a run measures on held-out images: the domain's realism and annotation shift, summed up over images."""

from dataclasses import dataclass

import numpy as np

from simgan.domains import Domain
from simgan.domains.base import Floats, Images
from simgan.images import codecs
from simgan.measures.shift import trimmed_mean
from simgan.training.frames import depths_of


@dataclass(frozen=True)
class ShiftSummary:
    """Annotation shift over some images, in the domain's unit."""

    trimmed_mean: float  # of the images' 90th percentiles, without the largest 5 %
    median: float  # of the images' medians
    failed: float  # share of images that could not be measured


def summarize(shift: Floats) -> ShiftSummary:
    """Sum up what `Domain.shift` returns, (N, 2); figures are NaN where no image could be measured."""
    measured = shift[np.isfinite(shift[:, 0])]
    failed = 1 - len(measured) / len(shift)
    if not len(measured):
        return ShiftSummary(float("nan"), float("nan"), failed)
    return ShiftSummary(trimmed_mean(measured[:, 1]), float(np.median(measured[:, 0])), failed)


def as_measured(domain: Domain, values: Images) -> Images:
    """Return images as measures and people see them of values that training stores: 8 bits, or depth in mm."""
    return depths_of(values) if codecs.get(domain.codec).is_depth else values
