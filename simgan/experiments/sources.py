"""The sources of an experiment: training images of each arm, and test images of persons that no arm is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from datasets import Dataset

from simgan.data import hold_out, load
from simgan.data.source import pick
from simgan.domains import find
from simgan.errors import ConfigError
from simgan.experiments.arms import Arm
from simgan.experiments.task import LabelledImages, Task
from simgan.images.arrays import equalize_images
from simgan.refiner import Refiner
from simgan.simulators import SIMULATORS

_SYNTHETIC, _TRAIN, _TEST = 0, 70_001, 70_002  # seeds: other persons where a simulator's are drawn
_HELD_OUT = 0.5
_POOL = 4  # times the limit: real images that a simulator renders for training


@dataclass
class Sources:
    """The sources of an experiment, read when they are first needed.

    Test images are of persons that no arm is trained on. Those of a simulator are drawn with another seed than refiners
    are trained with. Of a source that is both `train_real` and `real`, half of the persons (or blocks of file order
    where they are not known) are held out for the test; of another source, the persons of the test are left out.
    """

    task: Task
    synthetic: str
    real: str
    train_real: str | None = None
    test_persons: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    limit: int = 5000
    test_limit: int | None = 2000
    _kept: dict[object, LabelledImages] = field(default_factory=dict, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if min(self.limit, self.test_limit or 2) < 2:
            raise ConfigError(f"limits of {self.limit} and {self.test_limit} images are too few: give at least 2")
        self._size = find(self.task.domain).size
        self._refiners = {name: Refiner.from_pretrained(name) for name in self.models}
        self._equalized = self._check_refiners()
        self._test, self._train = self._read_real()

    @property
    def test(self) -> LabelledImages:
        """The real images that every network is tested on."""
        return self._keep("test", lambda: self._as_refined(self.task.read(self._test, self.real)))

    @property
    def train(self) -> LabelledImages:
        """Real images with labels, of other persons than the test's: for the ceiling, and to fine-tune on."""
        data, name = self._train, self.train_real
        if data is None or name is None:
            raise ConfigError("real images to train on are asked for: name their source with --train-real")
        return self._keep("train", lambda: self._as_refined(self.task.read(data, name)))

    def of(self, arm: Arm) -> LabelledImages:
        """Return what an arm is trained on; images are refined when they are first asked for."""
        if arm.model is None:
            return self.unrefined(arm)
        return self._keep((arm.model, arm.times), lambda: self._refined(arm))

    def unrefined(self, arm: Arm) -> LabelledImages:
        """Return what an arm is trained on, before a model refines it."""
        if arm.kind == "real":
            return self._keep(("real", arm.times), lambda: self._real_part(arm))
        return self._keep(("synthetic", arm.times), lambda: self._as_refined(self._rendered(arm)))

    def origin(self, arm: Arm) -> str:
        """Return a hash of what an arm is trained on, without refining it."""
        digest = self.unrefined(arm).digest
        if arm.model is None:
            return digest
        refiner = self._refiners[arm.model]
        weights = hashlib.sha256(repr(refiner.config).encode())
        for values in refiner.state_dict().values():
            weights.update(values.numpy().tobytes())
        return digest + weights.hexdigest()

    def _check_refiners(self) -> bool:
        """Return whether the refiners equalize; `ConfigError` where they cannot be compared on one test set."""
        domain = find(self.task.domain)
        for name, refiner in self._refiners.items():
            if find(refiner.config.domain).codec != domain.codec:
                raise ConfigError(
                    f"{name} refines {refiner.config.domain}, not {domain.name}: give a model of {domain.words.images}"
                )
        equalized = {name: refiner.config.equalize for name, refiner in self._refiners.items()}
        if len(set(equalized.values())) > 1:
            each = ", ".join(f"{name} {'does' if does else 'does not'}" for name, does in equalized.items())
            raise ConfigError(f"models that equalize and that do not cannot be compared on one test set: {each}")
        return any(equalized.values())

    def _keep(self, key: object, read: Callable[[], LabelledImages]) -> LabelledImages:
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]

    def _rendered(self, arm: Arm) -> LabelledImages:
        return self._keep(("rendered", arm.times), lambda: self._read_rendered(arm))

    def _read_rendered(self, arm: Arm) -> LabelledImages:
        wanted = arm.times * self.limit
        whole = load(self.synthetic, size=self._size, limit=wanted, seed=_SYNTHETIC)
        if arm.times > 1 and len(whole) < wanted:
            raise ConfigError(
                f"{self.synthetic} has {len(whole)} images, too few for {arm.name} ({arm.times} × {self.limit}): "
                f"give a limit of at most {len(whole) // arm.times}"
            )
        return self.task.select(self.task.read(whole, self.synthetic), self.synthetic)

    def _refined(self, arm: Arm) -> LabelledImages:
        data = self._rendered(arm)  # not equalized: a refiner equalizes by itself
        return data.with_images(np.stack(list(self._refiners[str(arm.model)].refine(iter(data.images)))))

    def _real_part(self, arm: Arm) -> LabelledImages:
        wanted = arm.times * self.limit
        if arm.times > 1 and len(self.train.images) < wanted:
            raise ConfigError(f"{self.train_real} has {len(self.train.images)} images, too few for {arm.name}")
        return self.train.part(pick(len(self.train.images), wanted, 0))

    def _read_real(self) -> tuple[Dataset, Dataset | None]:
        """Return the data set of the test, and the one of other persons to train on."""
        whole = self._load(self.real, self.test_limit, _TEST)
        test = _of_persons(whole, self.test_persons, self.real) if self.test_persons else whole
        train = None
        if self.train_real in SIMULATORS:
            train = self._load(self.train_real, _POOL * self.limit, _TRAIN)
        elif self.train_real == self.real and not self.test_persons:
            train, test = hold_out(whole, _HELD_OUT, seed=0)
        elif self.train_real is not None:
            train = _without_persons(self._load(self.train_real, None, _TRAIN), test, self.train_real)
        return test.select(pick(len(test), self.test_limit, 0)), train

    def _load(self, source: str, limit: int | None, seed: int) -> Dataset:
        limit = limit if source in SIMULATORS else None  # persons are chosen first
        return load(source, size=self._size, limit=limit, seed=seed)

    def _as_refined(self, data: LabelledImages) -> LabelledImages:
        """Equalize images where the refiners do, so that all networks see images of one kind."""
        return data.with_images(equalize_images(data.images)) if self._equalized else data


def persons_of(dataset: Dataset) -> list[str] | None:
    """Return the person of each row, None where they are not known."""
    return [str(name) for name in dataset["person"]] if "person" in dataset.column_names else None


def _of_persons(dataset: Dataset, persons: Sequence[str], source: str) -> Dataset:
    known = persons_of(dataset)
    if known is None:
        raise ConfigError(f"{source} does not name its persons: none can be chosen for the test")
    if missing := sorted(set(persons) - set(known)):
        there = ", ".join(sorted(set(known))[:30])
        raise ConfigError(f"{source} has no person {', '.join(missing)}: there are {there}")
    return dataset.select(np.flatnonzero(np.isin(known, persons)))


def _without_persons(dataset: Dataset, test: Dataset, source: str) -> Dataset:
    known, of_test = persons_of(dataset), persons_of(test)
    if known is None or of_test is None:
        return dataset
    others = np.flatnonzero(~np.isin(known, of_test))
    if len(others) < 2:
        raise ConfigError(f"{source} has no persons that are not in the test: name another source to train on")
    return dataset.select(others)
