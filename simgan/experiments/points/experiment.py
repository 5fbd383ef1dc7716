"""The experiment on points: stacked hourglasses find places in images; errors are px, and shares of the width."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from torch import Generator, Tensor, nn

from simgan.data.columns import labels as known_labels
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.experiments.augmentation import move_points, warp
from simgan.experiments.base import Column, LabelledImages, Measured
from simgan.experiments.general import GeneralExperiment, check_bits
from simgan.experiments.hand_pose.hourglass import SCALE, StackedHourglass, find_peaks, heat_loss
from simgan.experiments.sources import persons_of
from simgan.images.arrays import Array


@dataclass(frozen=True, kw_only=True)
class PointsExperiment(GeneralExperiment):
    """As many points in every image, such as corners or landmarks."""

    steps: int = 800
    learning_rate: float = 4e-3
    """The highest of the schedule."""
    batch: int = 16
    column: str = "points"  # of the points: (K, 2), x and y in px, whole numbers being pixel centres
    flip: bool = False  # mirror half of the images: only where no point has a side, as a left wheel has
    heat: int = 32
    """Side of the heat maps in px; images enter four times as large, whatever their size."""
    width: float = 0.125  # maps as a share of the 256 of Newell et al.
    stacks: int = 1  # hourglasses, one after the other

    name = "points"
    columns = (Column("error", "error px"), Column("share_within_5_percent", "within 5 % of the width, %", 1, 100))
    axis = "error, px"
    unit = " px"
    less_is_better = True
    distance, greatest, counted = "distance from the true point, % of the width", 10.0, "points"
    test_batch = 64
    loss = staticmethod(heat_loss)
    note = "px and width of the images as they were tested, after --size."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heat not in (8, 16, 32, 64):
            raise ConfigError(f"heat maps of {self.heat} px cannot be halved down to 4: choose of 8, 16, 32, 64")
        moving = [name for name, label in known_labels().items() if label.in_pixels]
        if self.column not in moving:
            raise ConfigError(f"a column {self.column} would not move with its crop: name it points ({moving} do)")

    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return images uint8 (N, H, W) or (N, H, W, 3) with `points` (N, K, 2) and `size`, width and height (N, 2)."""
        check_bits(images, source)
        if self.column not in dataset.column_names:
            raise SourceError(f"{source} has no column {self.column} of points (K × 2, in px): name one with --column")
        try:
            points = np.asarray(dataset[self.column][:], np.float64)
            points = points.reshape(len(images), -1, points.shape[-1])[..., :2]
        except (TypeError, ValueError) as error:
            raise SourceError(f"{source}: {self.column} must hold as many points in every image ({error})") from error
        size = np.array(images.shape[2:0:-1], np.float64)
        outside = ~((points > -1) & (points < size)).all((1, 2))
        if points.shape[1:] < (1, 2) or outside.any():
            row = int(outside.argmax())
            told = f"image {row} ({size[0]:.0f}×{size[1]:.0f} px) has points {points[row].round(1).tolist()}"
            raise ImageError(f"{source}: {told}, not all within it: leave it out, or give a --size of its aspect")
        return LabelledImages(images, {"points": points, "size": np.tile(size, (len(images), 1))}, persons_of(dataset))

    def check(self, trained_on: LabelledImages, used_on: LabelledImages, names: tuple[str, str]) -> None:
        """Raise `ConfigError` also where the numbers of points differ."""
        super().check(trained_on, used_on, names)
        count, other = (data.labels["points"].shape[1] for data in (trained_on, used_on))
        if count != other:
            raise ConfigError(f"{names[0]} has {count} points in an image, {names[1]} {other}: give the same points")

    def network(self, data: LabelledImages) -> nn.Module:
        """Return an hourglass for as many points."""
        count, channels = data.labels["points"].shape[1], 3 if data.images.ndim == 4 else 1
        return StackedHourglass(count, size=self.heat, width=self.width, stacks=self.stacks, channels=channels)

    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Draw augmented images and the places of their points in the heat maps."""
        points = torch.from_numpy(data.labels["points"].astype(np.float32))
        high, wide = data.images.shape[1:3]
        side = SCALE * self.heat

        def draw(chosen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            inputs, maps = self.draw(data.images[chosen.numpy()], generator, (side, side))
            return inputs, move_points(points[chosen], maps, (wide, high), (self.heat, self.heat))

        return draw

    def inputs(self, images: Array) -> Tensor:
        """Return whole images at the size of the network's input."""
        side = SCALE * self.heat
        return warp(super().inputs(images), torch.eye(2, 3).repeat(len(images), 1, 1), (side, side))

    def decode(self, outputs: Tensor) -> Array:
        """Return points (N, K, 2) as shares of width and height, from the left and the upper edge."""
        return np.asarray(((find_peaks(outputs[:, -1]) + 0.5) / self.heat).double().numpy().round(6))

    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Compare points with the true ones, in px and as shares of the width, and with the mean of the true ones."""
        points, size = labels["points"], labels["size"][:, None]
        errors = np.linalg.norm(estimates * size - 0.5 - points, axis=2)
        percent = 100 * errors / size[..., 0]
        within = (percent < 5).mean(1)
        figures = {
            "error": float(errors.mean()),
            "share_within_5_percent": float(within.mean()),
            "error_by_point": errors.mean(0).tolist(),
            "guessing": float(np.linalg.norm(points - points.mean(0), axis=2).mean()),
        }
        return Measured(figures, {"error": errors.mean(1), "share_within_5_percent": within}, percent)
