"""What an experiment asks of networks: a task describes itself, so that reports and the command line need no more."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn

from simgan.images.arrays import Array

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, H, W) with labels, arrays of N rows by their name, and the person on each where they are known."""

    images: Array
    labels: Mapping[str, Floats]
    persons: list[str] | None = None

    def part(self, chosen: NDArray[np.int64]) -> LabelledImages:
        """Return some of them by number, in that order."""
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return LabelledImages(self.images[chosen], labels, self.persons and [self.persons[i] for i in chosen])

    def with_images(self, images: Array) -> LabelledImages:
        """Return other images with the same labels."""
        return replace(self, images=images)

    @property
    def digest(self) -> str:
        """A hash of images and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        for name, values in sorted(self.labels.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Column:
    """A figure of an arm: its key in the JSON and of `Task.errors_by_image`, and how it is shown."""

    key: str
    heading: str
    digits: int = 2
    factor: float = 1
    median: bool = False  # over images instead of the mean, of the column before


@dataclass(frozen=True)
class Curve:
    """The curve of the share of something within a distance, up to the `greatest`."""

    greatest: float
    distance: str
    of: str


class Training(Protocol):
    """What every task's settings of training have; they are a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def steps(self) -> int:
        """Number of steps."""

    @property
    def learning_rate(self) -> float:
        """The highest of the schedule."""

    @property
    def augment(self) -> tuple[str, ...]:
        """Augmentations of the training images of every arm."""


class Result(Protocol):
    """How well one network does on the test images: a dataclass of figures and arrays."""

    @property
    def errors(self) -> Floats:
        """Errors (N, ...) of each test image, or of each of its parts."""


@dataclass(frozen=True)
class Task(ABC):
    """What networks learn: how labels are read, and how a network is built, trained, used and judged.

    The first column is the one by which arms are compared.
    """

    name: ClassVar[str]  # of the command, and of the files of its results
    title: ClassVar[str]
    domain: ClassVar[str]
    columns: ClassVar[tuple[Column, ...]]
    axis: ClassVar[str]  # of the first column in figures
    unit: ClassVar[str]  # of the first column
    less_is_better: ClassVar[bool]
    curve: ClassVar[Curve]
    augmentations: ClassVar[tuple[str, ...]]  # in the order in which they are applied
    arms: ClassVar[tuple[str, ...]] = ("synthetic", "refined")
    paper: ClassVar[Mapping[str, float]] = {}  # the paper's first column, by arm
    note: ClassVar[str] = ""  # under the table

    @abstractmethod
    def read(self, dataset: Dataset, source: str) -> LabelledImages:
        """Return the images of a data set with their labels; `SourceError` where it has none, `ImageError` if bad."""

    def select(self, data: LabelledImages, source: str) -> LabelledImages:
        """Return the synthetic images that are trained on: all, unless the task limits them."""
        return data

    @abstractmethod
    def build(self, data: LabelledImages, training: Any, seed: int) -> nn.Module:
        """Return an untrained network for such images."""

    @abstractmethod
    def train(self, network: nn.Module, data: LabelledImages, training: Any, seed: int) -> None:
        """Train a network in place, on its device; called again with other images, it is fine-tuned."""

    @abstractmethod
    def estimate(self, network: nn.Module, data: LabelledImages, training: Any) -> Floats:
        """Return the estimates of a network for images."""

    @abstractmethod
    def measure(self, estimates: Floats, data: LabelledImages, seed: int) -> Result:
        """Compare the estimates of the network of a seed with the labels."""

    @abstractmethod
    def errors_by_image(self, result: Any) -> dict[str, Floats]:
        """Return for each column, but those of medians, a figure (N,) of each test image."""

    @abstractmethod
    def summary(self, result: Any) -> str:
        """Return a result in a few words."""

    def describe(self) -> dict[str, Any]:
        """Return what reports need to know, as JSON."""
        shown = {key: getattr(self, key) for key in ("name", "title", "axis", "unit", "less_is_better")}
        share = f"{self.curve.of}, by {self.curve.distance}"
        return shown | {"columns": [asdict(column) for column in self.columns], "share": share}


def scalars(result: Result) -> dict[str, Any]:
    """Return the figures of a result without its arrays."""
    return {name: value for name, value in vars(result).items() if not isinstance(value, np.ndarray)}
