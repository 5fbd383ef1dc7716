"""Experiments: the same network, trained on each arm's images and tested on the same real ones.

A task is a subclass of `Experiment`: its fields are the options of its command, its methods say how labels are read and
how a network is built, fed, read and judged.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import tyro
from datasets import Dataset
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from simgan.domains.base import Size
from simgan.errors import ConfigError
from simgan.images.arrays import Array
from simgan.runtime import has_fast_bfloat16, keep_freed_pages

Floats = NDArray[np.float64]
Synthetic = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYNTHETIC")]
Real = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]

_NOT_OF_NETWORKS = {"synthetic", "real", "model", "arms", "train_real", "test_persons", "limit", "test_limit"}
_NOT_OF_NETWORKS |= {"unlabelled", "blocks", "pupils", "days", "size", "finetune", "seeds", "device", "output"}


@dataclass(frozen=True)
class LabelledImages:
    """Images (N, H, W) or (N, H, W, 3), labels, arrays of N rows by their name, and persons where they are known.

    A label `recording` holds names of what was recorded at one time, for intervals where there are few persons.
    """

    images: Array
    labels: Mapping[str, Array]
    persons: list[str] | None = None

    def part(self, chosen: NDArray[np.int64]) -> LabelledImages:
        """Return some of them by number, in that order."""
        labels = {name: values[chosen] for name, values in self.labels.items()}
        return LabelledImages(self.images[chosen], labels, self.persons and [self.persons[i] for i in chosen])

    @staticmethod
    def joined(sets: Sequence[LabelledImages]) -> LabelledImages:
        """Return all images of sets with the same labels; a person that is not known is called ""."""
        if len(sets) == 1:
            return sets[0]
        labels = {name: np.concatenate([one.labels[name] for one in sets]) for name in sets[0].labels}
        persons = [name for one in sets for name in one.persons or [""] * len(one.images)]
        return LabelledImages(np.concatenate([one.images for one in sets]), labels, persons)

    @cached_property
    def digest(self) -> str:
        """A hash of images and labels."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        for name, values in sorted(self.labels.items()):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Column:
    """A figure of an arm: its key in `Measured.columns` and in the JSON, and how it is shown."""

    key: str
    heading: str
    digits: int = 2
    factor: float = 1
    median: bool = False  # of the first column, over images
    axis: str = ""  # in figures, where it is the main one of a task of its own; of the first column the experiment's
    less_is_better: bool = True  # in such figures


@dataclass(frozen=True)
class Measured:
    """How well one network does on N test images."""

    figures: dict[str, Any]  # that are written of each seed
    columns: dict[str, Floats]  # (N,) by the key of the column, but for medians
    errors: Floats  # (N, ...), of each image or of each of its parts: what the curve shows
    images: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)  # numbers of a column's, if not all N


@dataclass(frozen=True)
class Experiment(ABC):
    """The options of an experiment, and what its networks learn. The first column is the one that compares arms."""

    synthetic: Synthetic  # a source of labelled synthetic images
    real: Real  # a source of labelled real images, to test on, that the refiners did not see
    _: KW_ONLY
    model: tuple[str, ...] = ()
    """Refiners (shipped names, folders, or Hub ids): an arm each; several are how controls are compared."""
    arms: tuple[str, ...] = ("synthetic", "refined")
    """What to train on: synthetic, refined, real; 4x-refined is four times as many images, synthetic+noise adds
    augmentation (see --augment). Rivals of a refiner in closed form: matched gives each synthetic image the colour
    statistics of an unlabelled real one, fda its low frequencies (Fourier domain adaptation)."""
    train_real: str | None = None
    """Labelled real images to train on (arm real, finetune); persons of the test are left out."""
    unlabelled: str | None = None
    """Real images for the arms fda and matched, which need no labels; by default those of --train-real."""
    size: Size | None = None
    """Width and height in px to which all images are resized, those of another aspect cut to it first. By
    default that of the refiner's domain, or as they are."""
    test_persons: tuple[str, ...] = ()  # test on these persons alone
    finetune: tuple[int, ...] = ()  # also go on with so many real images after each arm
    seeds: int = 3  # networks trained of each kind
    limit: int
    """Images of an arm."""
    test_limit: int
    """Images of the test."""
    steps: int
    """Of training."""
    batch: int
    """Images of a step."""
    learning_rate: float
    """The highest of the schedule."""
    augment: tuple[str, ...] = ()
    """Augmentation of every arm, real ones too."""
    device: str = "cpu"  # where networks are trained, such as cuda
    output: Path | None = None
    """A folder for the JSON and the PNG of the results and a folder of each network's; or the JSON file in it."""

    name: ClassVar[str]  # of the command, and of the files of its results
    domain: ClassVar[str] = ""  # of its images; if not given that of the models, or images of any kind
    columns: ClassVar[tuple[Column, ...]]
    axis: ClassVar[str]  # of the first column in figures
    unit: ClassVar[str]  # of the first column
    less_is_better: ClassVar[bool]
    distance: ClassVar[str]  # what the errors are, on the axis of the curve
    greatest: ClassVar[float]  # distance of the curve
    counted: ClassVar[str]  # what the curve shows a share of
    augmentations: ClassVar[tuple[str, ...]]  # in the order in which they are applied
    may_be_zero: ClassVar[tuple[str, ...]] = ()  # numbers among the options, which else must be positive
    test_batch: ClassVar[int]
    loss: ClassVar[Any]  # a static function of outputs, float32, and targets
    paper: ClassVar[Mapping[str, float]] = {}  # the paper's first column, by arm
    note: ClassVar[str] = ""  # under the table

    def __post_init__(self) -> None:
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int | float)}
        wrong = [
            f"{name} {value}"
            for name, value in numbers.items()
            if value < (2 if "limit" in name else 0) or (value == 0 and name not in self.may_be_zero)
        ]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)} must be positive, and a limit at least 2 images")
        if unknown := set(self.augment) - set(self.augmentations):
            raise ConfigError(f"there is no augmentation {sorted(unknown)}: choose of {', '.join(self.augmentations)}")

    @property
    def file(self) -> Path | None:
        """The JSON of the results."""
        given = self.output
        return given if given is None or given.suffix == ".json" else given / f"{self.name}.json"

    @property
    def training(self) -> dict[str, Any]:
        """The settings of networks."""
        return {key: value for key, value in asdict(self).items() if key not in _NOT_OF_NETWORKS}

    def chosen_arms(self) -> tuple[str, ...]:
        """Return the names of the arms."""
        return self.arms

    def tests(self) -> tuple[str, ...]:
        """Return the sources of the test images, the first one being `real`."""
        return (self.real,)

    def tested(self, data: LabelledImages, source: str) -> LabelledImages:
        """Return test images as `read` from a source with the labels alone that they test."""
        return data

    @abstractmethod
    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return a data set's images with their labels; `SourceError` where it has none, `ImageError` if bad."""

    def check(self, trained_on: LabelledImages, used_on: LabelledImages, names: tuple[str, str]) -> None:
        """Raise `ConfigError` where a network that is trained on some images cannot be used on others; both names."""
        self.check_size(trained_on.images, used_on.images, names)

    @staticmethod
    def check_size(images: Array, others: Array, names: tuple[str, str]) -> None:
        """Raise `ConfigError` where two sets of images differ in size; both names."""
        (high, wide), (other_high, other_wide) = images.shape[1:3], others.shape[1:3]
        if (high, wide) != (other_high, other_wide):
            told = f"{names[0]} has images of {wide}×{high} px, {names[1]} of {other_wide}×{other_high}"
            raise ConfigError(f"{told}: give --size W H, to which both are resized")

    def select(self, data: LabelledImages) -> LabelledImages:
        """Return the synthetic images that are trained on: all, unless the task limits them."""
        return data

    @abstractmethod
    def network(self, data: LabelledImages) -> nn.Module:
        """Return an untrained network for such images and labels."""

    def order(self, data: LabelledImages, generator: Generator) -> Tensor:
        """Return the numbers of the images that are trained on next: every one once."""
        return torch.randperm(len(data.images), generator=generator)

    @abstractmethod
    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Return a function that draws inputs and targets of a step: of the images' numbers and random numbers."""

    @abstractmethod
    def inputs(self, images: Array) -> Tensor:
        """Return test images as a network takes them."""

    @abstractmethod
    def decode(self, outputs: Tensor) -> Array:
        """Return the estimates (N, ...) in outputs for test images."""

    @abstractmethod
    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Compare estimates with labels."""

    def build(self, data: LabelledImages, seed: int) -> nn.Module:
        """Return the untrained network of a seed for such images and labels."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.network(data)

    def train(self, network: nn.Module, data: LabelledImages, seed: int) -> None:
        """Train a network in place, again to fine-tune it; augmentation does not change the order of the images."""
        device = next(network.parameters()).device
        keep_freed_pages()
        order, augmentation = (Generator().manual_seed(2 * seed + part) for part in (0, 1))
        optimizer = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=self.steps + 1)
        fast = has_fast_bfloat16(str(device))
        layout: Any = {"memory_format": torch.channels_last}
        network.train().to(**layout)
        draw = self.feed(data, network)
        queue = torch.empty(0, dtype=torch.long)
        for _ in range(self.steps):
            while len(queue) < self.batch:
                queue = torch.cat([queue, self.order(data, order)])
            inputs, targets = draw(queue[: self.batch], augmentation)
            queue = queue[self.batch :]
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                outputs = network(inputs.to(device, **layout))
            optimizer.zero_grad(set_to_none=True)
            self.loss(outputs.float(), targets.to(device)).backward()
            optimizer.step()
            schedule.step()

    def estimate(self, network: nn.Module, images: Array) -> Array:
        """Return the estimates of a network for test images."""
        device = next(network.parameters()).device
        network.eval()
        parts = (images[first : first + self.test_batch] for first in range(0, len(images), self.test_batch))
        with torch.inference_mode():
            return np.concatenate([self.decode(network(self.inputs(part).to(device)).float().cpu()) for part in parts])
