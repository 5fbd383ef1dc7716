"""Does refining help? A gaze estimator is trained on labelled (refined) crops and tested on labelled real ones.

The network is the paper's (its gaze experiment, 3.1), narrower by `width`: Conv 32 · 32 · 64 · MaxPool 3×3/2 ·
Conv 80 · 192 · MaxPool 2×2/2 · FC 9600 · FC 1000 · FC 3, all convolutions 3×3, Euclidean loss on the gaze vector.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from simgan.errors import ConfigError, ImageError

Images = NDArray[np.uint8]
Floats = NDArray[np.floating]

_SHIFT, _CONTRAST, _NOISE = 3.0, 0.3, 0.08  # px either way; factor and offset either way; deviation at the most


@dataclass(frozen=True)
class GazeResult:
    """How well gaze is estimated on the test images; angles in degrees."""

    error: float  # mean angle between the estimated and the true direction
    error_without_offset: float  # the same with `offset` taken off, as calibrating to a person does
    offset: tuple[float, float]  # mean difference, estimated − true, in pitch and yaw
    correlation_pitch: float
    correlation_yaw: float
    guessing: float  # error of one who always answers the mean of the test labels
    count: int
    seed: int
    estimates: NDArray[np.float64]  # (N, 2) pitch and yaw, radians


def evaluate_gaze(
    train_images: Images,
    train_angles: Floats,
    test_images: Images,
    test_angles: Floats,
    *,
    seed: int,
    steps: int = 800,
    batch: int = 64,
    width: float = 0.5,
    learning_rate: float = 1e-3,
    augment: bool = True,
    device: str = "cpu",
) -> GazeResult:
    """Train a small network on one set of crops and test it on another; images uint8 (N, H, W), equalized alike.

    Angles are (N, 2): pitch and yaw in radians, the gaze being (−cos p sin y, −sin p, −cos p cos y). `augment` moves
    the training crops, changes their contrast and brightness and adds noise, each anew. Differs by seed, so several are
    needed; near-identical test images say nothing more than one. About 3 minutes of one core. `ImageError` for images
    or labels that do not fit, `ConfigError` for settings that cannot be.
    """
    _check("training", train_images, train_angles)
    _check("test", test_images, test_angles)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise ImageError(f"training crops are {train_images.shape[1:]}, test crops {test_images.shape[1:]}: crop alike")
    if min(steps, batch) < 1 or width <= 0 or learning_rate <= 0:
        raise ConfigError(f"steps {steps}, batch {batch}, width {width} and rate {learning_rate} must be positive")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(train_images.shape[1], train_images.shape[2], width)
    network.to(device)
    generator = torch.Generator().manual_seed(seed)
    images, targets = _values(train_images), torch.from_numpy(gaze_vectors(train_angles)).float()
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps + 1)
    for chosen in _batches(len(images), batch, steps, generator):
        crops = _augmented(images[chosen], generator) if augment else images[chosen]
        loss = functional.mse_loss(network(crops.to(device)), targets[chosen].to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        vectors = torch.cat([network(part.to(device)).cpu() for part in _values(test_images).split(256)])
    return _result(vectors.double().numpy(), np.asarray(test_angles, np.float64), seed)


def gaze_vectors(angles: Floats) -> NDArray[np.float64]:
    """Unit vectors (N, 3) of pitch and yaw (N, 2) in radians: x right, y down, z away from the camera."""
    pitch, yaw = np.asarray(angles, np.float64).T
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=1)


def _check(name: str, images: Images, angles: Floats) -> None:
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) < 2 or min(images.shape[1:]) < 24:
        raise ImageError(f"{name} crops must be uint8 (N, H, W), N ≥ 2, 24×24 up, not {images.dtype} {images.shape}")
    if angles.shape != (len(images), 2):
        raise ImageError(f"{name} angles must be ({len(images)}, 2), pitch and yaw of each image, not {angles.shape}")
    if not np.isfinite(angles).all() or np.abs(angles).max() > np.pi:
        raise ImageError(f"{name} angles must be finite and in radians, within ±π")


def _network(height: int, width: int, factor: float) -> nn.Module:
    channels = [max(4, round(factor * full)) for full in (32, 32, 64, 80, 192)]
    layers: list[nn.Module] = []
    before = 1
    for place, after in enumerate(channels):
        layers += [nn.Conv2d(before, after, 3), nn.ReLU()]
        if place == 2:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        before = after
    features = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())
    with torch.no_grad():
        size = features(torch.zeros(1, 1, height, width)).shape[1]
    hidden = max(16, round(factor * 1000))
    return nn.Sequential(features, nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 3))


def _values(images: Images) -> Tensor:
    return torch.from_numpy(images.astype(np.float32) * np.float32(2 / 255) - 1)[:, None]


def _batches(count: int, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Indices of `steps` mini-batches, every image once an epoch."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:batch]
        queue = queue[batch:]


def _augmented(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Each crop moved by up to 3 px, its contrast and brightness changed, and noise added."""
    count, _, height, width = crops.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    place = torch.eye(2, 3).repeat(count, 1, 1)
    place[:, :, 2] = uniform(count, 2) * torch.tensor([2 * _SHIFT / width, 2 * _SHIFT / height])
    grid = functional.affine_grid(place, list(crops.shape), align_corners=False)
    moved = functional.grid_sample(crops, grid, padding_mode="border", align_corners=False)
    changed = moved * (1 + _CONTRAST * uniform(count, 1, 1, 1)) + _CONTRAST * uniform(count, 1, 1, 1)
    noise = torch.randn(crops.shape, generator=generator) * (_NOISE * uniform(count, 1, 1, 1).abs())
    return (changed + noise).clamp(-1, 1)


def _result(vectors: NDArray[np.float64], angles: NDArray[np.float64], seed: int) -> GazeResult:
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    estimates = np.stack([np.arcsin(-vectors[:, 1]), np.arctan2(-vectors[:, 0], -vectors[:, 2])], axis=1)
    offset = (estimates - angles).mean(axis=0)
    constant = np.broadcast_to(angles.mean(axis=0), angles.shape)
    return GazeResult(
        error=_error(estimates, angles),
        error_without_offset=_error(estimates - offset, angles),
        offset=(float(np.degrees(offset[0])), float(np.degrees(offset[1]))),
        correlation_pitch=_correlation(estimates[:, 0], angles[:, 0]),
        correlation_yaw=_correlation(estimates[:, 1], angles[:, 1]),
        guessing=_error(constant, angles),
        count=len(angles),
        seed=seed,
        estimates=estimates,
    )


def _error(estimates: Floats, angles: Floats) -> float:
    """Mean angle in degrees between the directions of two sets of pitch and yaw."""
    cosine = (gaze_vectors(estimates) * gaze_vectors(angles)).sum(axis=1)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
