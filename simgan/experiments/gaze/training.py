"""A gaze network: trained on labelled crops, tested on others, with errors as angles.

The paper's network (its gaze experiment, 3.1), narrower by `width`: Conv 32 · 32 · 64 · MaxPool 3×3/2 · Conv 80 · 192 ·
MaxPool 2×2/2 · FC 9600 · FC 1000 · FC 3, all convolutions 3×3, Euclidean loss on the gaze vector; or a network of timm.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from simgan.errors import ConfigError, ImageError
from simgan.experiments.fitting import check_training, fit

Images = NDArray[np.uint8]
Floats = NDArray[np.floating]
Augmentation = Literal["shift", "blur", "contrast", "noise"]

AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)  # in the order in which they are applied
_SHIFT, _BLUR, _CONTRAST, _NOISE = 3.0, 1.2, 0.3, 0.08  # px to each side; σ in px; factor and offset; σ
_TEST_BATCH = 256


@dataclass(frozen=True)
class GazeTraining:
    """How a gaze network is trained.

    `backbone`: "paper", or the name of a network of timm (from random weights). `width`: maps and hidden units of the
    paper's network, as a share. `augment`: applied to each training crop, in amounts drawn uniformly:
    `shift` moves it by up to 3 px, `blur` is Gaussian of up to 1.2 px, `contrast` changes contrast by up to 30 % and
    brightness by up to 15 % of the range, `noise` adds white noise of a deviation up to 4 % of it.
    """

    backbone: str = "paper"
    width: float = 0.5
    steps: int = 800
    batch: int = 64
    learning_rate: float = 1e-3
    augment: tuple[Augmentation, ...] = ()

    def __post_init__(self) -> None:
        check_training(self, AUGMENTATIONS)


@dataclass(frozen=True)
class GazeResult:
    """How well gaze is estimated on the test images; angles in degrees."""

    error: float  # mean angle between the estimated and the true direction
    median_error: float
    error_without_offset: float  # mean, after `offset` is subtracted, as calibrating to a person does
    median_error_without_offset: float
    offset: tuple[float, float]  # mean difference, estimated − true, in pitch and yaw
    correlation_pitch: float
    correlation_yaw: float
    guessing: float  # mean error of the guess that is the mean of the test labels
    count: int
    seed: int
    errors: NDArray[np.float64] = field(repr=False)  # (N,) of each image
    errors_without_offset: NDArray[np.float64] = field(repr=False)
    estimates: NDArray[np.float64] = field(repr=False)  # (N, 2) pitch and yaw, radians


def build_network(height: int, width: int, training: GazeTraining, *, seed: int) -> nn.Module:
    """Return an untrained network: (B, 1, height, width) in [−1, 1] to gaze vectors (B, 3) of any length."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if training.backbone == "paper":
            return _paper_network(height, width, training.width)
        return _timm_network(height, width, training.backbone)


def train_network(network: nn.Module, images: Images, angles: Floats, training: GazeTraining, *, seed: int) -> None:
    """Train a network in place on crops uint8 (N, H, W) and their pitch and yaw (N, 2), with the squared error.

    Angles are in radians, the gaze being (−cos p sin y, −sin p, −cos p cos y). `ImageError` where they do not fit.
    """
    check_crops("training", images, angles)
    vectors = torch.from_numpy(gaze_vectors(angles)).float()

    def draw(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return _augmented(_values(images[chosen.numpy()]), training.augment, generator), vectors[chosen]

    fit(network, training, len(images), seed, draw, functional.mse_loss)


def estimate_gaze(network: nn.Module, images: Images) -> NDArray[np.float64]:
    """Return estimates of pitch and yaw, (N, 2) in radians, for crops uint8 (N, H, W)."""
    device = next(network.parameters()).device
    network.eval()
    with torch.inference_mode():
        parts = range(0, len(images), _TEST_BATCH)
        vectors = torch.cat([network(_values(images[i : i + _TEST_BATCH]).to(device)).cpu() for i in parts])
    return gaze_angles(vectors.double().numpy())


def measure_gaze(estimates: Floats, angles: Floats, *, seed: int) -> GazeResult:
    """Compare estimates with the truth, both (N, 2) pitch and yaw in radians."""
    offset = (estimates - angles).mean(axis=0)
    errors, calibrated = angle_errors(estimates, angles), angle_errors(estimates - offset, angles)
    return GazeResult(
        error=float(errors.mean()),
        median_error=float(np.median(errors)),
        error_without_offset=float(calibrated.mean()),
        median_error_without_offset=float(np.median(calibrated)),
        offset=(float(np.degrees(offset[0])), float(np.degrees(offset[1]))),
        correlation_pitch=_correlation(estimates[:, 0], angles[:, 0]),
        correlation_yaw=_correlation(estimates[:, 1], angles[:, 1]),
        guessing=float(angle_errors(np.broadcast_to(angles.mean(axis=0), angles.shape), angles).mean()),
        count=len(angles),
        seed=seed,
        errors=errors,
        errors_without_offset=calibrated,
        estimates=np.asarray(estimates, np.float64),
    )


def angle_errors(estimates: Floats, angles: Floats) -> NDArray[np.float64]:
    """Return angles in degrees, (N,), between the directions of two sets of pitch and yaw (N, 2)."""
    a, b = gaze_vectors(estimates), gaze_vectors(angles)
    sine, cosine = np.linalg.norm(np.cross(a, b), axis=1), (a * b).sum(axis=1)
    return np.degrees(np.arctan2(sine, cosine))  # exact for small angles too, which the arc cosine is not


def gaze_vectors(angles: Floats) -> NDArray[np.float64]:
    """Return unit vectors (N, 3) of pitch and yaw (N, 2) in radians: x right, y down, z away from the camera."""
    pitch, yaw = np.asarray(angles, np.float64).T
    return np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=1)


def gaze_angles(vectors: Floats) -> NDArray[np.float64]:
    """Return pitch and yaw (N, 2) in radians of vectors (N, 3) of any length."""
    x, y, z = (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).T
    return np.stack([np.arcsin(np.clip(-y, -1, 1)), np.arctan2(-x, -z)], axis=1)


def check_crops(name: str, images: Images, angles: Floats) -> None:
    """Raise `ImageError` where crops or their labels are not what a gaze network takes."""
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) < 2 or min(images.shape[1:]) < 24:
        raise ImageError(f"{name} crops must be uint8 (N, H, W), N ≥ 2, 24×24 up, not {images.dtype} {images.shape}")
    if angles.shape != (len(images), 2):
        raise ImageError(f"{name} angles must be ({len(images)}, 2), pitch and yaw of each image, not {angles.shape}")
    if not np.isfinite(angles).all() or np.abs(angles).max() > np.pi:
        raise ImageError(f"{name} angles must be finite and in radians, within ±π")


def _paper_network(height: int, width: int, factor: float) -> nn.Module:
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


def _timm_network(height: int, width: int, name: str) -> nn.Module:
    try:
        import timm
    except (ImportError, RuntimeError) as error:  # the latter where torchvision was built for another torch
        raise ConfigError(
            f"the backbone {name} is one of timm's, which cannot be imported ({error}): "
            "install simgan[timm], or take the backbone paper"
        ) from error
    if not timm.is_model(name):
        raise ConfigError(f"timm has no network {name!r}: choose one of timm.list_models(), or the backbone paper")
    network: nn.Module = timm.create_model(name, pretrained=False, in_chans=1, num_classes=3)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 1, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"timm's {name} does not take crops of {width}×{height} pixels ({error})") from error
    return network


def _values(images: Images) -> Tensor:
    return torch.from_numpy(images.astype(np.float32) * np.float32(2 / 255) - 1)[:, None]


def _augmented(crops: Tensor, wanted: tuple[Augmentation, ...], generator: torch.Generator) -> Tensor:
    count, _, height, width = crops.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    if "shift" in wanted:
        place = torch.eye(2, 3).repeat(count, 1, 1)
        place[:, :, 2] = uniform(count, 2) * torch.tensor([2 * _SHIFT / width, 2 * _SHIFT / height])
        grid = functional.affine_grid(place, list(crops.shape), align_corners=False)
        crops = functional.grid_sample(crops, grid, padding_mode="border", align_corners=False)
    if "blur" in wanted:
        crops = _blurred(crops, _BLUR * uniform(count).abs())
    if "contrast" in wanted:
        crops = crops * (1 + _CONTRAST * uniform(count, 1, 1, 1)) + _CONTRAST * uniform(count, 1, 1, 1)
    if "noise" in wanted:
        noise = torch.randn(crops.shape, generator=generator)
        crops = crops + noise * (_NOISE * uniform(count, 1, 1, 1).abs())
    return crops.clamp(-1, 1)


def _blurred(crops: Tensor, deviations: Tensor) -> Tensor:
    """Blur each of (B, 1, H, W) by its own Gaussian, deviations (B,) in px."""
    reach = round(3 * _BLUR)
    kernels = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviations.clamp(min=0.05)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True))[:, None, None]  # (B, 1, 1, K): a group of the convolution each
    side_by_side = functional.pad(crops, (reach, reach, reach, reach), mode="replicate").transpose(0, 1)
    level = functional.conv2d(side_by_side, kernels, groups=len(crops))
    return functional.conv2d(level, kernels.transpose(2, 3), groups=len(crops)).transpose(0, 1)


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
