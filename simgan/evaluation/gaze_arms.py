"""What gaze networks are trained and tested on in an experiment: sources by their names become arms and a test set."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data import Crops, hold_out, load
from simgan.data.source import pick
from simgan.errors import ConfigError, SourceError
from simgan.evaluation.gaze import AUGMENTATIONS, Augmentation, Images, check_crops
from simgan.images import equalize
from simgan.refiner import Refiner

Floats = NDArray[np.float64]

_NAME = re.compile(rf"(?:(\d+)x-)?(synthetic|refined|real)((?:\+(?:{'|'.join(AUGMENTATIONS)}))*)")
_SYNTHETIC, _TRAIN, _TEST = 0, 70_001, 70_002  # seeds: other persons where a simulator's are drawn
_HELD_OUT = 0.5
_POOL = 4  # times the limit: what a simulator gives of real images to train on


@dataclass(frozen=True)
class Arm:
    """What one network is trained on: `4x-refined+blur` is four times as many refined images, blurred in training."""

    name: str
    kind: str  # synthetic, refined or real
    times: int
    augment: tuple[Augmentation, ...]
    model: str | None = None  # which refines; None where nothing does

    @staticmethod
    def parse(name: str, models: Sequence[str]) -> list[Arm]:
        """Read an arm's name; one that is refined becomes an arm for every model."""
        match = _NAME.fullmatch(name)
        if not match or match[1] == "0":
            raise ConfigError(
                f"there is no arm {name!r}: it is synthetic, refined or real, as in 4x-refined for four times as many "
                f"images, or synthetic+blur+noise with augmentation ({', '.join(AUGMENTATIONS)})"
            )
        chosen = set(match[3].split("+"))
        augment = tuple(kind for kind in AUGMENTATIONS if kind in chosen)
        times, kind = int(match[1] or 1), match[2]
        if kind != "refined":
            return [Arm(name, kind, times, augment)]
        if not models:
            raise ConfigError(f"the arm {name} needs a model that refines: give one or more")
        alone = len(models) == 1
        return [Arm(name if alone else f"{name} by {_short(m)}", kind, times, augment, m) for m in models]


@dataclass(frozen=True)
class Labelled:
    """Crops uint8 (N, H, W) with pitch and yaw (N, 2) in radians, and who they are of where that is known."""

    images: Images
    angles: Floats
    persons: list[str] | None = None

    def part(self, chosen: NDArray[np.int64]) -> Labelled:
        """Some of them by number, in that order."""
        persons = None if self.persons is None else [self.persons[i] for i in chosen]
        return Labelled(self.images[chosen], self.angles[chosen], persons)

    @property
    def digest(self) -> str:
        """Tells other images or labels apart."""
        return hashlib.sha256(self.images.tobytes() + self.angles.tobytes()).hexdigest()


@dataclass
class Material:
    """The sources of an experiment, read when they are first needed.

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
    pitch: float = 90.0
    yaw: float = 90.0
    _kept: dict[object, Labelled] = field(default_factory=dict, repr=False)
    _refiners: dict[str, Refiner] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if min(self.limit, self.test_limit or 2) < 2:
            raise ConfigError(f"limits of {self.limit} and {self.test_limit} images are too few: give at least 2")
        self._refiners = {name: Refiner.from_pretrained(name) for name in self.models}
        equalized = {name: refiner.config.equalize for name, refiner in self._refiners.items()}
        if len(set(equalized.values())) > 1:
            told = ", ".join(f"{name} {'does' if does else 'does not'}" for name, does in equalized.items())
            raise ConfigError(f"models that equalize and that do not cannot be compared on one test set: {told}")
        self._equalized = any(equalized.values())
        self._test, self._train = self._real_data()

    @property
    def test(self) -> Labelled:
        """The real images that every network is tested on."""
        return self._keep("test", lambda: self._as_seen(self._read(self._test, self.real)))

    @property
    def train(self) -> Labelled:
        """Real images with labels, of other persons than the test's: for the ceiling, and to fine-tune on."""
        if self._train is None or self.train_real is None:
            raise ConfigError("real images to train on are asked for: name their source with --train-real")
        data, name = self._train, self.train_real
        return self._keep("train", lambda: self._as_seen(self._read(data, name)))

    def unrefined(self, arm: Arm) -> Labelled:
        """What an arm is trained on, before a model refines it."""
        real = arm.kind == "real"
        if real:
            return self._keep((real, arm.times), lambda: self._real_part(arm))
        return self._keep((real, arm.times), lambda: self._as_seen(self._rendered(arm)))

    def of(self, arm: Arm) -> Labelled:
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

    def _keep(self, key: object, read: Callable[[], Labelled]) -> Labelled:
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]

    def _rendered(self, arm: Arm) -> Labelled:
        return self._keep(("rendered", arm.times), lambda: self._read_rendered(arm))

    def _read_rendered(self, arm: Arm) -> Labelled:
        wanted = arm.times * self.limit
        whole = load(self.synthetic, limit=wanted, seed=_SYNTHETIC)
        if arm.times > 1 and len(whole) < wanted:
            raise ConfigError(
                f"{self.synthetic} has {len(whole)} images, too few for {arm.name} ({arm.times} × {self.limit}): "
                f"give a limit of at most {len(whole) // arm.times}"
            )
        data = self._read(whole, self.synthetic)
        within = np.flatnonzero((np.abs(np.degrees(data.angles)) <= [self.pitch, self.yaw]).all(1))
        if len(within) < 2:
            raise ConfigError(
                f"{self.synthetic} has no images within ±{self.pitch}° of pitch and ±{self.yaw}° of yaw: allow more"
            )
        return data.part(within)

    def _refined(self, arm: Arm) -> Labelled:
        data = self._rendered(arm)  # a refiner equalizes by itself
        refined: Images = np.stack(list(self._refiners[str(arm.model)].refine(iter(data.images))))
        return Labelled(refined, data.angles, data.persons)

    def _real_part(self, arm: Arm) -> Labelled:
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
        return load(source, limit=limit if _is_simulated(source) else None, seed=seed)  # persons are chosen first

    def _as_seen(self, data: Labelled) -> Labelled:
        """Equalize where refiners do, so that all that networks see is alike."""
        if not self._equalized:
            return data
        return Labelled(np.stack([equalize(image) for image in data.images]), data.angles, data.persons)

    def _read(self, dataset: Dataset, source: str) -> Labelled:
        if not {"pitch", "yaw"} <= set(dataset.column_names):
            raise SourceError(
                f"{source} has no gaze labels (pitch and yaw): it can neither train nor test a gaze network"
            )
        images: Images = Crops(dataset)[:]
        angles = np.stack([np.asarray(dataset["pitch"], float), np.asarray(dataset["yaw"], float)], 1)
        check_crops(source, images, angles)
        persons = [str(name) for name in dataset["person"]] if "person" in dataset.column_names else None
        return Labelled(images, angles, persons)


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


def _short(model: str) -> str:
    """A model's name without the folders that lead there."""
    return Path(model).name or model
