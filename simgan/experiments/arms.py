"""What networks are trained and tested on in an experiment: sources by their names become arms and a test set."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data import hold_out, load
from simgan.data.source import pick
from simgan.domains import DEFAULT
from simgan.domains.base import Size
from simgan.errors import ConfigError
from simgan.images.arrays import equalize
from simgan.refiner import Refiner

_NAME = re.compile(r"(?:(\d+)x-)?(synthetic|refined|real)((?:\+\w+)*)")
_SYNTHETIC, _TRAIN, _TEST = 0, 70_001, 70_002  # seeds: other persons where a simulator's are drawn
_HELD_OUT = 0.5
_POOL = 4  # times the limit: what a simulator gives of real images to train on


@dataclass(frozen=True)
class Arm:
    """What one network is trained on: `4x-refined+blur` is four times as many refined images, blurred in training."""

    name: str
    kind: str  # synthetic, refined or real
    times: int
    augment: tuple[str, ...]
    model: str | None = None  # which refines; None where nothing does

    augmentations: ClassVar[tuple[str, ...]] = ()
    """Those that an experiment knows, in the order in which they are applied."""

    @classmethod
    def parse(cls, name: str, models: Sequence[str]) -> list[Arm]:
        """Read an arm's name; one that is refined becomes an arm for every model."""
        match = _NAME.fullmatch(name)
        chosen = set(match[3].split("+")[1:]) if match else set()
        if not match or match[1] == "0" or not chosen <= set(cls.augmentations):
            raise ConfigError(
                f"there is no arm {name!r}: it is synthetic, refined or real, as in 4x-refined for four times as many "
                f"images, or synthetic+{'+'.join(cls.augmentations[-2:])} with augmentation "
                f"({', '.join(cls.augmentations)})"
            )
        augment = tuple(kind for kind in cls.augmentations if kind in chosen)
        times, kind = int(match[1] or 1), match[2]
        if kind != "refined":
            return [cls(name, kind, times, augment)]
        if not models:
            raise ConfigError(f"the arm {name} needs a model that refines: give one or more")
        alone = len(models) == 1
        return [cls(name if alone else f"{name} by {_short(m)}", kind, times, augment, m) for m in models]


@dataclass(frozen=True)
class Labelled:
    """Crops (N, H, W), and who they are of where that is known; subclasses add labels, arrays of N rows each."""

    images: NDArray[Any]
    persons: list[str] | None = field(default=None, kw_only=True)

    def part(self: L, chosen: NDArray[np.int64]) -> L:
        """Some of them by number, in that order."""
        persons = None if self.persons is None else [self.persons[i] for i in chosen]
        arrays = {name: values[chosen] for name, values in self._arrays().items()}
        return replace(self, **arrays, persons=persons)

    @property
    def digest(self) -> str:
        """Tells other images or labels apart."""
        told = hashlib.sha256()
        for values in self._arrays().values():
            told.update(np.ascontiguousarray(values).data)
        return told.hexdigest()

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "persons"}


L = TypeVar("L", bound=Labelled)


@dataclass
class Material(ABC, Generic[L]):
    """The sources of an experiment, read when they are first needed; subclasses say how labels are read.

    Test images are of persons that no arm is trained on: those of a simulator are drawn anew, by another seed than
    refiners are trained with; of a source that both `train_real` and `real` name, half of the persons (or blocks of
    file order where they are not known) are held out for the test; of another, the test's persons are left out.
    """

    synthetic: str
    real: str
    train_real: str | None = None
    test_persons: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    limit: int = 5000
    test_limit: int | None = 2000
    _kept: dict[object, L] = field(default_factory=dict, repr=False, kw_only=True)
    _refiners: dict[str, Refiner] = field(default_factory=dict, repr=False, kw_only=True)

    size: ClassVar[Size | None] = DEFAULT.size
    arm: ClassVar[type[Arm]] = Arm

    def __post_init__(self) -> None:
        if min(self.limit, self.test_limit or 2) < 2:
            raise ConfigError(f"limits of {self.limit} and {self.test_limit} images are too few: give at least 2")
        self._refiners = {name: Refiner.from_pretrained(name) for name in self.models}
        self._check_refiners(self._refiners)
        self._equalized = any(refiner.config.equalize for refiner in self._refiners.values())
        self._test, self._train = self._real_data()

    @abstractmethod
    def _read(self, dataset: Dataset, source: str) -> L:
        """Crops of a data set with their labels; `SourceError` where it has none."""

    def _wanted(self, data: L) -> L:
        """Those of the synthetic ones that are trained on: all of them."""
        return data

    def _check_refiners(self, refiners: dict[str, Refiner]) -> None:
        """Raise `ConfigError` where models cannot be compared on one test set."""
        equalized = {name: refiner.config.equalize for name, refiner in refiners.items()}
        if len(set(equalized.values())) > 1:
            told = ", ".join(f"{name} {'does' if does else 'does not'}" for name, does in equalized.items())
            raise ConfigError(f"models that equalize and that do not cannot be compared on one test set: {told}")

    @property
    def test(self) -> L:
        """The real images that every network is tested on."""
        return self._keep("test", lambda: self._as_seen(self._read(self._test, self.real)))

    @property
    def train(self) -> L:
        """Real images with labels, of other persons than the test's: for the ceiling, and to fine-tune on."""
        if self._train is None or self.train_real is None:
            raise ConfigError("real images to train on are asked for: name their source with --train-real")
        data, name = self._train, self.train_real
        return self._keep("train", lambda: self._as_seen(self._read(data, name)))

    def unrefined(self, arm: Arm) -> L:
        """What an arm is trained on, before a model refines it."""
        real = arm.kind == "real"
        if real:
            return self._keep((real, arm.times), lambda: self._real_part(arm))
        return self._keep((real, arm.times), lambda: self._as_seen(self._rendered(arm)))

    def of(self, arm: Arm) -> L:
        """What an arm is trained on; refining is put off until it is asked for."""
        if arm.model is None:
            return self.unrefined(arm)
        return self._keep((arm.model, arm.times), lambda: self._refined(arm))

    def origin(self, arm: Arm) -> str:
        """Tell apart what arms are trained on, without refining it."""
        told = self.unrefined(arm).digest
        if arm.model is None:
            return told
        refiner = self._refiners[arm.model]
        weights = hashlib.sha256(repr(refiner.config).encode())
        for values in refiner.state_dict().values():
            weights.update(values.numpy().tobytes())
        return told + weights.hexdigest()

    def _keep(self, key: object, read: Callable[[], L]) -> L:
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]

    def _rendered(self, arm: Arm) -> L:
        return self._keep(("rendered", arm.times), lambda: self._read_rendered(arm))

    def _read_rendered(self, arm: Arm) -> L:
        wanted = arm.times * self.limit
        whole = load(self.synthetic, size=self.size, limit=wanted, seed=_SYNTHETIC)
        if arm.times > 1 and len(whole) < wanted:
            raise ConfigError(
                f"{self.synthetic} has {len(whole)} images, too few for {arm.name} ({arm.times} × {self.limit}): "
                f"give a limit of at most {len(whole) // arm.times}"
            )
        return self._wanted(self._read(whole, self.synthetic))

    def _refined(self, arm: Arm) -> L:
        data = self._rendered(arm)  # a refiner equalizes by itself
        return replace(data, images=np.stack(list(self._refiners[str(arm.model)].refine(iter(data.images)))))

    def _real_part(self, arm: Arm) -> L:
        wanted = arm.times * self.limit
        if arm.times > 1 and len(self.train.images) < wanted:
            raise ConfigError(f"{self.train_real} has {len(self.train.images)} images, too few for {arm.name}")
        return self.train.part(pick(len(self.train.images), wanted, 0))

    def _real_data(self) -> tuple[Dataset, Dataset | None]:
        """The test's data set, and the one of other persons to train on."""
        whole = self._load(self.real, self.test_limit, _TEST)
        test = _of_persons(whole, self.test_persons, self.real) if self.test_persons else whole
        train = None
        if self.train_real is not None:
            if _is_simulated(self.train_real):
                train = self._load(self.train_real, _POOL * self.limit, _TRAIN)
            elif self.train_real == self.real and not self.test_persons:
                train, test = hold_out(whole, _HELD_OUT, seed=0)
            else:
                train = _without_persons(self._load(self.train_real, None, _TRAIN), test, self.train_real)
        return test.select(pick(len(test), self.test_limit, 0)), train

    def _load(self, source: str, limit: int | None, seed: int) -> Dataset:
        limit = limit if _is_simulated(source) else None  # persons are chosen first
        return load(source, size=self.size, limit=limit, seed=seed)

    def _as_seen(self, data: L) -> L:
        """Equalize where refiners do, so that all that networks see is alike."""
        if not self._equalized:
            return data
        return replace(data, images=np.stack([equalize(image) for image in data.images]))


def _is_simulated(source: str) -> bool:
    return source.partition(":")[0] in ("simulator", "camera")


def _of_persons(dataset: Dataset, persons: Sequence[str], source: str) -> Dataset:
    if "person" not in dataset.column_names:
        raise ConfigError(f"{source} does not tell persons apart: none can be chosen for the test")
    known = np.asarray(dataset["person"], dtype=str)
    if missing := sorted(set(persons) - set(known)):
        there = ", ".join(sorted(set(known))[:30])
        raise ConfigError(f"{source} has no person {', '.join(missing)}: there are {there}")
    return dataset.select(np.flatnonzero(np.isin(known, persons)))


def _without_persons(dataset: Dataset, test: Dataset, source: str) -> Dataset:
    if not all("person" in side.column_names for side in (dataset, test)):
        return dataset
    others = np.flatnonzero(~np.isin(np.asarray(dataset["person"], str), np.asarray(test["person"], str)))
    if len(others) < 2:
        raise ConfigError(f"{source} has no persons that are not in the test: name another source to train on")
    return dataset.select(others)


def persons_of(dataset: Dataset) -> list[str] | None:
    """The person of each row, None where they are not known."""
    return [str(name) for name in dataset["person"]] if "person" in dataset.column_names else None


def _short(model: str) -> str:
    """A model's name without the folders that lead there."""
    return Path(model).name or model
