"""The runs of an ablation: the recipe trained without one of its ingredients, or with another, over seeds.

Every run is a process of `train_accelerate.py`, as a user starts it, in a folder named by a hash of its settings: a
finished run is never trained again, an interrupted one is resumed, and one that ends with a diagnosis is a result.
Every variant takes as many updates of both networks as the recipe, warm-ups included, so one with more updates a step
(K_g = 50) takes fewer steps. λ is the preset's and is not steered.
"""

import hashlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import simgan
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.files import reading, write_json
from simgan.runtime import count_cores, has_fast_bfloat16
from simgan.training.checkpoints import FOLDER
from simgan.training.config import TrainingConfig, to_command_line
from simgan.training.config import preset as preset_of

SCRIPT = Path(simgan.__file__).parents[1] / "train_accelerate.py"  # beside the package, installed or not
BASELINE = "recipe"
_ABOUT_THE_FOLDER = ("output", "resume", "mixed_precision")  # settings that make no other run
LOG, RESULT = "train.log", "result.json"  # in the folder of a run: what its process said, and what came of it


@dataclass(frozen=True)
class Variant:
    """The recipe with other settings, or with λ times a factor."""

    name: str
    why: str
    changes: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0

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
    Variant("no history", "D sees the newest images only; the paper: artifacts come back (2.3)", {"history_size": 0}),
    Variant("history", "D sees images that were refined earlier too, as in the paper (2.3)", {"history_size": 4096}),
    Variant("global loss", "one decision an image; the paper: rough edges, noise added (2.2)", {"scope": "global"}),
    Variant("no self-regularization", "λ = 0: nothing keeps the labels (eq. 4)", factor=0),
    Variant("λ × 0.25", "a weaker self-regularization", factor=0.25),
    Variant("λ × 0.5", "a weaker self-regularization", factor=0.5),
    Variant("λ × 2", "a stronger self-regularization", factor=2),
    Variant("λ × 4", "a stronger self-regularization", factor=4),
    Variant("λ × 16", "a much stronger self-regularization", factor=16),
    Variant("ψ identity", "self-regularization on the pixels, as the paper begins (eq. 4)", {"transform": "identity"}),
    Variant("ψ gradients", "self-regularization on image derivatives (2.1)", {"transform": "gradients"}),
    Variant("no preparation", "the network has to do all, as in the paper", {"preparation": False}),
    Variant("no label weight", "self-regularization weighs all pixels alike, as in the paper", {"label_weight": 0.0}),
    Variant("K_g = 1", "one update of the refiner for each of the discriminator", {"refiner_updates": 1}),
    Variant("K_g = 50", "the later revision of the paper, so fewer steps", {"refiner_updates": 50}),
    Variant("K_d = 1", "one update of the discriminator for K_g of the refiner", {"discriminator_updates": 1}),
    Variant("no R1", "no penalty on gradients of D, as in the paper", {"gradient_penalty": 0.0}),
    Variant("no augmentation of D", "the discriminator sees images as they are, as in the paper", {"augment": ()}),
    Variant("no EMA", "the refiner's last weights, not their moving average, as in the paper", {"ema_decay": 0.0}),
    Variant("refiner warm-up", "200 updates on the self-regularization first (Algorithm 1)", {"refiner_warm_up": 200}),
    Variant("no discriminator warm-up", "both networks learn from the first step", {"discriminator_warm_up": 0}),
)


@dataclass(frozen=True)
class PlannedRun:
    """One variant with one seed; the output of its settings is where it is trained."""

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
    if unknown := [name for name in names if _plain(name) not in known]:
        raise ConfigError(f"there is no variant {unknown[0]!r}: choose one of {', '.join(v.name for v in VARIANTS)}")
    wanted = [known[_plain(name)] for name in names] or VARIANTS
    chosen = [(v, v.settings(recipe)) for v in VARIANTS if v in wanted or v.name == BASELINE]
    same = [v.name for v, config in chosen if config == recipe and v.name != BASELINE]
    if names and same:
        raise ConfigError(f"variant {same[0]!r} changes nothing of preset {recipe.preset!r}: leave it out")
    return [
        _place(variant, replace(config, seed=seed), folder)
        for seed in range(seeds)
        for variant, config in chosen
        if variant.name not in same
    ]


def _plain(name: str) -> str:
    letters = name.lower().replace("λ", "lambda").replace("ψ", "psi").replace("×", "x")
    return re.sub(r"[^a-z0-9.]+", "-", letters).strip("-")


def _place(variant: Variant, config: TrainingConfig, folder: Path) -> PlannedRun:
    settings = {name: value for name, value in asdict(config).items() if name not in _ABOUT_THE_FOLDER}
    key = hashlib.sha256(json.dumps([simgan.__version__, settings], default=str).encode()).hexdigest()[:16]
    return PlannedRun(variant, replace(config, output=folder / f"{_plain(variant.name)}-seed{config.seed}-{key}"))


def train_all(runs: Sequence[PlannedRun], unseen: Unseen, *, jobs: int | None = None) -> list[dict[str, Any]]:
    """Train and measure every run, `jobs` at a time (the number of cores), and return their results in order.

    A result has `failed`, None or the sentence with which a run ended by itself, and if None the figures of
    `Unseen.measure`; a line on standard error tells of each. Ctrl-C, SIGTERM and every error stop all processes, which
    write their checkpoints; the first two raise `KeyboardInterrupt`. Accelerate chooses the device of the networks.
    """
    jobs = min(count_cores() if jobs is None else jobs, len(runs))
    if jobs < 1:
        raise ConfigError(f"{jobs} runs at a time train nothing: give at least 1 job")
    words, precision, threads = unseen.domain.words, _precision(runs), max(1, count_cores() // jobs)
    results = {str(run): result for run in runs if (result := _finished(run, unseen)) is not None}
    if results:
        print(f"{len(results)} of {len(runs)} runs were finished before", file=sys.stderr)
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
                moved = f"{words.part} moved {result.get('shift') or math.nan:.2f} {words.unit}"
                told = result["failed"] or f"patch distance {1000 * result['distance']:.1f}, {moved}"
                print(f"{len(results)} of {len(runs)}: {run}: {told}", file=sys.stderr)
            time.sleep(0.1)
    finally:
        for _, process in running:
            process.terminate()
        for _, process in running:
            process.wait()
        signal.signal(signal.SIGTERM, before)
    return [results[str(run)] for run in runs]


def _precision(runs: Sequence[PlannedRun]) -> str:
    """Return one precision for all runs: that of earlier ones, else the fastest, measured before any run starts."""
    for file in (run.config.output / "training.json" for run in runs):
        if file.is_file():
            return str(json.loads(file.read_text(encoding="utf-8"))["mixed_precision"])
    return "bf16" if has_fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "no"


def _start(run: PlannedRun, precision: str, threads: int) -> subprocess.Popen[bytes]:
    resume = any((run.config.output / FOLDER).glob("step-*"))
    config = replace(run.config, resume=resume, mixed_precision=precision)
    # The second variable is what `accelerate launch` sets: with it a run ends with the process that started it.
    settings = {"OMP_NUM_THREADS": str(threads), "ACCELERATE_MIXED_PRECISION": "no", "PYTHONUTF8": "1"}  # of the log
    command = [sys.executable, str(SCRIPT), *to_command_line(config)]
    try:
        run.config.output.mkdir(parents=True, exist_ok=True)
        with (run.config.output / LOG).open("ab") as log:
            return subprocess.Popen(
                command, env=os.environ | settings, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
    except OSError as error:
        raise SourceError(f"{run.config.output} cannot be written ({reason(error)})") from error


def _finish(run: PlannedRun, status: int, unseen: Unseen) -> dict[str, Any]:
    """Measure what a process left, and keep it; a run that ended without a sentence of its own is tried again later."""
    result: dict[str, Any] = {"variant": run.variant.name, "seed": run.config.seed, "failed": None}
    if status == 0 and run.checkpoint.is_dir():
        result |= unseen.measure(run.checkpoint)
    else:
        log = (run.config.output / LOG).read_text(encoding="utf-8", errors="replace")
        told = re.findall("^error: (.*)", log, re.MULTILINE)
        if status != 1 or not told:
            how = "was stopped" if status == 0 else f"ended with status {status}"
            return result | {"failed": f"{how}; see {LOG} in {run.config.output.name}"}
        result["failed"] = told[-1]
    write_json(run.config.output / RESULT, result)
    return result


def _finished(run: PlannedRun, unseen: Unseen) -> dict[str, Any] | None:
    file = run.config.output / RESULT
    if not file.is_file():
        return _finish(run, 0, unseen) if run.checkpoint.is_dir() else None
    with reading(file):
        return dict(json.loads(file.read_text(encoding="utf-8")))
