"""The experiment on classes: networks say what an image shows; the first figure is the mean of the classes' recalls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Value
from torch import Generator, Tensor, nn
from torch.nn import functional

from simgan.errors import ConfigError, SourceError
from simgan.experiments.backbones import timm_network
from simgan.experiments.base import Column, LabelledImages, Measured
from simgan.experiments.general import GeneralExperiment, check_bits
from simgan.experiments.sources import persons_of
from simgan.images.arrays import Array

_KEPT = 10  # classes of each test image, the likeliest first


class Classifier(nn.Module):
    """A network to logits (B, classes), and the names of its classes."""

    def __init__(self, network: nn.Module, classes: Array) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes)."""
        logits: Tensor = self.network(x)
        return logits


@dataclass(frozen=True, kw_only=True)
class ClassesExperiment(GeneralExperiment):
    """What images show. Classes are drawn evenly in training, and count evenly in the first column."""

    steps: int = 1500
    batch: int = 48
    learning_rate: float = 3e-3
    """The highest of the schedule."""
    column: str = "label"  # of the classes: names, whole numbers, or a ClassLabel
    backbone: str = "small"  # five convolutions, or one of timm's by its name (from random weights)
    width: int = 24  # maps of the first convolution of the small network

    name = "classes"
    columns = (
        Column("balanced_accuracy", "balanced accuracy, %", 1, 100),
        Column("accuracy", "accuracy, %", 1, 100),
    )
    axis = "balanced accuracy, %"
    unit = " %"
    less_is_better = False
    distance, greatest, counted = "classes that the network finds likelier than the true one", 10.0, "test images"
    test_batch = 128
    loss = staticmethod(partial(functional.cross_entropy, label_smoothing=0.05))
    note = "Balanced accuracy: the mean over classes of the share that is recognized."

    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return images uint8 (N, H, W) or (N, H, W, 3) with `class`: names (N,)."""
        check_bits(images, source)
        if self.column not in dataset.column_names:
            there = ", ".join(name for name in dataset.column_names if name != "image")
            raise SourceError(f"{source} has no column {self.column} of classes: name one with --column ({there})")
        kind, values = dataset.features[self.column], dataset[self.column][:]
        if isinstance(kind, ClassLabel):
            values = [None if value in (None, -1) else kind.names[value] for value in values]
        elif not isinstance(kind, Value) or "float" in kind.dtype:
            raise SourceError(f"{source}: the column {self.column} holds {kind}: classes are names or whole numbers")
        if None in values:
            raise SourceError(f"{source}: image {values.index(None)} has no {self.column}: label it, or leave it out")
        return LabelledImages(images, {"class": np.array(values, dtype=str)}, persons_of(dataset))

    def check(self, trained_on: LabelledImages, used_on: LabelledImages, names: tuple[str, str]) -> None:
        """Raise `ConfigError` also where classes of the images that it is used on have no image to train on."""
        super().check(trained_on, used_on, names)
        known, wanted = (set(data.labels["class"].tolist()) for data in (trained_on, used_on))
        if missing := sorted(wanted - known):
            told = f"{names[0]} has no image of {', '.join(missing[:10])}, which {names[1]} has"
            raise ConfigError(f"{told} (its classes: {', '.join(sorted(known)[:10])}): names must agree")
        if len(wanted) < 2:
            raise ConfigError(f"{names[1]} has only the class {', '.join(wanted)}: at least 2 are needed")

    def network(self, data: LabelledImages) -> nn.Module:
        """Return a network to logits of the classes of these images."""
        classes = np.unique(data.labels["class"])
        high, wide, channels = (*data.images.shape[1:], 1)[:3]
        if self.backbone == "small":
            return Classifier(small_network(channels, self.width, len(classes)), classes)
        sizes: dict[str, Any] = {"channels": channels, "outputs": len(classes)}
        return Classifier(timm_network(self.backbone, high, wide, own="small", **sizes), classes)

    def order(self, data: LabelledImages, generator: Generator) -> Tensor:
        """Return the numbers of the images that are trained on next: as many, of each class about as many."""
        _, number, counts = np.unique(data.labels["class"], return_inverse=True, return_counts=True)
        weights = torch.from_numpy(1 / counts[number])
        return torch.multinomial(weights, len(weights), replacement=True, generator=generator)

    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Draw augmented images and the numbers of their classes in the network."""
        numbers = torch.from_numpy(np.searchsorted(np.asarray(network.classes), data.labels["class"]))

        def draw(chosen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            return self.draw(data.images[chosen.numpy()], generator)[0], numbers[chosen]

        return draw

    def decode(self, outputs: Tensor) -> Array:
        """Return the numbers of the likeliest classes, the likeliest first: (N, at most 10)."""
        return np.asarray(outputs.topk(min(_KEPT, outputs.shape[1])).indices.numpy())

    def estimate(self, network: nn.Module, images: Array) -> Array:
        """Return the names of the likeliest classes of test images, the likeliest first: (N, at most 10)."""
        return np.asarray(np.asarray(network.classes)[super().estimate(network, images)])

    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Compare the likeliest class with the true one; errors are the classes that were found likelier."""
        hits = estimates == labels["class"][:, None]
        before = np.where(hits.any(1), hits.argmax(1), np.inf)
        right = before == 0
        classes, number, counts = np.unique(labels["class"], return_inverse=True, return_counts=True)
        recall = np.bincount(number, right) / counts
        # The mean over images is that over classes. Each image counts by how far it is from the recall of its class:
        # with correct·N/(classes·n) alone, a draw of blocks that holds more of a class would seem to be better.
        balanced = recall.mean() + (right - recall[number]) * len(right) / (len(classes) * counts[number])
        figures = {
            "balanced_accuracy": float(balanced.mean()),
            "accuracy": float(right.mean()),
            "recall": dict(zip(classes.tolist(), recall.tolist(), strict=True)),
        }
        columns = {"balanced_accuracy": balanced, "accuracy": right.astype(np.float64)}
        return Measured(figures, columns, before)


def small_network(channels: int, width: int, outputs: int) -> nn.Sequential:
    """Return five convolutions, the first 5×5 at half the size, with pools between them, and a mean."""
    layers: list[nn.Module] = []
    for size, stride, maps, pooled in (
        (5, 2, 1, False),
        (3, 1, 1, True),
        (3, 1, 2, True),
        (3, 1, 4, False),
        (3, 1, 4, False),
    ):
        layers += [nn.Conv2d(channels, maps * width, size, stride, size // 2, bias=False), nn.BatchNorm2d(maps * width)]
        layers += [nn.ReLU(), *([nn.MaxPool2d(2)] if pooled else [])]
        channels = maps * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
