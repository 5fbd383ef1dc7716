"""What a domain is: all that differs between one kind of image and another, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Size = tuple[int, int]  # width and height in pixels
Images = NDArray[Any]  # stored images of one size: uint8 (N, H, W) or (N, H, W, 3), or uint16 (N, H, W)


@dataclass(frozen=True)
class Label:
    """A column of labels.

    `shape` of one row; −1 is any number. `in_pixels`: the first two numbers of the last axis are x and y in pixels of
    the image (whole numbers are pixel centres), so that the label moves with the crop. `mirror`: the factors by which
    its numbers are multiplied where the image is mirrored; x of a label in pixels becomes width − 1 − x.
    """

    shape: tuple[int, ...] = ()
    in_pixels: bool = False
    mirror: tuple[float, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """A preset: networks and training settings, each with its reason beside it.

    `refiner` and `discriminator` are arguments of `RefinerConfig` and `DiscriminatorConfig`, `training` those of
    `simgan.training.config.TrainingConfig` that differ from its defaults.
    """

    refiner: Mapping[str, Any] = field(default_factory=dict)
    discriminator: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Terms:
    """What a kind of source is, and its licence: an identifier of the Hub, or "research"; `terms` is a sentence."""

    what: str
    licence: str
    terms: str


@dataclass(frozen=True)
class Words:
    """What is said of a domain in cards, reports, sample sheets and the Space."""

    images: str  # what a refiner of it refines, in the plural
    purpose: str
    example: str  # a file name
    takes: str  # what that file is
    types: str  # that the library takes, beside files
    legend: str  # of the difference on a sample sheet
    distance: str  # how realism is measured
    part: str  # what moves
    unit: str
    where: str  # the unit, where it needs more words
    shift: str  # what the figure `shift` is
    short: str  # the same, in a legend
    missed: str  # what is so in the share `shift_failed` of pairs
    paper: str
    task: str  # the experiment of `simgan evaluate` that its labels are for
    tag: str
    networks: str
    labels: str
    figure: str  # of a network, by which it is judged: a key of the experiment's rows by seed
    metric: str
    scale: float
    sign: str
    limits: tuple[str, ...]

    @property
    def records(self) -> str:
        """The file in a model's folder that holds what networks trained on its images reached."""
        return f"{self.task}.json"
