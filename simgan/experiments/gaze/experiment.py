"""The gaze experiment: networks estimate where eyes look, and where pupils are, if that is tested too.

The paper's network (its gaze experiment, 3.1), narrower by `width`: Conv 32 · 32 · 64 · MaxPool 3×3/2 · Conv 80 · 192 ·
MaxPool 2×2/2 · FC 9600 · FC 1000 · FC 3, all convolutions 3×3, Euclidean loss on the gaze vector; or a network of timm.
With pupils it has two outputs more.
Angles are in radians, the gaze being (−cos p sin y, −sin p, −cos p cos y) of pitch p and yaw y.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from simgan.domains.eyes import PUPIL_DISTANCE, WIDTH
from simgan.errors import ConfigError, ImageError, SourceError
from simgan.experiments import augmentation
from simgan.experiments.augmentation import change_looks, warp
from simgan.experiments.backbones import timm_network
from simgan.experiments.base import Column, Experiment, Floats, LabelledImages, Measured
from simgan.experiments.sources import persons_of
from simgan.images.arrays import Array

Augmentation = Literal["shift", "blur", "contrast", "noise", "colour", "randaugment"]

_SHIFT, _CONTRAST = 3.0, 0.3  # px to each side; factor and offset
_PUPIL_WEIGHT = 5.0  # of pupils, which move by less of their distance than a gaze vector by its length


def known_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean squared error, labels that are not known (NaN) counting as met."""
    return torch.where(targets.isnan(), 0.0, outputs - targets).square().mean()


@dataclass(frozen=True, kw_only=True)
class GazeExperiment(Experiment):
    """Pitch and yaw of eyes; with more test sets also the order of gaze across a screen, and pupils."""

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
    blocks: str | None = None
    """A source of real eyes whose label `across` is a place in an order across a screen, such as webcam:FILE.parquet.
    Yaw is compared with it by Spearman's ρ in each recording, which no constant offset changes."""
    pupils: str | None = None
    """A source of real eyes with the label `pupil`, such as bioid:FILE.parquet; networks learn it too, from synthetic
    labels. Errors are shares of the distance between pupils, 63 mm at the scale of MPIIGaze's crops."""
    days: Path | None = None
    """A CSV of file_name and day of all images of REAL, for an interval over days; else their label `recording`."""

    name = "gaze"
    domain = "eyes"
    columns = (
        Column("error", "error°"),
        Column("median_error", "median°", median=True),
        Column("error_without_offset", "without offset°"),
        Column("share_within_7_degrees", "within 7°, %", 0, 100),
        Column("order", "order across, ρ", 3, axis="order of gaze across a screen, ρ", less_is_better=False),
        Column("pupil_error", "pupil, %", 2, 100, axis="pupil error, % of the distance between pupils"),
        Column("pupil_within_5_percent", "pupil within 5 %, %", 1, 100),
    )
    axis = "gaze error, degrees"
    unit = "°"
    less_is_better = True
    distance, greatest, counted = "distance from the true gaze, degrees", 20.0, "test images"
    augmentations = get_args(Augmentation)
    test_batch = 256
    loss = staticmethod(known_loss)

    def tests(self) -> tuple[str, ...]:
        """Return the sources of the test images: of gaze, of places across a screen, of pupils."""
        return tuple(dict.fromkeys(filter(None, (self.real, self.blocks, self.pupils))))

    def tested(self, data: LabelledImages, source: str) -> LabelledImages:
        """Return test images of a source with those labels that they are given for, the others being NaN."""
        tests = {"angles": self.real, "across": self.blocks, "pupil": self.pupils}
        unused = {name: np.full_like(data.labels[name], np.nan) for name, test in tests.items() if test != source}
        return replace(data, labels={**data.labels, **unused})

    def read(self, dataset: Dataset, images: Array, source: str) -> LabelledImages:
        """Return crops uint8 (N, H, W) with labels, NaN where there are none.

        `angles`: pitch and yaw (N, 2) in radians; `pupil`: x and y (N, 2) from the centre, in distances between pupils;
        `across`: places (N,) across a screen; `recording`: names (N,) of when an eye was recorded, and of whom.
        """
        needed = source in (self.synthetic, self.real, self.train_real) or source not in self.tests()
        if needed and not {"pitch", "yaw"} <= set(dataset.column_names):
            raise SourceError(f"{source} has no gaze labels (pitch and yaw), which gaze networks need")
        if images.dtype != np.uint8 or images.ndim != 3 or len(images) < 2 or min(images.shape[1:]) < 24:
            raise ImageError(f"{source} crops must be uint8 (N ≥ 2, H ≥ 24, W ≥ 24), not {images.dtype} {images.shape}")
        angles = np.concatenate([_column(dataset, name) for name in ("pitch", "yaw")], 1)
        if needed and not (np.isfinite(angles).all() and np.abs(angles).max() <= np.pi):
            raise ImageError(f"{source} angles must be finite and in radians, within ±π")
        across, pupil = _column(dataset, "across")[:, 0], _column(dataset, "pupil", 2)
        if source == self.blocks and np.isnan(across).any():
            raise SourceError(f"{source} lacks the label across (a place in an order), which --blocks needs")
        if source == self.pupils and np.isnan(pupil).any():
            raise SourceError(f"{source} lacks the label pupil (x and y in px), which --pupils needs")
        height, width = images.shape[1:]
        pupil = (pupil - (np.array([width, height]) - 1) / 2) / _distance(width)
        labels = {"angles": angles, "pupil": pupil, "across": across}
        return LabelledImages(images, labels | {"recording": self._recordings(dataset, source)}, persons_of(dataset))

    def check(self, trained_on: LabelledImages, used_on: LabelledImages, names: tuple[str, str]) -> None:
        """Raise `ConfigError` also where pupils are tested, and not known of all images that are trained on."""
        super().check(trained_on, used_on, names)
        if self.pupils and np.isnan(trained_on.labels["pupil"]).any():
            raise ConfigError(f"{names[0]} lacks the label pupil, which networks learn with --pupils: leave that out")

    def _recordings(self, dataset: Dataset, source: str) -> NDArray[np.str_]:
        """Return the recording of each image: its day of --days, its label, or its person."""
        kept = next((name for name in ("recording", "person") if name in dataset.column_names), None)
        if self.days is None or source != self.real:
            return np.array(dataset[kept] if kept else [""] * len(dataset), dtype=str)
        try:
            table = pd.read_csv(self.days).set_index("file_name")
            persons = persons_of(dataset) or [""] * len(dataset)
            days = table["day"].loc[dataset["file_name"]]
            return np.array([f"{person} {day}".strip() for person, day in zip(persons, days, strict=True)])
        except (OSError, ValueError, KeyError) as error:
            raise SourceError(
                f"{self.days} must be a CSV of file_name and day of all images of {source} ({error})"
            ) from error

    def select(self, data: LabelledImages) -> LabelledImages:
        """Return the eyes that look within the limits."""
        within = np.flatnonzero((np.abs(np.degrees(data.labels["angles"])) <= [self.pitch, self.yaw]).all(1))
        if len(within) < 2:
            raise ConfigError(f"{self.synthetic} has no images within pitch ±{self.pitch}° and yaw ±{self.yaw}°")
        return data.part(within)

    def network(self, data: LabelledImages) -> nn.Module:
        """Return a network to gaze vectors (B, 3) of any length, then places of pupils if they are tested."""
        height, width = data.images.shape[1:]
        outputs = 5 if self.pupils else 3
        if self.backbone != "paper":
            return timm_network(self.backbone, height, width, channels=1, outputs=outputs, own="paper")
        channels = [max(4, round(self.width * full)) for full in (32, 32, 64, 80, 192)]
        layers: list[nn.Module] = []
        for before, after in zip([1, *channels], channels, strict=False):
            layers += [nn.Conv2d(before, after, 3), nn.ReLU()]
        layers.insert(6, nn.MaxPool2d(3, 2, ceil_mode=True))  # after the third convolution
        features = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())
        with torch.no_grad():
            size = features(torch.zeros(1, 1, height, width)).shape[1]
        hidden = max(16, round(self.width * 1000))
        return nn.Sequential(features, nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def feed(self, data: LabelledImages, network: nn.Module) -> Callable[[Tensor, Generator], tuple[Tensor, Tensor]]:
        """Draw augmented crops, and their gaze vectors and pupils."""
        targets = [gaze_vectors(data.labels["angles"])]
        targets += [_PUPIL_WEIGHT * data.labels["pupil"]] if self.pupils else []
        wanted = torch.from_numpy(np.concatenate(targets, 1)).float()
        scale = _PUPIL_WEIGHT / _distance(data.images.shape[2])

        def draw(chosen: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
            crops, moved = _augmented(self.inputs(data.images[chosen.numpy()]), self.augment, generator)
            drawn = wanted[chosen]
            drawn[:, 3:] += scale * moved[:, : drawn.shape[1] - 3]
            return crops, drawn

        return draw

    def inputs(self, images: Array) -> Tensor:
        """Return crops as tensors in [−1, 1]."""
        return torch.from_numpy(images.astype(np.float32) * np.float32(2 / 255) - 1)[:, None]

    def decode(self, outputs: Tensor) -> Floats:
        """Return pitch and yaw (N, 2) in radians, then places of pupils as `read` returns them."""
        found = outputs.double().numpy()
        return np.concatenate([gaze_angles(found[:, :3]), found[:, 3:] / _PUPIL_WEIGHT], axis=1)

    def measure(self, estimates: Array, labels: Mapping[str, Array]) -> Measured:
        """Return errors in degrees, also less the mean offset, as calibrated, and of guessing the mean label.

        Also ρ of each recording between yaw and places across the screen, and errors of pupils, if they are tested.
        """
        looking = np.flatnonzero(np.isfinite(labels["angles"]).all(1))
        angles, gaze = labels["angles"][looking], estimates[looking, :2]
        offset = (gaze - angles).mean(axis=0)
        errors, calibrated = angle_errors(gaze, angles), angle_errors(gaze - offset, angles)
        figures: dict[str, Any] = {
            "error": float(errors.mean()),
            "median_error": float(np.median(errors)),
            "error_without_offset": float(calibrated.mean()),
            "median_error_without_offset": float(np.median(calibrated)),
            "offset": tuple(np.degrees(offset).tolist()),
            "correlation_pitch": _correlation(gaze[:, 0], angles[:, 0]),
            "correlation_yaw": _correlation(gaze[:, 1], angles[:, 1]),
            "guessing": float(angle_errors(np.broadcast_to(angles.mean(axis=0), angles.shape), angles).mean()),
        }
        within = (errors < 7).astype(np.float64)  # as in the paper's table
        columns = {"error": errors, "error_without_offset": calibrated, "share_within_7_degrees": within}
        images = dict.fromkeys((*columns, "median_error"), looking)
        if self.blocks:
            placed = np.flatnonzero(np.isfinite(labels["across"]))
            names, first = np.unique(labels["recording"][placed], return_index=True)
            parts = [placed[labels["recording"][placed] == name] for name in names]
            orders = np.array([rank_correlation(estimates[part, 1], labels["across"][part]) for part in parts])
            figures |= {
                "order": float(orders.mean()),
                "orders": dict(zip(names.tolist(), orders.tolist(), strict=True)),
            }
            columns["order"], images["order"] = orders, placed[first]
        if self.pupils:
            there = np.flatnonzero(np.isfinite(labels["pupil"]).all(1))
            pupils = labels["pupil"][there]
            distances = np.linalg.norm(estimates[there, 2:] - pupils, axis=1)
            near = (distances < 0.05).astype(np.float64)
            columns |= {"pupil_error": distances, "pupil_within_5_percent": near}
            images |= {"pupil_error": there, "pupil_within_5_percent": there}
            guessing = float(np.linalg.norm(pupils - pupils.mean(axis=0), axis=1).mean())
            figures |= {"pupil_error": float(distances.mean()), "pupil_within_5_percent": float(near.mean())}
            figures |= {"pupil_guessing": guessing, "pupil_offset": (estimates[there, 2:] - pupils).mean(0).tolist()}
        return Measured(figures, columns, errors, images)


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


def _column(dataset: Dataset, name: str, size: int = 1) -> Floats:
    """Return a label (N, size), NaN where it is not known."""
    values = dataset[name] if name in dataset.column_names else [None] * len(dataset)
    return np.array([np.full(size, np.nan) if one is None else one for one in values], np.float64).reshape(-1, size)


def _distance(width: int) -> float:
    """Return the distance between pupils in px of a crop so wide."""
    return PUPIL_DISTANCE * width / WIDTH


def _augmented(crops: Tensor, wanted: Sequence[str], generator: Generator) -> tuple[Tensor, Tensor]:
    """Return crops, and by how many px (B, 2) what they show has moved."""
    count, _, height, width = crops.shape
    moved = torch.zeros(count, 2)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    if "shift" in wanted:
        place = torch.eye(2, 3).repeat(count, 1, 1)
        place[:, :, 2] = uniform(count, 2) * torch.tensor([2 * _SHIFT / width, 2 * _SHIFT / height])
        crops, moved = warp(crops, place), -place[:, :, 2] * torch.tensor([width / 2, height / 2])
    if "blur" in wanted:
        crops = augmentation.blur(crops, generator)
    if "contrast" in wanted:
        crops = crops * (1 + _CONTRAST * uniform(count, 1, 1, 1)) + _CONTRAST * uniform(count, 1, 1, 1)
    if "noise" in wanted:
        crops = augmentation.noise(crops, generator)
    return change_looks(crops, set(wanted) - {"blur", "noise"}, generator), moved


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's ρ, 0 where one of both is constant, which is no order."""
    return float(pd.Series(a).rank().corr(pd.Series(b).rank())) if np.ptp(a) and np.ptp(b) else 0.0


def _correlation(a: Floats, b: Floats) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
