"""A figure of refined images beside those it has to be read with, and images that belong together kept together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simgan.errors import ImageError

Names = Sequence[str] | NDArray[np.str_]
BLOCKS = 10


@dataclass(frozen=True)
class Estimate:
    """A measured value and its interval, 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Beside:
    """A measure of refined images against real ones, beside its ceiling `raw` and its `floor`, real against real."""

    refined: Estimate
    raw: Estimate
    floor: Estimate


def groups_of(count: int, persons: Names | None = None) -> NDArray[np.str_]:
    """Name the group of each of `count` images: its person, or where there are no two persons one of 10 blocks.

    Blocks follow the order given, because frames next to each other look alike. `ImageError` where the persons are not
    as many as the images, or there are fewer than 2 images.
    """
    if count < 2:
        raise ImageError(f"realism needs at least 2 images of each kind, not {count}")
    if persons is not None:
        if len(persons) != count:
            raise ImageError(f"{count} images need the person of each, not {len(persons)} names")
        names = np.asarray(persons, dtype=str)
        if len(np.unique(names)) > 1:
            return names
    blocks = min(BLOCKS, count)
    return np.char.add("block ", (np.arange(count) * blocks // count).astype(str))
