"""The gaze experiment: networks estimate where eyes look; errors are angles.

The paper's network (its gaze experiment, 3.1), narrower by `width`: Conv 32 · 32 · 64 · MaxPool 3×3/2 · Conv 80 · 192 ·
MaxPool 2×2/2 · FC 9600 · FC 1000 · FC 3, all convolutions 3×3, Euclidean loss on the gaze vector; or a network of timm.
Angles are in radians, the gaze being (−cos p sin y, −sin p, −cos p cos y) of pitch p and yaw y.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from datasets import Dataset
from torch import Generator, Tensor, nn
from torch.nn import functional

from simgan.errors import ConfigError, ImageError, SourceError
from simgan.experiments import augmentation
from simgan.experiments.augmentation import change_looks, warp
from simgan.experiments.backbones import timm_network
from simgan.experiments.base import Column, Experiment, Floats, LabelledImages, Measured
from simgan.experiments.sources import persons_of
from simgan.images.arrays import Array

Augmentation = Literal["shift", "blur", "contrast", "noise", "colour", "randaugment"]

_SHIFT, _CONTRAST = 3.0, 0.3  # px to each side; factor and offset


@dataclass(frozen=True, kw_only=True)
class GazeExperiment(Experiment):
    """Pitch and yaw of eyes."""

    model: tuple[str, ...] = ("eyes",)
    limit: int = 5000
    test_limit: int = 2000
    steps: int = 800
    batch: int = 64
    learning_rate: float = 1e-3
    augment: tuple[Augmentation, ...] = ()
    """Augmentation of every arm, real ones too, in amounts drawn uniformly: shift by up to 3 px, blur with σ up to 1.2
    px, contrast by up to 30 % and brightness by up to 15 % of the range, noise with σ up to 4 % of it; colour (of grey
    images the same as contrast) and randaugment, a random half of blur, noise, contrast, sharpness and a hole."""
    backbone: str = "paper"  # the paper's network, or one of timm's by its name (from random weights)
    width: float = 0.5  # of the paper's network; 1 is its full width
    pitch: float = 90.0  # train only on synthetic gaze within so many degrees up and down,
    yaw: float = 90.0  # and to either side

    name = "gaze"
    domain = "eyes"
    columns = (
        Column("error", "error°"),
        Column("median_error", "median°", median=True),
        Column("error_without_offset", "without offset°"),
        Column("share_within_7_degrees", "within 7°, %", 0, 100),
    )
    axis = "gaze error, degrees"
    unit = "°"
    less_is_better = True
    distance, greatest, counted = "distance from the true gaze, degrees", 20.0, "test images"
    augmentations = get_args(Augmentation)
    test_batch = 256
    loss = staticmethod(functional.mse_loss)

    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return crops uint8 (N, H, W) with `angles`: pitch and yaw (N, 2) in radians."""
        if not {"pitch", "yaw"} <= set(dataset.column_names):
            raise SourceError(f"{source} has no gaze labels (pitch and yaw), which gaze networks need")
        angles = np.stack([np.asarray(dataset[name], np.float64) for name in ("pitch", "yaw")], 1)
        if images.dtype != np.uint8 or images.ndim != 3 or len(images) < 2 or min(images.shape[1:]) < 24:
            raise ImageError(f"{source} crops must be uint8 (N ≥ 2, H ≥ 24, W ≥ 24), not {images.dtype} {images.shape}")
        if not np.isfinite(angles).all() or np.abs(angles).max() > np.pi:
            raise ImageError(f"{source} angles must be finite and in radians, within ±π")
        return LabelledImages(images, {"angles": angles}, persons_of(dataset))

    def select(self, data: LabelledImages) -> LabelledImages:
        """Return the eyes that look within the limits."""
        within = np.flatnonzero((np.abs(np.degrees(data.labels["angles"])) <= [self.pitch, self.yaw]).all(1))
        if len(within) < 2:
            raise ConfigError(f"{self.synthetic} has no images within pitch ±{self.pitch}° and yaw ±{self.yaw}°")
        return data.part(within)

    def network(self, data: LabelledImages) -> nn.Module:
        """Return a network to gaze vectors (B, 3) of any length."""
        height, width = data.images.shape[1:]
        if self.backbone != "paper":
            return timm_network(self.backbone, height, width, channels=1, outputs=3, own="paper")
        channels = [max(4, round(self.width * full)) for full in (32, 32, 64, 80, 192)]
        layers: list[nn.Module] = []
        for before, after in zip([1, *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 3), nn.ReLU()]
        layers.insert(6, nn.MaxPool2d(3, 2, ceil_mode=True))  # after the third convolution
        features = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())
        with torch.no_grad():
            size = features(torch.zeros(1, 1, height, width)).shape[1]
        hidden = max(16, round(self.width * 1000))
        return nn.Sequential(features, nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Draw augmented crops and their gaze vectors."""
        vectors = torch.from_numpy(gaze_vectors(data.labels["angles"])).float()

        def draw(chosen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            return _augmented(self.inputs(data.images[chosen.numpy()]), self.augment, generator), vectors[chosen]

        return draw

    def inputs(self, images: Array) -> Tensor:
        """Return crops as tensors in [−1, 1]."""
        return torch.from_numpy(images.astype(np.float32) * np.float32(2 / 255) - 1)[:, None]

    def decode(self, outputs: Tensor) -> Floats:
        """Return pitch and yaw (N, 2) in radians."""
        return gaze_angles(outputs.double().numpy())

    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Return errors in degrees, also less the mean offset, as calibrated, and of guessing the mean label."""
        angles = labels["angles"]
        offset = (estimates - angles).mean(axis=0)
        errors, calibrated = angle_errors(estimates, angles), angle_errors(estimates - offset, angles)
        figures = {
            "error": float(errors.mean()),
            "median_error": float(np.median(errors)),
            "error_without_offset": float(calibrated.mean()),
            "median_error_without_offset": float(np.median(calibrated)),
            "offset": tuple(np.degrees(offset).tolist()),
            "correlation_pitch": _correlation(estimates[:, 0], angles[:, 0]),
            "correlation_yaw": _correlation(estimates[:, 1], angles[:, 1]),
            "guessing": float(angle_errors(np.broadcast_to(angles.mean(axis=0), angles.shape), angles).mean()),
        }
        within = (errors < 7).astype(np.float64)  # as in the paper's table
        columns = {"error": errors, "error_without_offset": calibrated, "share_within_7_degrees": within}
        return Measured(figures, columns, errors)


def angle_errors(estimates: Floats, angles: Floats) -> Floats:
    """Return angles in degrees, (N,), between the directions of two sets of pitch and yaw (N, 2)."""
    a, b = gaze_vectors(estimates), gaze_vectors(angles)
    sine, cosine = np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1)
    return np.degrees(np.arctan2(sine, cosine))  # exact for small angles too, which the arc cosine is not


def gaze_vectors(angles: Floats) -> Floats:
    """Return unit vectors (N, 3) of pitch and yaw (N, 2) in radians: x right, y down, z away from the camera."""
    pitch, yaw = np.asarray(angles, np.float64).T
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=1)


def gaze_angles(vectors: Floats) -> Floats:
    """Return pitch and yaw (N, 2) in radians of vectors (N, 3) of any length."""
    x, y, z = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).T
    return np.stack([np.arcsin(np.clip(-y, -1, 1)), np.arctan2(-x, -z)], axis=1)


def _augmented(crops: Tensor, wanted: Sequence[str], generator: Generator) -> Tensor:
    count, _, height, width = crops.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    if "shift" in wanted:
        place = torch.eye(2, 3).repeat(count, 1, 1)
        place[:, :, 2] = uniform(count, 2) * torch.tensor([2 * _SHIFT / width, 2 * _SHIFT / height])
        crops = warp(crops, place)
    if "blur" in wanted:
        crops = augmentation.blur(crops, generator)
    if "contrast" in wanted:
        crops = crops * (1 + _CONTRAST * uniform(count, 1, 1, 1)) + _CONTRAST * uniform(count, 1, 1, 1)
    if "noise" in wanted:
        crops = augmentation.noise(crops, generator)
    return change_looks(crops, set(wanted) - {"blur", "noise"}, generator)


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
