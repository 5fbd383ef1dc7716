"""Does refining help? The same gaze network trained on each arm's images, tested on the same real ones, over seeds.

Every (arm, seed) is written to a folder as soon as it is trained, so that an interrupted experiment goes on. Nothing is
chosen on the test images: no checkpoint, no early stopping, no setting.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.evaluation.bootstrap import Estimate, estimate, group_images, mean_error, median_error
from simgan.evaluation.gaze import (
    AUGMENTATIONS,
    GazeResult,
    GazeTraining,
    build_network,
    estimate_gaze,
    measure_gaze,
    train_network,
)
from simgan.evaluation.gaze_arms import Arm, Material

SHARE_WITHIN = 7.0  # degrees, of the paper's table
_TUNING = 4  # fine-tuning takes a quarter of the steps at a quarter of the rate


@dataclass(frozen=True)
class ArmResult:
    """One arm, fine-tuned on so many real images or on none, over all seeds."""

    arm: Arm
    tuned: int
    images: int
    results: list[GazeResult]

    @property
    def name(self) -> str:
        """What its networks were trained on."""
        return _name(self.arm, self.tuned)

    @property
    def errors(self) -> NDArray[np.float64]:
        """(seeds, images) in degrees."""
        return np.stack([result.errors for result in self.results])

    @property
    def errors_without_offset(self) -> NDArray[np.float64]:
        """(seeds, images) in degrees."""
        return np.stack([result.errors_without_offset for result in self.results])


@dataclass(frozen=True)
class Difference:
    """The error of one arm less that of another, paired by test image and seed; below zero the first is better."""

    first: str
    second: str
    error: Estimate
    error_without_offset: Estimate
    reduction: float  # of the mean error, as a share of the second's


@dataclass(frozen=True)
class GazeComparison:
    """All arms of an experiment, and what their images were resampled by."""

    arms: list[ArmResult]
    groups: NDArray[np.int64]
    grouped_by: str

    def differences(self) -> list[Difference]:
        """Each arm against the first, and what is refined against every other, where both are fine-tuned alike."""
        found = []
        for number in {row.tuned: None for row in self.arms}:
            alike = [row for row in self.arms if row.tuned == number]
            for early, late in combinations(alike, 2):
                if early is alike[0] or late.arm.kind == "refined":
                    found.append(self._difference(late, early))
                elif early.arm.kind == "refined":
                    found.append(self._difference(early, late))
        return found

    def _difference(self, first: ArmResult, second: ArmResult) -> Difference:
        error = estimate(first.errors - second.errors, self.groups)
        return Difference(
            first=first.name,
            second=second.name,
            error=error,
            error_without_offset=estimate(first.errors_without_offset - second.errors_without_offset, self.groups),
            reduction=-error.value / mean_error(second.errors),
        )

    def figures(self, row: ArmResult) -> dict[str, Any]:
        """What is reported of an arm: means over the seeds with their intervals, and every seed by itself."""
        seen = (row.errors, row.errors_without_offset)
        within = (row.errors < SHARE_WITHIN).astype(np.float64)
        return {
            "trained_on": row.name,
            "images": row.images,
            "error": asdict(estimate(seen[0], self.groups)),
            "median_error": asdict(estimate(seen[0], self.groups, median_error)),
            "error_without_offset": asdict(estimate(seen[1], self.groups)),
            "median_error_without_offset": asdict(estimate(seen[1], self.groups, median_error)),
            "share_within_7_degrees": asdict(estimate(within, self.groups)),
            "correlation_pitch": float(np.mean([result.correlation_pitch for result in row.results])),
            "correlation_yaw": float(np.mean([result.correlation_yaw for result in row.results])),
            "seeds": seeds_of(row),
        }


def seeds_of(row: ArmResult) -> list[dict[str, Any]]:
    """The figures of each seed, without arrays: the rows that a model card averages."""
    return [
        {name: value for name, value in vars(result).items() if not isinstance(value, np.ndarray)}
        for result in row.results
    ]


def run_experiment(
    material: Material,
    arms: Sequence[str],
    *,
    seeds: int = 3,
    training: GazeTraining | None = None,
    finetune: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda line: None,
) -> GazeComparison:
    """Train and test every arm with every seed; what lies in `folder` from before is taken from there.

    `finetune`: so many real images that a copy of each network not trained on real ones goes on with. `tell` is given a
    line for each network trained. `ConfigError` for what cannot be trained, found before anything is.
    """
    training = training or GazeTraining()
    if seeds < 1:
        raise ConfigError(f"{seeds} networks tell nothing: give at least 1 seed")
    chosen = [arm for name in arms for arm in Arm.parse(name, material.models)]
    names = [arm.name for arm in chosen]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"arms need different names: {', '.join(names) or 'none is given'} (models too)")
    for number in finetune:
        if not 2 <= number <= len(material.train.images):
            raise ConfigError(f"{number} real images to fine-tune on: give 2 to {len(material.train.images)}")
    origins = {arm.name: material.origin(arm) for arm in chosen}
    jobs = [(arm, seed) for arm in chosen for seed in range(seeds)]
    found: dict[tuple[str, int], list[GazeResult]] = {}
    spent: list[float] = []
    for place, (arm, seed) in enumerate(jobs):
        tuned = (0, *finetune) if arm.kind != "real" else (0,)
        used = replace(training, augment=tuple(k for k in AUGMENTATIONS if k in (*training.augment, *arm.augment)))
        files = {number: _file(folder, material, arm, number, seed, used, origins[arm.name]) for number in tuned}
        start = time.monotonic()
        kept = {n: estimates for n, file in files.items() if (estimates := _kept(file)) is not None}
        if len(kept) < len(files):
            kept = _trained(material, arm, seed, used, files, device)
            spent.append(time.monotonic() - start)
        for number, estimates in kept.items():
            result = measure_gaze(estimates, material.test.angles, seed=seed)
            found.setdefault((arm.name, number), []).append(result)
        left = (len(jobs) - place - 1) * (sum(spent) / len(spent) if spent else 0)
        tell(
            f"{place + 1} of {len(jobs)}: {arm.name}, seed {seed}: {found[arm.name, 0][-1].error:.2f}°"
            + (f", about {left / 60:.0f} min left" if left else "")
        )
    rows = [
        ArmResult(arm, number, len(material.unrefined(arm).images), found[arm.name, number])
        for number in (0, *finetune)
        for arm in chosen
        if (arm.name, number) in found
    ]
    return GazeComparison(rows, *group_images(len(material.test.images), material.test.persons))


def _trained(
    material: Material, arm: Arm, seed: int, training: GazeTraining, files: dict[int, Path | None], device: str
) -> dict[int, NDArray[np.float64]]:
    """Estimates (N, 2) of the test images by a network trained on the arm, and by its fine-tuned copies."""
    data, test = material.of(arm), material.test
    height, width = data.images.shape[1:]
    network = build_network(height, width, training, seed=seed).to(device)
    train_network(network, data.images, data.angles, training, seed=seed)
    made: dict[int, NDArray[np.float64]] = {}
    for number, file in files.items():
        tuned = network
        if number:
            some = material.train.part(np.random.default_rng(seed).permutation(len(material.train.images))[:number])
            gently = replace(
                training, steps=-(-training.steps // _TUNING), learning_rate=training.learning_rate / _TUNING
            )
            tuned = copy.deepcopy(network)
            train_network(tuned, some.images, some.angles, gently, seed=seed)
        made[number] = estimates = estimate_gaze(tuned, test.images)
        if file is not None:
            told = {"arm": _name(arm, number), "seed": seed, "estimates": estimates.tolist()}
            write_aside(file, json.dumps(told).encode())
    return made


def _name(arm: Arm, tuned: int) -> str:
    return f"{arm.name}, then {tuned} real" if tuned else arm.name


def _file(
    folder: Path | None, material: Material, arm: Arm, number: int, seed: int, training: GazeTraining, origin: str
) -> Path | None:
    """Where a result is kept: its name holds all that it depends on, so that other settings never meet it."""
    if folder is None:
        return None
    depends = [__version__, origin, material.test.digest, material.train.digest if number else "", asdict(training)]
    key = hashlib.sha256(json.dumps([*depends, _TUNING, number, seed]).encode()).hexdigest()[:16]
    return folder / f"{re.sub(r'[^A-Za-z0-9+-]+', '-', _name(arm, number))}-seed{seed}-{key}.json"


def _kept(file: Path | None) -> NDArray[np.float64] | None:
    if file is None or not file.is_file():
        return None
    try:
        return np.asarray(json.loads(file.read_text())["estimates"], np.float64)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SourceError(f"{file} cannot be read ({reason(error)}): delete it to train that network again") from error


def write_aside(file: Path, data: bytes) -> None:
    """Write a file aside and rename it, making its folder; `SourceError` where that does not work."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.part")
        aside.write_bytes(data)
        aside.replace(file)
    except OSError as error:
        raise SourceError(f"{file} cannot be written ({reason(error)})") from error
