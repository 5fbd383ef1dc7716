"""Arms: what the networks of an experiment are trained on, and what they reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simgan.errors import ConfigError
from simgan.experiments.base import Floats, Measured

_NAME = re.compile(r"(?:(\d+)x-)?(synthetic|refined|real)((?:\+\w+)*)")


@dataclass(frozen=True)
class Arm:
    """What one network is trained on: `4x-refined+blur` is four times as many refined images, blurred in training."""

    kind: str  # synthetic, refined or real
    times: int = 1
    augment: tuple[str, ...] = ()
    model: str | None = None  # that refines; None where nothing does
    name: str = ""

    def tuned(self, number: int) -> str:
        """Return what its networks were trained on, where they were then fine-tuned on so many real images (or 0)."""
        return f"{self.name}, then {number} real" if number else self.name


@dataclass(frozen=True)
class ArmResult:
    """One arm, fine-tuned on so many real images or on none, over all seeds."""

    arm: Arm
    tuned: int
    images: int
    results: list[Measured]

    @property
    def name(self) -> str:
        """What its networks were trained on."""
        return self.arm.tuned(self.tuned)

    @property
    def errors(self) -> Floats:
        """Errors of every seed: (seeds, images, ...)."""
        return np.stack([result.errors for result in self.results])

    @property
    def columns(self) -> dict[str, Floats]:
        """The columns but those of medians: (seeds, images)."""
        return {key: np.stack([result.columns[key] for result in self.results]) for key in self.results[0].columns}


def pairs(arms: Sequence[ArmResult]) -> Iterator[tuple[ArmResult, ArmResult]]:
    """Compare each arm with the first, and the first model's arms with their rivals; both are fine-tuned alike.

    Rivals of an arm are those that are unrefined, and those of as many images refined by another model.
    """
    for number in {row.tuned: None for row in arms}:
        first, *others = [row for row in arms if row.tuned == number]
        yield from ((row, first) for row in others)
        refined = [row for row in others if row.arm.kind == "refined"]
        for row in refined:
            if row.arm.model == refined[0].arm.model:
                for rival in others:
                    same_count = rival.arm.times == row.arm.times and rival.arm.model != row.arm.model
                    if rival.arm.kind != "refined" or same_count:
                        yield row, rival


def parse_arms(names: Sequence[str], models: Sequence[str], augmentations: Sequence[str]) -> list[Arm]:
    """Return the arms of these names; a refined one becomes an arm for each model.

    `ConfigError` for a name that is none, for no name, or for two alike.
    """
    arms = [arm for name in names for arm in _parse(name, models, augmentations)]
    known = [arm.name for arm in arms]
    if not known or len(set(known)) < len(known):
        raise ConfigError(f"arms need different names: {', '.join(known) or 'none is given'} (models too)")
    return arms


def _parse(name: str, models: Sequence[str], augmentations: Sequence[str]) -> list[Arm]:
    match = _NAME.fullmatch(name)
    chosen = set(match[3].split("+")[1:]) if match else set()
    if not match or match[1] == "0" or not chosen <= set(augmentations):
        raise ConfigError(
            f"there is no arm {name!r}: it is synthetic, refined or real, as in 4x-refined for four times as many "
            f"images, or synthetic+{'+'.join(augmentations[-2:])} with augmentation ({', '.join(augmentations)})"
        )
    augment = tuple(kind for kind in augmentations if kind in chosen)
    times, kind = int(match[1] or 1), match[2]
    if kind != "refined":
        return [Arm(kind, times, augment, name=name)]
    if not models:
        raise ConfigError(f"the arm {name} needs a model that refines: give one or more")
    alone = len(models) == 1
    return [Arm(kind, times, augment, m, name if alone else f"{name} by {Path(m).name or m}") for m in models]
