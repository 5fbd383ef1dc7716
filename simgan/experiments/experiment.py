"""Does refining help? The same network is trained on each arm's images and tested on the same real ones, over seeds.

Every (arm, seed) is written to a folder as soon as it is trained, so that an interrupted experiment goes on. Nothing is
chosen on the test images: no checkpoint, no early stopping, no setting.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.arms import Arm, parse_arms
from simgan.experiments.files import write_aside
from simgan.experiments.sources import Sources
from simgan.experiments.task import Floats, Result, Task, Training, scalars
from simgan.measures.statistics import Estimate, Groups, estimate_errors, group_images

_TUNING = 4  # fine-tuning takes a quarter of the steps at a quarter of the rate


@dataclass(frozen=True)
class ArmResult:
    """One arm, fine-tuned on so many real images or on none, over all seeds."""

    arm: Arm
    tuned: int
    images: int
    results: list[Any]

    @property
    def name(self) -> str:
        """What its networks were trained on."""
        return _name(self.arm, self.tuned)

    @property
    def errors(self) -> Floats:
        """Errors of every seed: (seeds, images, ...)."""
        return np.stack([result.errors for result in self.results])

    def seeds(self) -> list[dict[str, Any]]:
        """Return the figures of each seed, without arrays: the rows that a model card averages."""
        return [scalars(result) for result in self.results]


@dataclass(frozen=True)
class Difference:
    """The columns of one arm less those of another, paired by test image and seed."""

    first: str
    second: str
    columns: dict[str, Estimate]
    relative: float  # the first column's, as a share of the second arm's


@dataclass(frozen=True)
class Comparison:
    """All arms of an experiment, and the groups of test images that intervals resample."""

    task: Task
    arms: list[ArmResult]
    groups: Groups
    grouped_by: str

    def columns(self, row: ArmResult) -> dict[str, Estimate]:
        """Return the columns of an arm: means over seeds, with their intervals."""
        values, found = self._values(row), {}
        before = ""
        for column in self.task.columns:
            found[column.key] = estimate_errors(
                values[before if column.median else column.key], self.groups, median=column.median
            )
            before = column.key
        return found

    def differences(self) -> list[Difference]:
        """Return the differences of the arms in `pairs`."""
        return [self._difference(first, second) for first, second in pairs(self.arms)]

    def _difference(self, first: ArmResult, second: ArmResult) -> Difference:
        one, other = self._values(first), self._values(second)
        columns = {key: estimate_errors(one[key] - other[key], self.groups) for key in one}
        key = self.task.columns[0].key
        mean = float(other[key].mean())
        return Difference(first.name, second.name, columns, columns[key].value / mean if mean else float("nan"))

    def _values(self, row: ArmResult) -> dict[str, Floats]:
        """Return the columns (seeds, images) but those of medians."""
        by_seed = [self.task.errors_by_image(result) for result in row.results]
        return {key: np.stack([one[key] for one in by_seed]) for key in by_seed[0]}


def pairs(arms: Sequence[ArmResult]) -> Iterator[tuple[ArmResult, ArmResult]]:
    """Compare each arm with the first, and the first model's arms with their rivals; both are fine-tuned alike."""
    for number in {row.tuned: None for row in arms}:
        first, *others = [row for row in arms if row.tuned == number]
        yield from ((row, first) for row in others)
        refined = [row for row in others if row.arm.kind == "refined"]
        for row in refined:
            if row.arm.model == refined[0].arm.model:
                yield from ((row, rival) for rival in others if rival.arm.is_rival_of(row.arm))


def run_experiment(
    sources: Sources,
    arms: Sequence[str],
    *,
    training: Training,
    seeds: int = 3,
    finetune: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Train and test every arm with every seed.

    Args:
        sources: where images come from, and the task.
        arms: names of arms.
        training: settings of the networks.
        seeds: networks of each arm.
        finetune: so many real images that a copy of each network not trained on real ones is trained further on.
        folder: results are kept here, and taken from here where they were finished before.
        device: where networks are trained.
        progress: called with a line for each network.

    `ConfigError` for what cannot be trained, before anything is.
    """
    if seeds < 1:
        raise ConfigError(f"an experiment needs networks, not {seeds}: give at least 1 seed")
    task = sources.task
    chosen = parse_arms(arms, sources.models, task.augmentations)
    for number in finetune:
        if not 2 <= number <= len(sources.train.images):
            raise ConfigError(f"{number} real images to fine-tune on: give 2 to {len(sources.train.images)}")
    origins = {arm.name: sources.origin(arm) for arm in chosen}
    jobs = [(arm, seed) for arm in chosen for seed in range(seeds)]
    found: dict[tuple[str, int], list[Result]] = {}
    spent: list[float] = []
    for place, (arm, seed) in enumerate(jobs, 1):
        augment = tuple(kind for kind in task.augmentations if kind in (*training.augment, *arm.augment))
        used = replace(training, augment=augment)
        tuned = (0, *finetune) if arm.kind != "real" else (0,)
        files = {number: _file(folder, sources, arm, number, seed, used, origins[arm.name]) for number in tuned}
        start = time.monotonic()
        kept = {number: values for number, file in files.items() if (values := _read(file)) is not None}
        if len(kept) < len(files):
            kept = _train(sources, arm, seed, used, files, device)
            spent.append(time.monotonic() - start)
        for number, values in kept.items():
            found.setdefault((arm.name, number), []).append(task.measure(values, sources.test, seed))
        left = (len(jobs) - place) * sum(spent) / max(len(spent), 1) / 60
        summary = task.summary(found[arm.name, 0][-1])
        progress(
            f"{place} of {len(jobs)}: {arm.name}, seed {seed}: {summary}"
            + (f", about {left:.0f} min left" if left else "")
        )
    rows = [
        ArmResult(arm, number, len(sources.unrefined(arm).images), found[arm.name, number])
        for number in (0, *finetune)
        for arm in chosen
        if (arm.name, number) in found
    ]
    return Comparison(task, rows, *group_images(len(sources.test.images), sources.test.persons))


def _train(
    sources: Sources, arm: Arm, seed: int, training: Any, files: dict[int, Path | None], device: str
) -> dict[int, Floats]:
    """Return the estimates for the test images by a network trained on the arm, and by its fine-tuned copies."""
    task, data = sources.task, sources.of(arm)
    network = task.build(data, training, seed).to(device)
    task.train(network, data, training, seed)
    found: dict[int, Floats] = {}
    for number, file in files.items():
        tuned = network
        if number:
            some = np.random.default_rng(seed).permutation(len(sources.train.images))[:number]
            steps, rate = -(-training.steps // _TUNING), training.learning_rate / _TUNING
            tuned = copy.deepcopy(network)
            task.train(tuned, sources.train.part(some), replace(training, steps=steps, learning_rate=rate), seed)
        found[number] = task.estimate(tuned, sources.test, training)
        if file is not None:
            kept = {"arm": _name(arm, number), "seed": seed, "estimates": found[number].tolist()}
            write_aside(file, json.dumps(kept).encode())
    return found


def _name(arm: Arm, tuned: int) -> str:
    return f"{arm.name}, then {tuned} real" if tuned else arm.name


def _file(
    folder: Path | None, sources: Sources, arm: Arm, number: int, seed: int, training: Training, origin: str
) -> Path | None:
    """Return where a result is kept: its name holds all that it depends on."""
    if folder is None:
        return None
    depends = [__version__, origin, sources.test.digest, sources.train.digest if number else "", asdict(training)]
    key = hashlib.sha256(json.dumps([*depends, _TUNING, number, seed]).encode()).hexdigest()[:16]
    return folder / f"{re.sub(r'[^A-Za-z0-9+-]+', '-', _name(arm, number))}-seed{seed}-{key}.json"


def _read(file: Path | None) -> Floats | None:
    if file is None or not file.is_file():
        return None
    try:
        return np.asarray(json.loads(file.read_text())["estimates"], np.float64)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SourceError(f"{file} cannot be read ({reason(error)}): delete it to train that network again") from error
