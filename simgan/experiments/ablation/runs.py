"""The runs of an ablation: the recipe trained without one of its ingredients, or with another, over seeds.

Every run is a process of `train_accelerate.py`, as a user starts it. The name of its folder contains a hash of all its
settings, so that a finished run is never trained again and an interrupted one is resumed. A run that ends with a
diagnosis is a result.

Same budget: every variant takes as many updates of both networks as the recipe, warm-ups included. One with more
updates a step (K_g = 50) therefore takes fewer steps. λ is the preset's and is not steered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import simgan
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.files import write_json
from simgan.runtime import count_cores, has_fast_bfloat16
from simgan.training.checkpoints import FOLDER
from simgan.training.config import TrainingConfig, to_command_line
from simgan.training.config import preset as preset_of

SCRIPT = Path(simgan.__file__).parents[1] / "train_accelerate.py"  # beside the package, installed or not
BASELINE = "recipe"
_ABOUT_THE_FOLDER = ("output", "resume", "mixed_precision")  # settings that make no other run
LOG, RESULT = "train.log", "result.json"  # in the folder of a run: what its process said, and what came of it
_PAUSE = 0.1  # seconds between two looks at the processes


@dataclass(frozen=True)
class Variant:
    """The recipe with other settings, or with λ times a factor."""

    name: str
    why: str
    changes: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0

    def differs_from(self, recipe: TrainingConfig) -> bool:
        """Whether a preset is not this variant already."""
        return self.factor != 1 or any(getattr(recipe, name) != value for name, value in self.changes.items())

    def settings(self, recipe: TrainingConfig) -> TrainingConfig:
        """Change the recipe within its budget; `ConfigError` where that leaves no step of Algorithm 1."""
        config = replace(recipe, **self.changes, regularization_weight=self.factor * recipe.regularization_weight)
        step = config.refiner_updates + config.discriminator_updates
        warm_up = updates(config) - config.steps * step
        steps = round((updates(recipe) - warm_up) / step)
        if steps < 1:
            raise ConfigError(
                f"{updates(recipe)} updates leave no step to the variant {self.name!r}, of {warm_up} to warm up and "
                f"{step} a step: give more --steps, or other --variants"
            )
        return replace(config, steps=steps)


VARIANTS = (
    Variant(BASELINE, "the preset, λ not steered"),
    Variant(
        "no history",
        "the discriminator sees the newest refined images only; the paper: artifacts appear and come back (2.3)",
        {"history_size": 0},
    ),
    Variant(
        "global loss",
        "one decision an image, not one a patch; the paper: rough edges, noise added (2.2)",
        {"scope": "global"},
    ),
    Variant("no self-regularization", "λ = 0: nothing keeps the labels (eq. 4)", factor=0),
    Variant("λ × 0.25", "a weaker self-regularization", factor=0.25),
    Variant("λ × 0.5", "a weaker self-regularization", factor=0.5),
    Variant("λ × 2", "a stronger self-regularization", factor=2),
    Variant("λ × 4", "a stronger self-regularization", factor=4),
    Variant("λ × 16", "a much stronger self-regularization", factor=16),
    Variant(
        "ψ identity",
        "self-regularization on the pixels, as in the paper's first experiment (eq. 4)",
        {"transform": "identity"},
    ),
    Variant("ψ gradients", "self-regularization on image derivatives (2.1)", {"transform": "gradients"}),
    Variant("no preparation", "the network has to do all, as in the paper", {"preparation": False}),
    Variant(
        "no label weight", "the self-regularization weighs all pixels alike, as in the paper", {"label_weight": 0.0}
    ),
    Variant("K_g = 1", "one update of the refiner for each of the discriminator", {"refiner_updates": 1}),
    Variant("K_g = 50", "the later revision of the paper, so fewer steps", {"refiner_updates": 50}),
    Variant("no augmentation of D", "the discriminator sees images as they are, as in the paper", {"augment": ()}),
    Variant("no EMA", "the refiner's last weights, not their moving average, as in the paper", {"ema_decay": 0.0}),
    Variant("refiner warm-up", "200 updates on the self-regularization first (Algorithm 1)", {"refiner_warm_up": 200}),
    Variant("no discriminator warm-up", "both networks learn from the first step", {"discriminator_warm_up": 0}),
)


@dataclass(frozen=True)
class PlannedRun:
    """One variant with one seed, and where it is trained."""

    variant: Variant
    config: TrainingConfig

    @property
    def checkpoint(self) -> Path:
        """The checkpoint at the end of the budget."""
        return self.config.output / FOLDER / f"step-{self.config.steps:06d}"

    def __str__(self) -> str:
        return f"{self.variant.name}, seed {self.config.seed}"


def updates(config: TrainingConfig) -> int:
    """Count the updates of both networks that a run takes, warm-ups included."""
    step = config.refiner_updates + config.discriminator_updates
    return config.refiner_warm_up + config.discriminator_warm_up + config.steps * step


def recipe_of(preset: str, *, steps: int, **settings: Any) -> TrainingConfig:
    """Return the baseline of an ablation: a preset with λ not steered; `ConfigError` where settings do not fit."""
    return replace(preset_of(preset), steps=steps, steer=False, trackers=(), keep_checkpoints=1, **settings)


def plan(recipe: TrainingConfig, folder: Path, names: Sequence[str] = (), *, seeds: int = 2) -> list[PlannedRun]:
    """Return the runs of an ablation, seed by seed; without names all variants that differ from the recipe.

    Names may be typed plainly ("lambda x 4", "no-history"). The recipe is always included, for comparison.
    `ConfigError` for a variant that does not exist, that changes nothing, or for which the budget is too small.
    """
    if seeds < 1:
        raise ConfigError(f"{seeds} runs of a variant measure nothing: give at least 1 seed")
    known = {_plain(variant.name): variant for variant in VARIANTS}
    for name in names:
        variant = known.get(_plain(name))
        if variant is None:
            there = ", ".join(variant.name for variant in VARIANTS)
            raise ConfigError(f"there is no variant {name!r}: choose one of {there}")
        if variant.name != BASELINE and not variant.differs_from(recipe):
            raise ConfigError(f"variant {variant.name!r} changes nothing of preset {recipe.preset!r}: leave it out")
    wanted = [known[_plain(name)] for name in names] or [v for v in VARIANTS if v.differs_from(recipe)]
    chosen = [(v, v.settings(recipe)) for v in VARIANTS if v in wanted or v.name == BASELINE]
    return [
        PlannedRun(variant, replace(config, seed=seed, output=_folder(folder, variant, replace(config, seed=seed))))
        for seed in range(seeds)
        for variant, config in chosen
    ]


def _plain(name: str) -> str:
    letters = name.lower().replace("λ", "lambda").replace("ψ", "psi").replace("×", "x")
    return re.sub(r"[^a-z0-9.]+", "-", letters).strip("-")


def _folder(folder: Path, variant: Variant, config: TrainingConfig) -> Path:
    settings = {name: value for name, value in asdict(config).items() if name not in _ABOUT_THE_FOLDER}
    depends = json.dumps([simgan.__version__, settings], default=str)
    key = hashlib.sha256(depends.encode()).hexdigest()[:16]
    return folder / f"{_plain(variant.name)}-seed{config.seed}-{key}"


def train_all(
    runs: Sequence[PlannedRun], unseen: Unseen, *, jobs: int | None = None, report: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """Train and measure every run, `jobs` at a time (the number of cores), and return their results in order.

    A result has `failed`, None or the sentence with which a run ended by itself, and if None the figures of
    `Unseen.measure`. `report` gets a line for each run. Ctrl-C, SIGTERM and every error stop all processes, which write
    their checkpoints; the first two raise `KeyboardInterrupt`. Networks run on the device that Accelerate chooses.
    """
    jobs = min(count_cores() if jobs is None else jobs, len(runs))
    if jobs < 1:
        raise ConfigError(f"{jobs} runs at a time train nothing: give at least 1 job")
    precision, threads = _precision(runs), max(1, count_cores() // jobs)
    results = {str(run): result for run in runs if (result := _finished(run, unseen)) is not None}
    if results:
        report(f"{len(results)} of {len(runs)} runs were finished before")
    waiting = [run for run in runs if str(run) not in results]
    running: list[tuple[PlannedRun, subprocess.Popen[bytes]]] = []
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append((waiting[0], _start(waiting.pop(0), precision, threads)))
            for run, process in [pair for pair in running if pair[1].poll() is not None]:
                running.remove((run, process))
                results[str(run)] = result = _finish(run, process.returncode, unseen)
                report(f"{len(results)} of {len(runs)}: {run}: {result['failed'] or unseen.summary(result)}")
            time.sleep(_PAUSE)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()
        signal.signal(signal.SIGTERM, before)
    return [results[str(run)] for run in runs]


def _precision(runs: Sequence[PlannedRun]) -> str:
    """Return one precision for all runs: that of earlier ones, else the fastest, measured before any run starts."""
    for run in runs:
        file = run.config.output / "training.json"
        if file.is_file():
            return str(json.loads(file.read_text())["mixed_precision"])
    return "bf16" if has_fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "no"


def _start(run: PlannedRun, precision: str, threads: int) -> subprocess.Popen[bytes]:
    resume = any((run.config.output / FOLDER).glob("step-*"))
    config = replace(run.config, resume=resume, mixed_precision=precision)
    # The second variable is what `accelerate launch` sets: with it a run ends with the process that started it.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ACCELERATE_MIXED_PRECISION": "no"}
    command = [sys.executable, str(SCRIPT), *to_command_line(config)]
    try:
        run.config.output.mkdir(parents=True, exist_ok=True)
        with (run.config.output / LOG).open("ab") as log:
            return subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
    except OSError as error:
        raise SourceError(f"{run.config.output} cannot be written ({reason(error)})") from error


def _finish(run: PlannedRun, status: int, unseen: Unseen) -> dict[str, Any]:
    """Measure what a process left, and keep it; a run that ended without a sentence of its own is tried again later."""
    result: dict[str, Any] = {"variant": run.variant.name, "seed": run.config.seed, "failed": None}
    if status == 0 and run.checkpoint.is_dir():
        result |= unseen.measure(run.checkpoint)
    else:
        lines = [
            line
            for line in (run.config.output / LOG).read_text(errors="replace").splitlines()
            if line.startswith("error: ")
        ]
        if status != 1 or not lines:
            how = "was stopped" if status == 0 else f"ended with status {status}"
            return result | {"failed": f"{how}; see {LOG} in {run.config.output.name}"}
        result["failed"] = lines[-1].removeprefix("error: ")
    write_json(run.config.output / RESULT, result)
    return result


def _finished(run: PlannedRun, unseen: Unseen) -> dict[str, Any] | None:
    if not (run.config.output / RESULT).is_file():
        return _finish(run, 0, unseen) if run.checkpoint.is_dir() else None
    try:
        return dict(json.loads((run.config.output / RESULT).read_text()))
    except (ValueError, OSError) as error:
        raise SourceError(
            f"{run.config.output / RESULT} cannot be read ({reason(error)}): delete it to measure again"
        ) from error
