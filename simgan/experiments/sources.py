"""Arms, which are what networks are trained on, and their sources; test images are of persons of no arm."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from datasets import Dataset

from simgan.data import Crops, hold_out, load
from simgan.data.alignment import Alignment, align, mean_of
from simgan.data.source import pick
from simgan.domains import IMAGES, find
from simgan.errors import ConfigError, ImageError
from simgan.experiments.base import Experiment, LabelledImages
from simgan.experiments.rivals import RIVALS
from simgan.images import codecs
from simgan.images.arrays import Array, equalize_images
from simgan.refiner import Refiner
from simgan.simulators import SIMULATORS

_SYNTHETIC, _TRAIN, _TEST, _UNLABELLED = 0, 70_001, 70_002, 70_003  # seeds: other persons where they are simulated
_NAME = re.compile(rf"(?:(\d+)x-)?(synthetic|refined|real|{'|'.join(RIVALS)})((?:\+\w+)*)")


@dataclass(frozen=True)
class Arm:
    """What one network is trained on: `4x-refined+blur` is four times as many refined images, blurred in training."""

    kind: str  # synthetic, refined, real, or a rival's name
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
        self._refiners = {name: Refiner.from_pretrained(name) for name in experiment.model}
        configs = [refiner.config for refiner in self._refiners.values()]
        domain = find(experiment.domain or next((config.domain for config in configs), IMAGES.name))
        codec = domain.codec if experiment.domain or not configs else configs[0].codec
        self._size, self._channels = experiment.size or domain.size, codecs.get(codec).channels
        self._equalized = any(config.equalize for config in configs)
        for name, config in zip(self._refiners, configs, strict=True):
            if config.codec != codec:
                raise ConfigError(f"{name} refines {config.domain}, not {domain.name} of {codec}: give another")
            if config.equalize != self._equalized:
                raise ConfigError(f"{name} does not equalize images, another model does: they need one test set")
        self._tests, self._train = self._read_real()
        self._rendered, self._refined, self._adapted = cache(self._render), cache(self._refine), cache(self._adapt)

    @cached_property
    def test(self) -> LabelledImages:
        """The real images that every network is tested on."""
        sets = [self.experiment.tested(self._read(dataset, name), name) for name, dataset in self._tests.items()]
        return self._as_refined(LabelledImages.joined(sets))

    @cached_property
    def train(self) -> LabelledImages:
        """Real images with labels, of other persons than the test's: for the ceiling, and to fine-tune on."""
        name = self.experiment.train_real
        if self._train is None or name is None:
            raise ConfigError("real images to train on are asked for: name their source with --train-real")
        return self._as_refined(self._read(self._train, name))

    def of(self, arm: Arm) -> LabelledImages:
        """Return what an arm is trained on; images are refined when they are first asked for."""
        if arm.kind == "real":
            return self.unrefined(arm)
        if arm.model:
            return self._refined(arm.model, arm.times)
        return self._as_refined(self._adapted(arm.kind, arm.times) if arm.kind in RIVALS else self.unrefined(arm))

    def unrefined(self, arm: Arm) -> LabelledImages:
        """Return the images of an arm before a model refines or equalizes them."""
        if arm.kind != "real":
            return self._rendered(arm.times)
        count, wanted = len(self.train.images), arm.times * self.experiment.limit
        self._check_count(str(self.experiment.train_real), count, arm.times)
        return self.train.part(pick(count, wanted, 0))

    def alignments(self) -> dict[str, Alignment]:
        """Return what would make the mean of each further test set's crops that of `real`'s, found without labels."""
        own, *others = self._tests
        if not others:
            return {}
        means = {name: mean_of(read_images(data, name, self._channels)) for name, data in self._tests.items()}
        return {name: align(means[name], means[own]) for name in others}

    def check(self, arm: Arm) -> None:
        """Raise `ConfigError` where a network of the arm cannot be tested, or fine-tuned, as the experiment wants."""
        experiment, trained = self.experiment, self.unrefined(arm)
        name = str(experiment.train_real if arm.kind == "real" else experiment.synthetic)
        experiment.check(trained, self.test, (name, experiment.real))
        if experiment.finetune:
            experiment.check(trained, self.train, (name, str(experiment.train_real)))
        if experiment.finetune or arm.kind == "real":
            self._check_apart(self.train.images, str(experiment.train_real))
        if arm.kind in RIVALS:
            name = str(experiment.unlabelled or experiment.train_real)
            experiment.check_size(trained.images, self._unlabelled, (experiment.synthetic, name))
            self._check_apart(equalize_images(self._unlabelled) if self._equalized else self._unlabelled, name)

    def _check_apart(self, images: Array, source: str) -> None:
        seen = {image.tobytes() for image in images}
        count, shared = len(self.test.images), sum(image.tobytes() in seen for image in self.test.images)
        if shared > count / 20:  # a few of any set may look the same
            told = f"{source} holds {shared} of the {count} images of the test ({self.experiment.real})"
            raise ConfigError(f"{told}: give others, such as first-half:SOURCE, and second-half:SOURCE to test on")

    @cached_property
    def _unlabelled(self) -> Array:
        """Real images of which no label is read, and none of the test."""
        name = self.experiment.unlabelled
        if name is None and self._train is None:
            rivals = " and ".join(RIVALS)
            raise ConfigError(f"{rivals} need real images without labels: name their source with --unlabelled")
        data = self._train
        if name is not None:
            data = self._of_others(self._load_real(name, self.experiment.limit, _UNLABELLED), name, self._tests)
        images = read_images(data, name or str(self.experiment.train_real), self._channels)
        if images.dtype != np.uint8:
            raise ConfigError(f"{', '.join(RIVALS)} are for images of 8 bits, not of {images.dtype}: leave them out")
        return images

    def origin(self, arm: Arm) -> str:
        """Return a hash of what an arm is trained on, without refining it."""
        digest = self.unrefined(arm).digest
        if arm.kind in RIVALS:
            return digest + arm.kind + hashlib.sha256(self._unlabelled.tobytes()).hexdigest()
        if arm.model is None:
            return digest
        refiner = self._refiners[arm.model]
        weights = hashlib.sha256(repr(refiner.config).encode())
        for values in refiner.state_dict().values():
            weights.update(values.numpy().tobytes())
        return digest + weights.hexdigest()

    def _render(self, times: int) -> LabelledImages:
        source, wanted = self.experiment.synthetic, times * self.experiment.limit
        whole = self._load(source, wanted, _SYNTHETIC)
        self._check_count(source, len(whole), times)
        return self.experiment.select(self._read(whole, source))

    def _adapt(self, rival: str, times: int) -> LabelledImages:
        data = self._rendered(times)
        return replace(data, images=RIVALS[rival](data.images, self._unlabelled, np.random.default_rng(0)))

    def _read(self, dataset: Dataset, source: str) -> LabelledImages:
        return self.experiment.read(dataset, read_images(dataset, source, self._channels), source)

    def _check_count(self, source: str, count: int, times: int) -> None:
        if times > 1 and count < times * self.experiment.limit:
            raise ConfigError(
                f"{source} has {count} images, too few for {times} × {self.experiment.limit}: "
                f"give a limit of at most {count // times}"
            )

    def _refine(self, model: str, times: int) -> LabelledImages:
        data = self._rendered(times)  # not equalized: a refiner equalizes by itself
        return replace(data, images=np.stack(list(self._refiners[model].refine(iter(data.images)))))

    def _read_real(self) -> tuple[dict[str, Dataset], Dataset | None]:
        """Return the data sets of the test by their source, and the one of other persons to train on."""
        experiment, real, train_real = self.experiment, self.experiment.real, self.experiment.train_real
        tests = {name: self._load_real(name, experiment.test_limit, _TEST) for name in experiment.tests()}
        if experiment.test_persons:
            tests[real] = _of_persons(tests[real], experiment.test_persons, real)
        train = None
        if train_real in SIMULATORS:
            train = self._load_real(train_real, 4 * experiment.limit, _TRAIN)
        elif train_real == real and not experiment.test_persons:
            train, tests[real] = hold_out(tests[real], 0.5, seed=0)
        elif train_real is not None:
            train = self._of_others(self._load_real(train_real, None, _TRAIN), train_real, tests)
        chosen = {name: data.select(pick(len(data), experiment.test_limit, 0)) for name, data in tests.items()}
        return chosen, train

    @staticmethod
    def _of_others(dataset: Dataset, source: str, tests: Mapping[str, Dataset]) -> Dataset:
        """Return a data set without the persons of the tests, where they are known."""
        for test in tests.values():
            dataset = _without_persons(dataset, test, source)
        return dataset

    def _load_real(self, source: str, limit: int | None, seed: int) -> Dataset:
        return self._load(source, limit if source in SIMULATORS else None, seed)  # persons are chosen first

    def _load(self, source: str, limit: int | None, seed: int) -> Dataset:
        return load(source, size=self._size, channels=self._channels, limit=limit, seed=seed)

    def _as_refined(self, data: LabelledImages) -> LabelledImages:
        return replace(data, images=equalize_images(data.images)) if self._equalized else data


def read_images(dataset: Dataset, source: str, channels: int) -> Array:
    """Return the images of a data set, (N, H, W) or (N, H, W, 3); `ImageError` where they differ in size or bits."""
    crops = Crops(dataset, channels=channels)
    images = crops.each(np.arange(len(crops)))
    sizes = sorted({(image.shape[1], image.shape[0]) for image in images})
    if len(sizes) > 1:
        told = f"images of {len(sizes)} sizes, from {sizes[0][0]}×{sizes[0][1]} to {sizes[-1][0]}×{sizes[-1][1]} px"
        raise ImageError(f"{source} has {told}: give --size W H, to which all are resized")
    if len({image.dtype for image in images}) > 1:
        raise ImageError(f"{source} has images of 8 and of 16 bits: give those of one kind")
    return np.stack(images)


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
                f"there is no arm {name!r}: it is synthetic, refined, real, {' or '.join(RIVALS)}, as in 4x-refined "
                f"for four times as many images, or synthetic+{'+'.join(augmentations[-2:])} with augmentation "
                f"({', '.join(augmentations)})"
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
