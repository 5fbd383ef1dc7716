"""What does each ingredient of the recipe add? The recipe trained without it, or otherwise, over seeds.

Every run is a process of `train_accelerate.py`, as a user starts it, in a folder whose name holds all that it depends
on: what is finished is never trained again, what was interrupted goes on. A run that ends with a diagnosis is a result.

Same budget: every variant takes as many updates of either network as the recipe does, warm-ups included. One that
takes more updates a step (K_g = 50) therefore takes fewer steps. λ is the preset's and is not steered.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

import simgan
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.experiment import write_aside
from simgan.runtime import has_fast_bfloat16
from simgan.training.checkpoints import folder_of
from simgan.training.config import TrainingConfig, to_command_line
from simgan.training.config import preset as preset_of

SCRIPT = Path(simgan.__file__).parents[1] / "train_accelerate.py"  # beside the package, installed or not
BASELINE = "recipe"
_POLL = 0.1  # seconds between two looks at the processes
_ABOUT_THE_FOLDER = ("output", "resume", "mixed_precision")  # settings that make no other run


@dataclass(frozen=True)
class Variant:
    """The recipe with other settings, or with λ times a factor."""

    name: str
    why: str
    changes: dict[str, Any] = field(default_factory=dict)
    factor: float = 1.0

    @property
    def is_of_grid(self) -> bool:
        """Whether only λ differs from the recipe: the frontier of realism against annotation shift."""
        return not self.changes

    def differs_from(self, recipe: TrainingConfig) -> bool:
        """Whether a preset is not this variant already."""
        return self.factor != 1 or any(getattr(recipe, name) != value for name, value in self.changes.items())

    def settings(self, recipe: TrainingConfig) -> TrainingConfig:
        """Change the recipe within its budget; `ConfigError` where that leaves no step of Algorithm 1."""
        config = replace(recipe, **self.changes, regularization_weight=self.factor * recipe.regularization_weight)
        left, step = updates(recipe) - _warm_up(config), config.refiner_updates + config.discriminator_updates
        if round(left / step) < 1:
            raise ConfigError(
                f"{updates(recipe)} updates leave no step to the variant {self.name!r}, of {_warm_up(config)} to warm "
                f"up and {step} a step: give more --steps, or other --variants"
            )
        return replace(config, steps=round(left / step))


VARIANTS = (
    Variant(BASELINE, "the preset, λ not steered"),
    Variant(
        "no history",
        "the discriminator sees the newest refined images alone; the paper: artifacts appear and come back (2.3)",
        {"history_size": 0},
    ),
    Variant(
        "global loss",
        "one decision an image, not one a patch; the paper: rough edges, noise added (2.2)",
        {"scope": "global"},
    ),
    Variant("no self-regularization", "λ = 0: nothing holds the labels (eq. 4)", factor=0),
    Variant("λ × 0.25", "a weaker self-regularization", factor=0.25),
    Variant("λ × 0.5", "a weaker self-regularization", factor=0.5),
    Variant("λ × 2", "a stronger self-regularization", factor=2),
    Variant("λ × 4", "a stronger self-regularization", factor=4),
    Variant("λ × 16", "a much stronger self-regularization", factor=16),
    Variant("ψ identity", "self-regularization on the pixels, as the paper's eyes (eq. 4)", {"transform": "identity"}),
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
    def name(self) -> str:
        """As it is told of."""
        return f"{self.variant.name}, seed {self.config.seed}"

    @property
    def checkpoint(self) -> Path:
        """What it has at the end of the budget."""
        return folder_of(self.config.output) / f"step-{self.config.steps:06d}"

    @property
    def log(self) -> Path:
        """What its process says."""
        return self.config.output / "train.log"

    @property
    def result_file(self) -> Path:
        """What came of it; there when it is finished."""
        return self.config.output / "result.json"


def updates(config: TrainingConfig) -> int:
    """Count the updates of both networks that a run takes."""
    return _warm_up(config) + config.steps * (config.refiner_updates + config.discriminator_updates)


def _warm_up(config: TrainingConfig) -> int:
    return config.refiner_warm_up + config.discriminator_warm_up


def recipe_of(preset: str, *, steps: int, **settings: Any) -> TrainingConfig:
    """Give the baseline of an ablation: a preset with λ not steered; `ConfigError` where settings do not fit."""
    return replace(preset_of(preset), steps=steps, steer=False, trackers=(), keep_checkpoints=1, **settings)


def plan(recipe: TrainingConfig, folder: Path, names: Sequence[str] = (), *, seeds: int = 2) -> list[PlannedRun]:
    """List the runs of an ablation, seed by seed; without names all variants that differ from the recipe.

    Names may be typed plainly ("lambda x 4", "no-history"). The recipe is always there, as all is compared with it.
    `ConfigError` for a variant that does not exist, that changes nothing, or that the budget is too small for.
    """
    if seeds < 1:
        raise ConfigError(f"{seeds} runs of a variant tell nothing: give at least 1 seed")
    known = {_plain(variant.name): variant for variant in VARIANTS}
    if unknown := [name for name in names if _plain(name) not in known]:
        told = ", ".join(variant.name for variant in VARIANTS)
        raise ConfigError(f"there is no variant {unknown[0]!r}: choose of {told}")
    wanted = [known[_plain(name)] for name in names] or [v for v in VARIANTS if v.differs_from(recipe)]
    for variant in wanted:
        if variant.name != BASELINE and not variant.differs_from(recipe):
            raise ConfigError(f"variant {variant.name!r} changes nothing of preset {recipe.preset!r}: leave it out")
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
    """Where a run is trained: its name holds all that it depends on, so that other settings never meet it."""
    settings = {name: value for name, value in asdict(config).items() if name not in _ABOUT_THE_FOLDER}
    depends = json.dumps([simgan.__version__, settings], default=str)
    key = hashlib.sha256(depends.encode()).hexdigest()[:16]
    return folder / f"{_plain(variant.name)}-seed{config.seed}-{key}"


def train_all(
    runs: Sequence[PlannedRun],
    unseen: Unseen,
    *,
    jobs: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Train and measure every run, `jobs` at a time (the number of cores), and give what came of each, in their order.

    A result has `failed`, the sentence with which a run ended by itself or None, and if None the figures of
    `Unseen.measure`. `tell` is given a line for each run. Ctrl-C and SIGTERM stop all processes, which write their
    checkpoints, and raise `KeyboardInterrupt`; so does every error. Networks run on what Accelerate finds.
    """
    jobs = min(_cores() if jobs is None else jobs, len(runs))
    if jobs < 1:
        raise ConfigError(f"{jobs} runs at a time train nothing: give at least 1 job")
    precision = _precision(runs)
    results = {run.name: result for run in runs if (result := _kept(run, unseen)) is not None}
    waiting = [run for run in runs if run.name not in results]
    if results:
        tell(f"{len(results)} of {len(runs)} runs were finished before")
    running: dict[subprocess.Popen[bytes], tuple[PlannedRun, float]] = {}
    spent: list[float] = []
    with _sigterm_interrupts():
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    running[_start(run, precision, max(1, _cores() // jobs))] = (run, time.monotonic())
                ended = [process for process in running if process.poll() is not None]
                for process in ended:
                    run, start = running.pop(process)
                    spent.append(time.monotonic() - start)
                    results[run.name] = result = _finish(run, process.returncode, unseen)
                    left = (len(runs) - len(results)) / jobs * sum(spent) / len(spent) / 60
                    tell(
                        f"{len(results)} of {len(runs)}: {run.name}: {_told(result)}"
                        + (f"; about {left:.0f} min left" if len(results) < len(runs) else "")
                    )
                if not ended:
                    time.sleep(_POLL)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
    return [results[run.name] for run in runs]


def _told(result: dict[str, Any]) -> str:
    if result["failed"]:
        return str(result["failed"])
    return f"patch distance {1000 * result['distance']:.1f}, iris moved {result['shift'] or float('nan'):.2f} px"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _precision(runs: Sequence[PlannedRun]) -> str:
    """One precision for all runs: that of those from before, else the fastest; processes that compete mistime it."""
    for run in runs:
        file = run.config.output / "training.json"
        if file.is_file():
            return str(json.loads(file.read_text())["mixed_precision"])
    return "bf16" if has_fast_bfloat16("cuda" if torch.cuda.is_available() else "cpu") else "no"


def _start(run: PlannedRun, precision: str, threads: int) -> subprocess.Popen[bytes]:
    resume = any(folder_of(run.config.output).glob("step-*"))
    config = replace(run.config, resume=resume, mixed_precision=precision)
    # The second variable is what `accelerate launch` sets: with it a run ends with the process that started it.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "ACCELERATE_MIXED_PRECISION": "no"}
    try:
        run.config.output.mkdir(parents=True, exist_ok=True)
        with run.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(SCRIPT), *to_command_line(config)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
    except OSError as error:
        raise SourceError(f"{run.config.output} cannot be written ({reason(error)})") from error


def _finish(run: PlannedRun, status: int, unseen: Unseen) -> dict[str, Any]:
    """Measure what a process left. What ended with a sentence of its own is kept too; all else is tried again."""
    result: dict[str, Any] = {"variant": run.variant.name, "seed": run.config.seed, "failed": None}
    if status == 0 and run.checkpoint.is_dir():
        result |= unseen.measure(run.checkpoint)
    else:
        lines = [line for line in run.log.read_text(errors="replace").splitlines() if line.startswith("error: ")]
        if status != 1 or not lines:
            how = "was stopped" if status == 0 else f"ended with status {status}"
            return result | {"failed": f"{how}; {run.log.name} in {run.config.output.name} tells more"}
        result["failed"] = lines[-1].removeprefix("error: ")
    write_aside(run.result_file, (json.dumps(result, indent=2) + "\n").encode())
    return result


def _kept(run: PlannedRun, unseen: Unseen) -> dict[str, Any] | None:
    if not run.result_file.is_file():
        return _finish(run, 0, unseen) if run.checkpoint.is_dir() else None
    try:
        result: dict[str, Any] = json.loads(run.result_file.read_text())
    except (ValueError, OSError) as error:
        raise SourceError(f"{run.result_file} cannot be read ({reason(error)}): delete it to measure again") from error
    return result


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Have SIGTERM end what is within as Ctrl-C does; only a main thread can."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
