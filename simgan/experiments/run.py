"""Does refining help? The same network is trained on each arm's images and tested on the same real ones, over seeds.

Every (arm, seed) is written as soon as it is trained, so that an interrupted experiment goes on. Nothing is chosen on
the test images: no checkpoint, no early stopping, no setting.
"""

import copy
import hashlib
import json
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.base import Experiment, Measured
from simgan.experiments.files import write_aside, write_json
from simgan.experiments.sources import Arm, Sources, parse_arms
from simgan.experiments.tables import ArmResult, as_report, as_table, draw_curve
from simgan.images.arrays import Array

_TUNING = 4  # fine-tuning takes a quarter of the steps at a quarter of the rate


def evaluate(experiment: Experiment) -> None:
    """Run an experiment, write its report and its curve, and print its tables."""
    sources = Sources(experiment)
    arms = run_experiment(sources, progress=lambda line: print(line, file=sys.stderr, flush=True))
    report = as_report(sources, arms)
    if experiment.file is not None:
        write_aside(experiment.file.with_suffix(".png"), draw_curve(experiment, arms))
        write_json(experiment.file, report)
    print(as_table(report, experiment))


def run_experiment(sources: Sources, *, progress: Callable[[str], None] = lambda line: None) -> list[ArmResult]:
    """Train and test every arm with every seed, and a copy fine-tuned on real images if its arm is not real already.

    Finished results are taken from the output. `progress` is called with a line for each network. `ConfigError` for
    what cannot be trained, before anything is.
    """
    experiment, test = sources.experiment, sources.test
    chosen = parse_arms(experiment.chosen_arms(), experiment.model, experiment.augmentations)
    for number in experiment.finetune:
        if not 2 <= number <= len(sources.train.images):
            raise ConfigError(f"{number} real images to fine-tune on: give 2 to {len(sources.train.images)}")
    for arm in chosen:
        sources.check(arm)
    origins = {arm.name: sources.origin(arm) for arm in chosen}
    jobs = list(product(chosen, range(experiment.seeds)))
    found: dict[tuple[Arm, int], list[Measured]] = defaultdict(list)
    spent: list[float] = []
    progress(f"{len(chosen)} arms × {experiment.seeds} seeds: {len(jobs)} networks of {experiment.steps} steps each")
    for place, (arm, seed) in enumerate(jobs, 1):
        augment = tuple(kind for kind in experiment.augmentations if kind in (*experiment.augment, *arm.augment))
        used = replace(experiment, augment=augment)
        tuned = (0, *experiment.finetune) if arm.kind != "real" else (0,)
        files = {number: _file(sources, arm, number, seed, used, origins[arm.name]) for number in tuned}
        start = time.monotonic()
        kept = {number: _read(file) for number, file in files.items() if file and file.is_file()}
        if len(kept) < len(files):
            kept = _train(sources, arm, seed, used, files)
            spent.append(time.monotonic() - start)
        for number, estimates in kept.items():
            result = experiment.measure(estimates, test.labels)
            figures = result.figures | {"count": len(estimates), "seed": seed}
            found[arm, number].append(replace(result, figures=figures))
        left = (len(jobs) - place) * sum(spent) / max(len(spent), 1) / 60
        first = experiment.columns[0]
        reached = f"{first.factor * found[arm, 0][-1].figures[first.key]:.2f}{experiment.unit}"
        more = f", about {left:.0f} min left" if left else ""
        progress(f"{place} of {len(jobs)}: {arm.name}, seed {seed}: {experiment.axis} {reached}{more}")
    return [
        ArmResult(arm, number, len(sources.unrefined(arm).images), found[arm, number])
        for number in (0, *experiment.finetune)
        for arm in chosen
        if (arm, number) in found
    ]


def _train(
    sources: Sources, arm: Arm, seed: int, experiment: Experiment, files: dict[int, Path | None]
) -> dict[int, Array]:
    """Return the estimates for the test images by a network trained on the arm, and by its fine-tuned copies."""
    data = sources.of(arm)
    network = experiment.build(data, seed).to(experiment.device)
    experiment.train(network, data, seed)
    found: dict[int, Array] = {}
    for number, file in files.items():
        tuned = network
        if number:
            some = np.random.default_rng(seed).permutation(len(sources.train.images))[:number]
            steps, rate = -(-experiment.steps // _TUNING), experiment.learning_rate / _TUNING
            tuned = copy.deepcopy(network)
            replace(experiment, steps=steps, learning_rate=rate).train(tuned, sources.train.part(some), seed)
        found[number] = experiment.estimate(tuned, sources.test.images)
        if file is not None:
            kept = {"arm": arm.tuned(number), "seed": seed, "estimates": found[number].tolist()}
            write_aside(file, json.dumps(kept).encode())
    return found


def _file(sources: Sources, arm: Arm, number: int, seed: int, experiment: Experiment, origin: str) -> Path | None:
    """Return where a result is kept: its name holds all that it depends on."""
    if experiment.file is None:
        return None
    depends = [__version__, origin, sources.test.digest, sources.train.digest if number else "", experiment.training]
    key = hashlib.sha256(json.dumps([*depends, _TUNING, number, seed]).encode()).hexdigest()[:16]
    name = re.sub(r"[^A-Za-z0-9+-]+", "-", arm.tuned(number))
    return experiment.file.with_suffix("") / f"{name}-seed{seed}-{key}.json"


def _read(file: Path) -> Array:
    try:
        return np.asarray(json.loads(file.read_text(encoding="utf-8"))["estimates"])
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise SourceError(f"{file} cannot be read ({reason(error)}): delete it to train that network again") from error
