"""Realism: how near refined images are to real ones, compared with the images before refining and with a floor."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from simgan.images.arrays import Array
from simgan.measures.patches import measure_patches
from simgan.measures.statistics import Estimate, Persons
from simgan.measures.two_sample import measure_two_sample


@dataclass(frozen=True)
class Row:
    """One measure of realism: refined, raw and real images, each compared with real images.

    A figure is shown as `factor` times its value, with `digits` digits and the `unit`.
    """

    name: str
    refined: Estimate
    raw: Estimate
    floor: Estimate  # between the halves of the real images
    factor: float = 1
    digits: int = 2
    unit: str = ""
    means: Mapping[str, float] = field(default_factory=dict)  # of refined, raw and real images, where it has a mean


@dataclass(frozen=True)
class Realism:
    """Measures of realism, and the share of the gap between raw images and the floor that refining closed."""

    rows: tuple[Row, ...]
    closed: Estimate  # 1: as near as real images are to each other; NaN where there is no gap
    closed_of: str  # the row that this share is of
    note: str  # how to read the figures


def measure_realism(
    refined: Array, real: Array, raw: Array, *, persons: Persons = (None, None), seed: int = 0
) -> Realism:
    """Measure the realism of grey or colour images: their patches, and how well a network recognizes them.

    All are uint8 (N, H, W) or (N, H, W, 3), equalized alike. `raw[i]` is the image of which `refined[i]` was made. Give
    the real images of one person or film next to each other, as the floors compare the halves of their order.
    `ImageError` where images cannot be compared.
    """
    patches, closed = measure_patches(refined, real, raw, persons=persons, seed=seed)
    accuracies = measure_two_sample(refined, real, raw, persons=persons, seed=seed)
    return Realism(
        rows=(
            Row("patch distance", *patches, factor=1000, digits=1),
            Row("classifier accuracy", *accuracies, 100, 0, " %"),
        ),
        closed=closed,
        closed_of="patch distance",
        note="Patch distances × 1000. Classifier accuracy: of a network that distinguishes the images from real "
        "ones; 50 % is chance. In brackets: 95 % intervals.",
    )
