"""Does refining help? The same network trained on each arm's images, tested on the same real ones, over seeds.

Every (arm, seed) is written to a folder as soon as it is trained, so that an interrupted experiment goes on. Nothing is
chosen on the test images: no checkpoint, no early stopping, no setting. What is estimated is a `Task`'s own.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.arms import Arm, L, Material
from simgan.experiments.files import write_aside
from simgan.measures.statistics import group_images

Floats = NDArray[np.float64]

_TUNING = 4  # fine-tuning takes a quarter of the steps at a quarter of the rate


class Training(Protocol):
    """What every task's settings have; they are a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def steps(self) -> int:
        """Of training."""

    @property
    def learning_rate(self) -> float:
        """The highest of the schedule."""

    @property
    def augment(self) -> tuple[str, ...]:
        """What is done to the training crops of every arm."""


class Result(Protocol):
    """What every task's results have, beside their own figures."""

    @property
    def errors(self) -> Floats:
        """Of each test image, or of each of its parts: (images, ...)."""


T = TypeVar("T", bound=Training)
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Task(Generic[L, T, R]):
    """What networks are to estimate: five functions, all that differs between experiments beside their sources."""

    build: Callable[[L, T, int], nn.Module]  # untrained, for such crops, by seed
    train: Callable[[nn.Module, L, T, int], None]  # in place, on the device where it is, by seed
    estimate: Callable[[nn.Module, L], Floats]
    measure: Callable[[Floats, L, int], R]  # estimates against labels, of the network of a seed
    tell: Callable[[R], str]  # in a few words


@dataclass(frozen=True)
class ArmResult(Generic[R]):
    """One arm, fine-tuned on so many real images or on none, over all seeds."""

    arm: Arm
    tuned: int
    images: int
    results: list[R]

    @property
    def name(self) -> str:
        """What its networks were trained on."""
        return _name(self.arm, self.tuned)

    @property
    def errors(self) -> Floats:
        """Of every seed: (seeds, images, ...)."""
        return self.stacked("errors")

    def stacked(self, name: str) -> Floats:
        """An array of the results by its name, of every seed."""
        return np.stack([getattr(result, name) for result in self.results])

    def seeds(self) -> list[dict[str, Any]]:
        """The figures of each seed, without arrays: the rows that a model card averages."""
        return [
            {name: value for name, value in vars(result).items() if not isinstance(value, np.ndarray)}
            for result in self.results
        ]


@dataclass(frozen=True)
class Comparison(ABC, Generic[R]):
    """All arms of an experiment, and what their images were resampled by."""

    arms: list[ArmResult[R]]
    groups: NDArray[np.int64]
    grouped_by: str

    @abstractmethod
    def differences(self) -> Sequence[Any]:
        """What is reported of each of `pairs`, as dataclasses."""

    @abstractmethod
    def figures(self, row: ArmResult[R]) -> dict[str, Any]:
        """What is reported of an arm."""


def pairs(arms: Sequence[ArmResult[R]]) -> Iterator[tuple[ArmResult[R], ArmResult[R]]]:
    """Each arm against the first, and what the first model refined against its rivals, where both are fine-tuned alike.

    Rivals are what nothing refined, and as many images as another model refined.
    """
    for number in {row.tuned: None for row in arms}:
        first, *others = [row for row in arms if row.tuned == number]
        yield from ((row, first) for row in others)
        refined = [row for row in others if row.arm.kind == "refined"]
        for row in refined:
            if row.arm.model == refined[0].arm.model:
                yield from ((row, rival) for rival in others if _are_rivals(row.arm, rival.arm))


def _are_rivals(arm: Arm, other: Arm) -> bool:
    return other.kind != "refined" or (other.model != arm.model and other.times == arm.times)


def run_arms(
    task: Task[L, T, R],
    material: Material[L],
    arms: Sequence[str],
    *,
    training: T,
    seeds: int,
    finetune: Sequence[int] = (),
    folder: Path | None = None,
    device: str = "cpu",
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[list[ArmResult[R]], NDArray[np.int64], str]:
    """Train and test every arm with every seed; give the arms, the group of each test image, and what groups are.

    What lies in `folder` from before is taken from there. `finetune`: so many real images that a copy of each network
    not trained on real ones goes on with. `tell` is given a line for each network trained. `ConfigError` for what
    cannot be trained, found before anything is.
    """
    if seeds < 1:
        raise ConfigError(f"{seeds} networks tell nothing: give at least 1 seed")
    chosen = [arm for name in arms for arm in material.arm.parse(name, material.models)]
    names = [arm.name for arm in chosen]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"arms need different names: {', '.join(names) or 'none is given'} (models too)")
    for number in finetune:
        if not 2 <= number <= len(material.train.images):
            raise ConfigError(f"{number} real images to fine-tune on: give 2 to {len(material.train.images)}")
    origins = {arm.name: material.origin(arm) for arm in chosen}
    jobs = [(arm, seed) for arm in chosen for seed in range(seeds)]
    found: dict[tuple[str, int], list[R]] = {}
    spent: list[float] = []
    for place, (arm, seed) in enumerate(jobs):
        tuned = (0, *finetune) if arm.kind != "real" else (0,)
        used = replace(
            training, augment=tuple(kind for kind in arm.augmentations if kind in (*training.augment, *arm.augment))
        )
        files = {number: _file(folder, material, arm, number, seed, used, origins[arm.name]) for number in tuned}
        start = time.monotonic()
        kept = {n: estimates for n, file in files.items() if (estimates := _kept(file)) is not None}
        if len(kept) < len(files):
            kept = _trained(task, material, arm, seed, used, files, device)
            spent.append(time.monotonic() - start)
        for number, estimates in kept.items():
            found.setdefault((arm.name, number), []).append(task.measure(estimates, material.test, seed))
        left = (len(jobs) - place - 1) * (sum(spent) / len(spent) if spent else 0)
        tell(
            f"{place + 1} of {len(jobs)}: {arm.name}, seed {seed}: {task.tell(found[arm.name, 0][-1])}"
            + (f", about {left / 60:.0f} min left" if left else "")
        )
    rows = [
        ArmResult(arm, number, len(material.unrefined(arm).images), found[arm.name, number])
        for number in (0, *finetune)
        for arm in chosen
        if (arm.name, number) in found
    ]
    return rows, *group_images(len(material.test.images), material.test.persons)


def _trained(
    task: Task[L, T, R],
    material: Material[L],
    arm: Arm,
    seed: int,
    training: T,
    files: dict[int, Path | None],
    device: str,
) -> dict[int, Floats]:
    """Estimates for the test images by a network trained on the arm, and by its fine-tuned copies."""
    data, test = material.of(arm), material.test
    network = task.build(data, training, seed).to(device)
    task.train(network, data, training, seed)
    made: dict[int, Floats] = {}
    for number, file in files.items():
        tuned = network
        if number:
            some = material.train.part(np.random.default_rng(seed).permutation(len(material.train.images))[:number])
            gently = replace(
                training, steps=-(-training.steps // _TUNING), learning_rate=training.learning_rate / _TUNING
            )
            tuned = copy.deepcopy(network)
            task.train(tuned, some, gently, seed)
        made[number] = estimates = task.estimate(tuned, test)
        if file is not None:
            told = {"arm": _name(arm, number), "seed": seed, "estimates": estimates.tolist()}
            write_aside(file, json.dumps(told).encode())
    return made


def _name(arm: Arm, tuned: int) -> str:
    return f"{arm.name}, then {tuned} real" if tuned else arm.name


def _file(
    folder: Path | None, material: Material[L], arm: Arm, number: int, seed: int, training: T, origin: str
) -> Path | None:
    """Where a result is kept: its name holds all that it depends on, so that other settings never meet it."""
    if folder is None:
        return None
    depends = [__version__, origin, material.test.digest, material.train.digest if number else "", asdict(training)]
    key = hashlib.sha256(json.dumps([*depends, _TUNING, number, seed]).encode()).hexdigest()[:16]
    return folder / f"{re.sub(r'[^A-Za-z0-9+-]+', '-', _name(arm, number))}-seed{seed}-{key}.json"


def _kept(file: Path | None) -> Floats | None:
    if file is None or not file.is_file():
        return None
    try:
        return np.asarray(json.loads(file.read_text())["estimates"], np.float64)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SourceError(f"{file} cannot be read ({reason(error)}): delete it to train that network again") from error
