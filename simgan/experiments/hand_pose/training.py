"""A hand pose network: a stacked hourglass trained on labelled depth crops, tested on others; errors in px and mm.

Depth is never interpolated: rotations, crops and scaling take the nearest pixel, and joints move along.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from simgan.domains.hands import JOINTS, SIDE
from simgan.errors import ConfigError, ImageError
from simgan.experiments.fitting import check_training, fit
from simgan.experiments.hand_pose.hourglass import SCALE, StackedHourglass, find_peaks, heat_loss
from simgan.images import depth

Images = NDArray[np.uint16]
Floats = NDArray[np.floating]
Augmentation = Literal["noise", "holes"]

AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)  # in the order in which they are applied
WITHIN = 5.0  # px, of the paper's table
MILLIMETRES = tuple(range(2, 41, 2))  # distances whose shares are reported
_TURN, _ZOOM, _SHIFT = 20.0, 0.15, 12.0  # degrees, share and px, to each side
_NOISE, _HOLES = 6.0, 0.15  # mm, the greatest deviation; the greatest share of pixels
_HOLE = 8  # px of the network's input: least width of a hole
_MM = (depth.FAR + 1) / depth.Window(0).depth  # a millimetre in the range of a tensor
_SIZES = (8, 16, 32, 64)
_TEST_BATCH = 64


@dataclass(frozen=True)
class HandsTraining:
    """How an hourglass is trained.

    `heat`: side of its heat maps in px; the crop enters four times as large. `width`: its maps as a share of the
    paper's 256; `stacks` hourglasses. The full size is 64, 1 and 2; the default is for two cores. Each crop is rotated
    by up to 20°, scaled by up to 15 % and moved by up to 12 px. `augment`: also white `noise` with σ up to 6 mm, and
    `holes` of up to 15 % of the pixels.
    """

    heat: int = 32
    width: float = 0.125
    stacks: int = 2
    steps: int = 1200
    batch: int = 16
    learning_rate: float = 4e-3
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        check_training(self, AUGMENTATIONS)
        if self.heat not in _SIZES:
            raise ConfigError(f"heat maps of {self.heat} px cannot be halved down to 4: choose of {_SIZES}")


@dataclass(frozen=True)
class HandsResult:
    """How well joints are found in the test images."""

    share_within_5px: float  # of all joints, at 224 px
    error: float  # mean distance in px
    median_error: float
    error_mm: float  # mean distance in the image plane, at the depth of the label
    share_within_5px_by_joint: dict[str, float]
    shares_within_mm: dict[str, float]  # share of all joints by the distance in mm
    count: int
    seed: int
    errors: NDArray[np.float64] = field(repr=False)  # (N, 14) px
    errors_mm: NDArray[np.float64] = field(repr=False)  # (N, 14)


def build_network(training: HandsTraining, *, seed: int) -> nn.Module:
    """Return an untrained hourglass."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StackedHourglass(len(JOINTS), size=training.heat, width=training.width, stacks=training.stacks)


def train_network(network: nn.Module, images: Images, joints: Floats, training: HandsTraining, *, seed: int) -> None:
    """Train a network in place on crops uint16 (N, 224, 224) in mm and their joints (N, 14, 3) in px."""
    windows = [depth.find_window(image) for image in images]
    places = torch.from_numpy(np.asarray(joints[..., :2], np.float32))

    def draw(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        crops = depth.to_tensor(images[chosen.numpy()], [windows[i] for i in chosen])
        boxes = draw_boxes(len(crops), generator)
        inputs = _augmented(cut(crops, boxes, SCALE * training.heat), training.augment, generator)
        return inputs, move(places[chosen], boxes, training.heat)

    fit(network, training, len(images), seed, draw, heat_loss)


def estimate_joints(network: nn.Module, images: Images, size: int) -> NDArray[np.float64]:
    """Return joints, (N, 14, 2) in px of the crop, found in crops uint16 (N, 224, 224) by heat maps of that size."""
    device = next(network.parameters()).device
    network.eval()
    found = []
    with torch.inference_mode():
        for first in range(0, len(images), _TEST_BATCH):
            crops = depth.to_tensor(images[first : first + _TEST_BATCH])
            whole = torch.eye(2, 3).repeat(len(crops), 1, 1)
            levels = network(cut(crops, whole, SCALE * size).to(device))[:, -1].float().cpu()
            found.append((find_peaks(levels) + 0.5) * (SIDE / size) - 0.5)
    return torch.cat(found).double().numpy().round(3)


def measure_joints(estimates: Floats, joints: Floats, joints_mm: Floats, *, seed: int) -> HandsResult:
    """Compare estimates (N, 14, 2) in px with labels `joints` and `joints_mm`, (N, 14, 3) each."""
    away = np.asarray(estimates, np.float64) - joints[..., :2]
    errors = np.linalg.norm(away, axis=2)
    errors_mm = np.linalg.norm(away * millimetres_per_pixel(joints, joints_mm), axis=2)
    return HandsResult(
        share_within_5px=float((errors < WITHIN).mean()),
        error=float(errors.mean()),
        median_error=float(np.median(errors)),
        error_mm=float(errors_mm.mean()),
        share_within_5px_by_joint=dict(zip(JOINTS, (errors < WITHIN).mean(0).tolist(), strict=True)),
        shares_within_mm={str(d): float((errors_mm < d).mean()) for d in MILLIMETRES},
        count=len(errors),
        seed=seed,
        errors=errors,
        errors_mm=errors_mm,
    )


def millimetres_per_pixel(joints: Floats, joints_mm: Floats) -> NDArray[np.float64]:
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
        raise ImageError(
            f"joints and joints_mm of image {wrong[0]} are not one hand before one camera ({off[wrong[0]]:.0f} px "
            "apart): px of the crop, and mm with x right, y down, z away"
        )
    return away[..., 2:] / factors


def check_hands(name: str, images: Images, joints: Floats, joints_mm: Floats) -> None:
    """Raise `ImageError` where crops or their labels are not what an hourglass takes."""
    if images.dtype != np.uint16 or images.shape[1:] != (SIDE, SIDE) or len(images) < 2:
        raise ImageError(
            f"{name}: depth crops must be uint16 (N, {SIDE}, {SIDE}) in mm, N ≥ 2, not {images.dtype} {images.shape}"
        )
    for kind, values in (("joints", joints), ("joints_mm", joints_mm)):
        if values.shape != (len(images), len(JOINTS), 3):
            raise ImageError(f"{name}: {kind} must be ({len(images)}, {len(JOINTS)}, 3), not {values.shape}")
        if not np.isfinite(values).all() or values[..., 2].min() <= 0:
            raise ImageError(f"{name}: {kind} must be finite and in front of the camera")
    if np.median(joints_mm[..., 2]) < 50:
        raise ImageError(f"{name}: joints_mm must be millimetres; a hand at {np.median(joints_mm[..., 2]):.2f} is none")
    millimetres_per_pixel(joints, joints_mm)


def draw_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Return random affine maps from the cut to the crop, (count, 2, 3), both with coordinates from −1 to 1."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    angle, zoom = torch.deg2rad(_TURN * uniform(count)), 1 + _ZOOM * uniform(count)
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    return torch.cat([turn, uniform(count, 2, 1) * (2 * _SHIFT / SIDE)], 2)


def cut(crops: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Return the parts (B, 1, size, size) of crops (B, 1, H, W) that `boxes` map to, by nearest neighbour.

    Outside of a crop is background.
    """
    grid = functional.affine_grid(boxes, [len(crops), 1, size, size], align_corners=False)
    cuts = functional.grid_sample(
        crops - depth.BACKGROUND, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return cuts + depth.BACKGROUND


def move(places: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Map places (B, K, 2) in px of a crop to px of its cut of that size; whole numbers are pixel centres in both."""
    sides = (places + 0.5) * (2 / SIDE) - 1
    inside = torch.linalg.solve(boxes[:, :, :2], (sides - boxes[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    return (inside + 1) * (size / 2) - 0.5


def _augmented(crops: Tensor, wanted: tuple[Augmentation, ...], generator: torch.Generator) -> Tensor:
    count, _, high, wide = crops.shape
    readings = crops <= depth.FAR
    if "noise" in wanted:
        deviation = _NOISE * _MM * torch.rand((count, 1, 1, 1), generator=generator)
        noisy = crops + deviation * torch.randn(crops.shape, generator=generator)
        crops = torch.where(readings, noisy.clamp(-1, depth.FAR), crops)
    if "holes" in wanted:
        share = _HOLES * torch.rand((count, 1, 1, 1), generator=generator)
        coarse = torch.rand((count, 1, -(-high // _HOLE), -(-wide // _HOLE)), generator=generator)
        holes = functional.interpolate((coarse < share).float(), scale_factor=float(_HOLE))[..., :high, :wide]
        crops = torch.where(holes.bool(), depth.BACKGROUND, crops)
    return crops
