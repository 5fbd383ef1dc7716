"""Arms, which are what networks are trained on, and their sources; test images are of persons of no arm."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset

from simgan.data import hold_out, load
from simgan.data.source import pick
from simgan.domains import find
from simgan.errors import ConfigError
from simgan.experiments.base import Experiment, LabelledImages
from simgan.images.arrays import equalize_images
from simgan.refiner import Refiner
from simgan.simulators import SIMULATORS

_SYNTHETIC, _TRAIN, _TEST = 0, 70_001, 70_002  # seeds: other persons where a simulator's are drawn
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


class Sources:
    """The sources of an experiment, read when they are first needed.

    Test images are of persons that no arm is trained on. Those of a simulator are drawn with another seed than refiners
    are trained with. Of a source that is both `train_real` and `real`, half of the persons (or blocks of file order
    where they are not known) are held out for the test; of another source, the persons of the test are left out.
    Images are equalized where the refiners do so, so that all networks see images of one kind.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._domain = find(experiment.domain)
        self._refiners = {name: Refiner.from_pretrained(name) for name in experiment.model}
        self._equalized = any(refiner.config.equalize for refiner in self._refiners.values())
        for name, refiner in self._refiners.items():
            if find(refiner.config.domain).codec != self._domain.codec:
                raise ConfigError(f"{name} refines {refiner.config.domain}, not {self._domain.name}: give another")
            if refiner.config.equalize != self._equalized:
                raise ConfigError(f"{name} does not equalize images, another model does: they need one test set")
        self._test, self._train = self._read_real()
        self._rendered, self._refined = cache(self._render), cache(self._refine)

    @cached_property
    def test(self) -> LabelledImages:
        """The real images that every network is tested on."""
        return self._as_refined(self.experiment.read(self._test, self.experiment.real))

    @cached_property
    def train(self) -> LabelledImages:
        """Real images with labels, of other persons than the test's: for the ceiling, and to fine-tune on."""
        name = self.experiment.train_real
        if self._train is None or name is None:
            raise ConfigError("real images to train on are asked for: name their source with --train-real")
        return self._as_refined(self.experiment.read(self._train, name))

    def of(self, arm: Arm) -> LabelledImages:
        """Return what an arm is trained on; images are refined when they are first asked for."""
        if arm.kind == "real":
            return self.unrefined(arm)
        return self._refined(arm.model, arm.times) if arm.model else self._as_refined(self.unrefined(arm))

    def unrefined(self, arm: Arm) -> LabelledImages:
        """Return the images of an arm before a model refines or equalizes them."""
        if arm.kind != "real":
            return self._rendered(arm.times)
        count, wanted = len(self.train.images), arm.times * self.experiment.limit
        self._check_count(str(self.experiment.train_real), count, arm.times)
        return self.train.part(pick(count, wanted, 0))

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

    def _render(self, times: int) -> LabelledImages:
        source, wanted = self.experiment.synthetic, times * self.experiment.limit
        whole = load(source, size=self._domain.size, limit=wanted, seed=_SYNTHETIC)
        self._check_count(source, len(whole), times)
        return self.experiment.select(self.experiment.read(whole, source))

    def _check_count(self, source: str, count: int, times: int) -> None:
        if times > 1 and count < times * self.experiment.limit:
            raise ConfigError(
                f"{source} has {count} images, too few for {times} × {self.experiment.limit}: "
                f"give a limit of at most {count // times}"
            )

    def _refine(self, model: str, times: int) -> LabelledImages:
        data = self._rendered(times)  # not equalized: a refiner equalizes by itself
        return replace(data, images=np.stack(list(self._refiners[model].refine(iter(data.images)))))

    def _read_real(self) -> tuple[Dataset, Dataset | None]:
        """Return the data set of the test, and the one of other persons to train on."""
        real, train_real, persons = self.experiment.real, self.experiment.train_real, self.experiment.test_persons
        whole = self._load(real, self.experiment.test_limit, _TEST)
        test = _of_persons(whole, persons, real) if persons else whole
        train = None
        if train_real in SIMULATORS:
            train = self._load(train_real, 4 * self.experiment.limit, _TRAIN)
        elif train_real == real and not persons:
            train, test = hold_out(whole, 0.5, seed=0)
        elif train_real is not None:
            train = _without_persons(self._load(train_real, None, _TRAIN), test, train_real)
        return test.select(pick(len(test), self.experiment.test_limit, 0)), train

    def _load(self, source: str, limit: int | None, seed: int) -> Dataset:
        limit = limit if source in SIMULATORS else None  # persons are chosen first
        return load(source, size=self._domain.size, limit=limit, seed=seed)

    def _as_refined(self, data: LabelledImages) -> LabelledImages:
        return replace(data, images=equalize_images(data.images)) if self._equalized else data


def persons_of(dataset: Dataset) -> list[str] | None:
    """Return the person of each row, None where they are not known."""
    return [str(name) for name in dataset["person"]] if "person" in dataset.column_names else None


def _of_persons(dataset: Dataset, persons: Sequence[str], source: str) -> Dataset:
    known = persons_of(dataset) or []
    if missing := sorted(set(persons) - set(known)):
        there = ", ".join(sorted(set(known))[:30]) or "none, as it does not name its persons"
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


def parse_arms(names: Sequence[str], models: Sequence[str], augmentations: Sequence[str]) -> list[Arm]:
    """Return the arms of these names, a refined one for each model; `ConfigError` for a wrong name or two alike."""
    arms = []
    for name in names:
        match = _NAME.fullmatch(name)
        chosen = set(match[3].split("+")[1:]) if match else set()
        if not match or match[1] == "0" or not chosen <= set(augmentations):
            raise ConfigError(
                f"there is no arm {name!r}: it is synthetic, refined or real, as in 4x-refined for four times as many "
                f"images, or synthetic+{'+'.join(augmentations[-2:])} with augmentation ({', '.join(augmentations)})"
            )
        augment = tuple(kind for kind in augmentations if kind in chosen)
        refiners: Sequence[str | None] = models if match[2] == "refined" else (None,)
        if not refiners:
            raise ConfigError(f"the arm {name} needs a model that refines: give one or more")
        for model in refiners:
            by = f" by {Path(model).name or model}" if model and len(models) > 1 else ""
            arms.append(Arm(match[2], int(match[1] or 1), augment, model, name + by))
    known = [arm.name for arm in arms]
    if not known or len(set(known)) < len(known):
        raise ConfigError(f"arms need different names: {', '.join(known) or 'none is given'} (models too)")
    return arms
