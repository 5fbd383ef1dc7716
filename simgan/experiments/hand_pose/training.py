"""A hand pose estimator: a stacked hourglass trained on labelled depth crops, tested on others; errors in px and mm.

Depth is never mixed: rotations, crops and other sizes take the nearest pixel, and joints move with it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from simgan.domains.hands import JOINTS, SIDE
from simgan.errors import ConfigError, ImageError
from simgan.experiments.batches import batches
from simgan.experiments.hand_pose.hourglass import SCALE, StackedHourglass, find_peaks, heat_loss
from simgan.images import depth
from simgan.runtime import has_fast_bfloat16, keep_freed_pages

Images = NDArray[np.uint16]
Floats = NDArray[np.floating]
Augmentation = Literal["noise", "holes"]

AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)  # in the order in which they are applied
WITHIN = 5.0  # px, of the paper's table
_TURN, _ZOOM, _SHIFT = 20.0, 0.15, 12.0  # degrees, share and px, either way
_NOISE, _HOLES = 6.0, 0.15  # mm, the greatest deviation; the greatest share of pixels
_HOLE = 8  # px of the network's input that a hole is wide, at least
_MM = (depth.FAR + 1) / depth.Window(0).depth  # of a tensor's range for a millimetre
_SIZES = (8, 16, 32, 64)
_TEST_BATCH = 64


@dataclass(frozen=True)
class HandsTraining:
    """How a hourglass is trained.

    `heat`: side of its heat maps in px; the crop enters four times as large. `width`: its maps as a share of the
    paper's 256; `stacks` hourglasses. The full size is 64, 1 and 2; the default is made for two cores. Every crop is
    turned by up to 20°, zoomed by up to 15 % and moved by up to 12 px, anew each time. `augment`: also `noise`, white,
    of a deviation up to 6 mm, and `holes` of up to 15 % of the pixels.
    """

    heat: int = 32
    width: float = 0.125
    stacks: int = 2
    steps: int = 1200
    batch: int = 16
    learning_rate: float = 4e-3
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.stacks) < 1 or self.width <= 0 or self.learning_rate <= 0:
            raise ConfigError(
                f"steps {self.steps}, batch {self.batch}, stacks {self.stacks}, width {self.width} and rate "
                f"{self.learning_rate} must be positive"
            )
        if self.heat not in _SIZES:
            raise ConfigError(f"heat maps of {self.heat} px cannot be halved down to 4: choose of {_SIZES}")
        if unknown := set(self.augment) - set(AUGMENTATIONS):
            raise ConfigError(f"there is no augmentation {sorted(unknown)}: choose of {', '.join(AUGMENTATIONS)}")


@dataclass(frozen=True)
class HandsResult:
    """How well joints are found in the test images."""

    share_within_5px: float  # of all joints, at 224 px
    error: float  # mean distance in px
    median_error: float
    error_mm: float  # mean distance across, at the depth of the joint's label
    count: int
    seed: int
    errors: NDArray[np.float64] = field(repr=False)  # (N, 14) px
    errors_mm: NDArray[np.float64] = field(repr=False)  # (N, 14)


def build_network(training: HandsTraining, *, seed: int) -> nn.Module:
    """Build an untrained hourglass by seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return StackedHourglass(len(JOINTS), size=training.heat, width=training.width, stacks=training.stacks)


def train_network(network: nn.Module, images: Images, joints: Floats, training: HandsTraining, *, seed: int) -> None:
    """Train a network in place on crops uint16 (N, 224, 224) in mm and joints (N, 14, 3) in px, where it is.

    Called again with other crops, it is fine-tuned.
    """
    device = next(network.parameters()).device
    keep_freed_pages()
    order, chance = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))  # one order with and without
    windows = [depth.find_window(image) for image in images]
    places = torch.from_numpy(np.asarray(joints[..., :2], np.float32))
    accelerator = Accelerator(cpu=device.type == "cpu")
    layout: Any = {"memory_format": torch.channels_last}
    network.train().to(**layout)
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, total_steps=training.steps + 1)
    model, optimizer, schedule = accelerator.prepare(network, optimizer, schedule)
    fast = has_fast_bfloat16(str(device))
    for chosen in batches(len(images), training.batch, training.steps, order):
        crops = depth.to_tensor(images[chosen.numpy()], [windows[i] for i in chosen])
        boxes = draw_boxes(len(crops), chance)
        crops = _augmented(cut(crops, boxes, SCALE * training.heat), training.augment, chance)
        targets = move(places[chosen], boxes, training.heat).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            levels = model(crops.to(device, **layout))
        loss = heat_loss(levels.float(), targets)
        optimizer.zero_grad(set_to_none=True)
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()


def estimate_joints(network: nn.Module, images: Images, size: int) -> NDArray[np.float64]:
    """Find joints, (N, 14, 2) in px of the crop, of crops uint16 (N, 224, 224), by heat maps of that size."""
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
        count=len(errors),
        seed=seed,
        errors=errors,
        errors_mm=errors_mm,
    )


def millimetres_per_pixel(joints: Floats, joints_mm: Floats) -> NDArray[np.float64]:
    """What a pixel of the crop is at the depth of each joint, across and down: (N, 14, 2).

    A pinhole camera and a crop make u = a·x/z + b and v = a'·y/z + b', whose factors the joints of an image tell.
    `ImageError` where they do not, so that px and mm are not of one hand or of no such camera.
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
    """Raise `ImageError` where crops or their labels are not what a hourglass takes."""
    if images.dtype != np.uint16 or images.shape[1:] != (SIDE, SIDE) or len(images) < 2:
        raise ImageError(
            f"{name}: depth crops must be uint16 (N, {SIDE}, {SIDE}) in mm, N ≥ 2, not {images.dtype} {images.shape}"
        )
    for kind, values in (("joints", joints), ("joints_mm", joints_mm)):
        if values.shape != (len(images), len(JOINTS), 3):
            raise ImageError(f"{name}: {kind} must be ({len(images)}, {len(JOINTS)}, 3), not {values.shape}")
        if not np.isfinite(values).all() or values[..., 2].min() <= 0:
            raise ImageError(f"{name}: {kind} must be finite and lie before the camera")
    if np.median(joints_mm[..., 2]) < 50:
        raise ImageError(f"{name}: joints_mm must be millimetres; a hand at {np.median(joints_mm[..., 2]):.2f} is none")
    millimetres_per_pixel(joints, joints_mm)


def draw_boxes(count: int, generator: torch.Generator) -> Tensor:
    """Draw what is cut of crops, (count, 2, 3): maps from the cut to the crop, both with sides from −1 to 1."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    angle, zoom = torch.deg2rad(_TURN * uniform(count)), 1 + _ZOOM * uniform(count)
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    return torch.cat([turn, uniform(count, 2, 1) * (2 * _SHIFT / SIDE)], 2)


def cut(crops: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes (B, 2, 3) of crops (B, 1, H, W), size × size px, by nearest neighbour; outside is background."""
    grid = functional.affine_grid(boxes, [len(crops), 1, size, size], align_corners=False)
    cuts = functional.grid_sample(
        crops - depth.BACKGROUND, grid, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return cuts + depth.BACKGROUND


def move(places: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Places (B, K, 2) in px of a crop to px of its cut of that size; whole numbers are pixel centres in both."""
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
