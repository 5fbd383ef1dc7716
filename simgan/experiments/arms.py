"""Arms: what the networks of an experiment are trained on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simgan.errors import ConfigError

_NAME = re.compile(r"(?:(\d+)x-)?(synthetic|refined|real)((?:\+\w+)*)")


@dataclass(frozen=True)
class Arm:
    """What one network is trained on: `4x-refined+blur` is four times as many refined images, blurred in training."""

    name: str
    kind: str  # synthetic, refined or real
    times: int = 1
    augment: tuple[str, ...] = ()
    model: str | None = None  # that refines; None where nothing does

    @property
    def is_plain(self) -> bool:
        """Whether it has the usual number of images and no augmentation of its own."""
        return self.times == 1 and not self.augment

    def is_rival_of(self, other: Arm) -> bool:
        """Whether it is unrefined, or as many images refined by another model."""
        return self.kind != "refined" or (self.model != other.model and self.times == other.times)


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
        return [Arm(name, kind, times, augment)]
    if not models:
        raise ConfigError(f"the arm {name} needs a model that refines: give one or more")
    alone = len(models) == 1
    return [Arm(name if alone else f"{name} by {Path(m).name or m}", kind, times, augment, m) for m in models]
