"""The hand pose experiment: stacked hourglasses find joints; depth is never interpolated; errors in px and mm."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from datasets import Dataset
from torch import Generator, Tensor, nn
from torch.nn import functional

from simgan.domains.hands import JOINTS, SIDE
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.experiments.augmentation import draw_maps, move_points
from simgan.experiments.base import Column, Experiment, Floats, LabelledImages, Measured
from simgan.experiments.hand_pose.hourglass import SCALE, StackedHourglass, find_peaks, heat_loss
from simgan.experiments.sources import persons_of
from simgan.images import depth
from simgan.images.arrays import Array

Augmentation = Literal["noise", "holes"]

_TURN, _ZOOM, _SHIFT = 20.0, 0.15, 12.0  # degrees, share and px, to each side
_NOISE, _HOLES = 6.0, 0.15  # mm, the greatest deviation; the greatest share of pixels
_MM = (depth.FAR + 1) / depth.CUBE  # a millimetre in the range of a tensor
# The paper's table but for real images, and what a user would do without a refiner: plain augmentation.
_ARMS = ("synthetic", "refined", "3x-synthetic", "3x-refined", "synthetic+noise+holes")


@dataclass(frozen=True, kw_only=True)
class HandsExperiment(Experiment):
    """14 joints of hands. The full size is `heat` 64, `width` 1 and 2 `stacks`; the default is for two cores.

    Each crop is rotated by up to 20°, scaled by up to 15 % and moved by up to 12 px in training.
    """

    model: tuple[str, ...] = ("hands",)
    arms: tuple[str, ...] = ()
    """What to train on: synthetic, refined, real; 3x-refined is three times as many images, synthetic+noise+holes adds
    augmentation. By default those of the paper's table; real only with --train-real."""
    limit: int = 1000
    test_limit: int = 1000
    steps: int = 1200
    batch: int = 16
    learning_rate: float = 4e-3
    """The highest of the schedule; wide networks need a lower one, such as 0.001."""
    augment: tuple[Augmentation, ...] = ()
    """Augmentation of every arm, real ones too, in addition to rotation and crops: noise with σ up to 6 mm, holes of up
    to 15 % of the pixels."""
    heat: int = 32
    """Side of the heat maps in px; the crop enters four times as large. The paper's is 64 (and width 1); places are
    found between pixels, so that 32 will do on two cores."""
    width: float = 0.125  # maps as a share of the paper's 256
    stacks: int = 2  # hourglasses, one after the other

    name = "hands"
    domain = "hands"
    columns = (
        Column("share_within_5px", "within 5 px, %", 1, 100),
        Column("error", "error px"),
        Column("error_mm", "error mm"),
    )
    axis = "joints within 5 px, %"
    unit = " %"
    less_is_better = False
    distance, greatest, counted = "distance from the true joint, px of 224", 10.0, "joints"
    augmentations = get_args(Augmentation)
    test_batch = 64
    loss = staticmethod(heat_loss)
    paper = {"synthetic": 0.697, "refined": 0.724, "real": 0.745, "3x-synthetic": 0.777, "3x-refined": 0.833}  # noqa: RUF012
    note = "px of a crop of 224; mm across, at the depth of the joint's label. The paper's figures are on NYU."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heat not in (8, 16, 32, 64):
            raise ConfigError(f"heat maps of {self.heat} px cannot be halved down to 4: choose of 8, 16, 32, 64")

    def chosen_arms(self) -> tuple[str, ...]:
        """Return the names of the arms: if not given those of the paper's table that can be trained."""
        return self.arms or (*_ARMS, *(["real"] if self.train_real else []))

    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return crops uint16 (N, 224, 224) in mm with `joints` (u, v in px, d in mm) and `joints_mm`, (N, 14, 3)."""
        columns = ("joints", "joints_mm")
        if missing := [name for name in columns if name not in dataset.column_names or None in dataset[name][:]]:
            raise SourceError(f"{source} has no {missing[0]} (of every image), which hourglasses need")
        labels = {name: np.asarray(dataset[name][:], np.float64) for name in columns}
        check_hands(source, images, **labels)
        return LabelledImages(images, labels, persons_of(dataset))

    def network(self, data: LabelledImages) -> nn.Module:
        """Return an hourglass."""
        return StackedHourglass(len(JOINTS), size=self.heat, width=self.width, stacks=self.stacks)

    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Draw augmented cuts of crops and the places of their joints in the heat maps."""
        windows = [depth.find_window(image) for image in data.images]
        places = torch.from_numpy(np.asarray(data.labels["joints"][..., :2], np.float32))

        def draw(chosen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            crops = depth.to_tensor(data.images[chosen.numpy()], [windows[i] for i in chosen])
            boxes = draw_boxes(len(crops), generator)
            inputs = _augmented(cut(crops, boxes, SCALE * self.heat), self.augment, generator)
            return inputs, move(places[chosen], boxes, self.heat)

        return draw

    def inputs(self, images: Array) -> Tensor:
        """Return whole crops at the size of the network's input."""
        return cut(depth.to_tensor(images), torch.eye(2, 3).repeat(len(images), 1, 1), SCALE * self.heat)

    def decode(self, outputs: Tensor) -> Floats:
        """Return joints (N, 14, 2) in px of the crop."""
        places = (find_peaks(outputs[:, -1]) + 0.5) * (SIDE / self.heat) - 0.5
        return places.double().numpy().round(3)

    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Compare joints with the true ones, in px, and in mm across the image at the depth of the label."""
        away = np.asarray(estimates, np.float64) - labels["joints"][..., :2]
        errors = np.linalg.norm(away, axis=2)
        errors_mm = np.linalg.norm(away * millimetres_per_pixel(labels["joints"], labels["joints_mm"]), axis=2)
        within = errors < 5  # px, as in the paper's table
        figures = {
            "share_within_5px": float(within.mean()),
            "error": float(errors.mean()),
            "median_error": float(np.median(errors)),
            "error_mm": float(errors_mm.mean()),
            "share_within_5px_by_joint": dict(zip(JOINTS, within.mean(0).tolist(), strict=True)),
            "shares_within_mm": {str(d): float((errors_mm < d).mean()) for d in range(2, 41, 2)},
        }
        columns = {"share_within_5px": within.mean(1), "error": errors.mean(1), "error_mm": errors_mm.mean(1)}
        return Measured(figures, columns, errors)


def millimetres_per_pixel(joints: Floats, joints_mm: Floats) -> Floats:
    """Return how many mm a pixel of the crop is at the depth of each joint, across and down: (N, 14, 2).

    With a pinhole camera and a crop, u = a·x/z + b and v = a'·y/z + b'; the factors are fitted to the joints of each
    image. `ImageError` where the fit is off by more than 1 px: px and mm are not of one hand, or of no such camera.
    """
    away = np.asarray(joints_mm, np.float64)
    slopes, pixels = away[..., :2] / away[..., 2:], np.asarray(joints[..., :2], np.float64)
    level, centre = slopes.mean(1, keepdims=True), pixels.mean(1, keepdims=True)
    spread = np.square(slopes - level).sum(1, keepdims=True)
    factors = ((slopes - level) * (pixels - centre)).sum(1, keepdims=True) / np.maximum(spread, 1e-12)
    off = np.abs(centre + factors * (slopes - level) - pixels).max((1, 2))
    wrong = np.flatnonzero((off > 1) | (factors <= 0).any((1, 2)))
    if len(wrong):
        told = f"joints (px) and joints_mm (x right, y down, z away) of image {wrong[0]}"
        raise ImageError(f"{told} are not one hand before one camera: {off[wrong[0]]:.0f} px apart")
    return away[..., 2:] / factors


def check_hands(name: str, images: Array, joints: Floats, joints_mm: Floats) -> None:
    """Raise `ImageError` where crops or their labels are not what an hourglass takes."""
    if images.dtype != np.uint16 or images.shape[1:] != (SIDE, SIDE) or len(images) < 2:
        raise ImageError(f"{name} crops must be uint16 (N ≥ 2, {SIDE}, {SIDE}), mm, not {images.dtype} {images.shape}")
    for kind, values in (("joints", joints), ("joints_mm", joints_mm)):
        shape = (len(images), len(JOINTS), 3)
        if values.shape != shape or not np.isfinite(values).all() or values[..., 2].min() <= 0:
            raise ImageError(f"{name}: {kind} must be {shape}, finite, before the camera, not {values.shape}")
    if np.median(joints_mm[..., 2]) < 50:
        raise ImageError(f"{name}: joints_mm must be millimetres; a hand at {np.median(joints_mm[..., 2]):.2f} is none")
    millimetres_per_pixel(joints, joints_mm)


def draw_boxes(count: int, generator: Generator) -> Tensor:
    """Return random affine maps from the cut to the crop, (count, 2, 3), both with coordinates from −1 to 1."""
    return draw_maps(count, generator, rotate=_TURN, zoom=_ZOOM, shift=_SHIFT / SIDE)


def cut(crops: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return the nearest pixels (B, 1, size, size) of crops (B, 1, H, W) that `boxes` map to, background outside."""
    grid = functional.affine_grid(boxes, [len(crops), 1, size, size], align_corners=False)
    moved = crops - depth.BACKGROUND  # zeros are what is outside
    return functional.grid_sample(moved, grid, mode="nearest", align_corners=False) + depth.BACKGROUND


def move(places: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Map places (B, K, 2) in px of a crop to px of its cut of that size; whole numbers are pixel centres in both."""
    return move_points(places, boxes, (SIDE, SIDE), (size, size))


def _augmented(crops: Tensor, wanted: Sequence[str], generator: Generator) -> Tensor:
    count, _, high, wide = crops.shape
    readings = crops <= depth.FAR
    if "noise" in wanted:
        deviation = _NOISE * _MM * torch.rand((count, 1, 1, 1), generator=generator)
        noisy = crops + deviation * torch.randn(crops.shape, generator=generator)
        crops = torch.where(readings, noisy.clamp(-1, depth.FAR), crops)
    if "holes" in wanted:
        share = _HOLES * torch.rand((count, 1, 1, 1), generator=generator)
        coarse = torch.rand((count, 1, high // 8, wide // 8), generator=generator)  # holes are at least 8 px wide
        holes = functional.interpolate((coarse < share).float(), scale_factor=8.0)
        crops = torch.where(holes.bool(), depth.BACKGROUND, crops)
    return crops
