"""What surrounds Algorithm 1: progress, measures, checkpoints, signals, logs, and the end of a run.

Losses do not show whether a refiner is good. So every `evaluate_every` steps two things are measured on held-out
images: realism (distance to real images) and annotation shift (how far labelled parts moved). The shift can steer λ,
and the refiner that ships is the most real one whose shift is within its bounds.
"""

import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from simgan import __version__
from simgan.errors import TrainingError
from simgan.hub.push import BackgroundPushes
from simgan.training import checkpoints, selection
from simgan.training.config import TrainingConfig
from simgan.training.held_out import HeldOut
from simgan.training.processes import from_main, make_accelerator
from simgan.training.step import Trainer, TrainingData

LOG_EVERY = 10
_PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Run:
    """A training run in a folder; iterate its parts as `train_accelerate.py` does."""

    def __init__(self, config: TrainingConfig, data: TrainingData) -> None:
        saved = from_main(lambda: checkpoints.read(checkpoints.newest(config.output))) if config.resume else None
        if saved and config.mixed_precision == "auto":  # what is fastest may be another precision now
            config = replace(config, mixed_precision=saved.settings["mixed_precision"])
        self.accelerator = make_accelerator(config)
        self.config = config = replace(config, mixed_precision=self.accelerator.mixed_precision)
        self.trainer = Trainer(config, data, self.accelerator)
        self.held_out = HeldOut(self.trainer)
        self.records: list[selection.Record] = []
        self.stopped = False
        if saved:
            checkpoints.restore(self.trainer, saved)
            self.records = saved.records
        from_main(self._prepare_folder)
        self.pushes: BackgroundPushes | None = None
        if config.push_to_hub and self.accelerator.is_main_process:
            self.pushes = BackgroundPushes(
                config.output,
                config.push_to_hub,
                every=config.push_every,
                private=config.private,
                revision=config.hub_revision,
            )
        _commit()  # of the code that was loaded; the checkout may change while this runs
        self.accelerator.init_trackers("training")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        _stop_with_launcher()

    def _prepare_folder(self) -> None:
        run = self.config.output
        if not self.config.resume and checkpoints.all_of(run):
            raise TrainingError(f"{run} holds a run already: pass --resume, or another --output")
        with checkpoints.writing(str(run)):
            run.mkdir(parents=True, exist_ok=True)
            self.config.save(run / "training.json")
            if self.config.resume:
                self._rewind_metrics()

    # The three parts of a run

    def refiner_warm_up(self) -> Iterator[int]:
        """Yield once for every update of the refiner's warm-up that is left."""
        return self._count("refiner_warm_up", self.config.refiner_warm_up, "refiner warm-up")

    def discriminator_warm_up(self) -> Iterator[int]:
        """Yield once for every update of the discriminator's warm-up that is left."""
        return self._count("discriminator_warm_up", self.config.discriminator_warm_up, "discriminator warm-up")

    def steps(self) -> Iterator[int]:
        """Yield once for every step that is left; in between log, measure, and write checkpoints."""
        if not self.records:
            self._evaluate()
        return self._count("step", self.config.steps, "training")

    def finish(self) -> None:
        """Print the table of measures and what to try next; push the model if asked to."""
        self.trainer.end()
        if not self.accelerator.is_main_process:
            return
        table = pd.DataFrame(self.records)
        print("\n" + table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        best, words = selection.best(self.records, self.config), self.trainer.domain.words
        print(
            f"\nBest refiner: step {best['step']}, patch distance {best['realism']:.4f} "
            f"(untouched {best['realism_raw']:.4f}, between real images {best['realism_floor']:.4f}), "
            f"{words.part} moved {best['shift']:.2f} {words.unit} ({words.short}), {best['shift_median']:.2f} "
            f"{words.unit} in the median.\n"
            f"It is in {self.config.output}; its sample sheets are in {self.config.output / 'samples'}.\n"
            f'Next: python -c "from simgan import Refiner; '
            f"Refiner.from_pretrained('{self.config.output}').refine('IMAGE.png').save('refined.png')\""
        )
        if self.pushes:
            self.pushes.finish(give_up=lambda: self.stopped)

    # In between

    def _count(self, counter: str, total: int, title: str) -> Iterator[int]:
        counters = self.trainer.counters
        done = getattr(counters, counter)
        with tqdm(total=total, initial=done, desc=title, disable=not self.accelerator.is_main_process) as bar:
            while done < total:
                yield done
                done += 1
                setattr(counters, counter, done)
                bar.update()
                if counter == "step":
                    self._after_step(done)
                elif done % LOG_EVERY == 0 or done == total:  # the log begins after the warm-ups
                    self._check_finite(self.trainer.take_log(), f"{title} {done}")
                if self._any_stopped():
                    bar.close()
                    self._checkpoint()
                    self.trainer.end()
                    if self.accelerator.is_main_process:
                        print(f"Stopped; go on with --resume --output {self.config.output}")
                    sys.exit(0)

    def _after_step(self, step: int) -> None:
        due = step % self.config.evaluate_every == 0 or step == self.config.steps
        if step % LOG_EVERY == 0 or due:
            self._log(self.trainer.take_log())  # raises if a value is not finite, before that is measured or saved
        if due:
            self._evaluate()
            self._checkpoint()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped and number == signal.SIGINT:  # the second Ctrl-C; launchers send SIGTERM after the first
            raise KeyboardInterrupt
        self.stopped = True

    def _any_stopped(self) -> bool:
        """Return whether any process received a signal to stop, the same in all."""
        if self.accelerator.num_processes == 1:
            return self.stopped
        flag = torch.tensor(float(self.stopped), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item())

    def _check_finite(self, values: dict[str, float], when: str) -> None:
        if wrong := sorted(name for name, value in values.items() if not np.isfinite(value)):
            raise TrainingError(
                f"{', '.join(wrong)} is not finite at {when}: train again with a lower --learning-rate (now "
                f"{self.config.learning_rate}), or with --mixed-precision no"
            )

    def _log(self, values: dict[str, float]) -> None:
        step = self.trainer.counters.step
        self._check_finite(values, f"step {step}")
        values["regularization_weight"] = self.trainer.regularization_weight
        self.accelerator.log(values, step=step)
        if self.accelerator.is_main_process:
            self._append({"step": step, **values})

    def _append(self, row: dict[str, Any]) -> None:
        place = self.config.output / "metrics.jsonl"
        with checkpoints.writing(str(place)), place.open("a") as file:
            file.write(json.dumps(checkpoints.with_nulls(row), allow_nan=False) + "\n")

    def _rewind_metrics(self) -> None:
        """Drop what an interrupted run logged after its last checkpoint."""
        file = self.config.output / "metrics.jsonl"
        if file.is_file():
            rows = [line for line in file.read_text().splitlines() if _step(line) <= self.trainer.counters.step]
            aside = file.with_suffix(".part")
            aside.write_text("".join(f"{row}\n" for row in rows))
            aside.replace(file)

    def _checkpoint(self) -> None:
        from_main(lambda: checkpoints.save(self.trainer, self.config.output, self.records, self._metadata()))
        if self.pushes and self.trainer.counters.step < self.config.steps:  # the last one is left to the end
            self.pushes.checkpoint()

    def _metadata(self) -> dict[str, str]:
        return {
            "simgan_version": __version__,
            "preset": self.config.preset,
            "step": str(self.trainer.counters.step),
            "commit": _commit(),
        }

    def _evaluate(self) -> None:
        """Measure in the main process, keep the best refiner, steer λ; all processes go on with the same values."""
        self.trainer.regularization_weight, self.records = from_main(self._measure)
        selection.diagnose(self.records)

    def _measure(self) -> tuple[float, list[selection.Record]]:
        sheet = self.config.output / "samples" / f"step-{self.trainer.counters.step:06d}.png"
        with checkpoints.writing(str(sheet)):
            record = self.held_out.measure(sheet)
        self.records.append(record)
        self._append(record)
        self.accelerator.log({key: value for key, value in record.items() if key != "step"}, step=record["step"])
        if selection.best(self.records, self.config) is record:
            checkpoints.keep(self.trainer, self.config.output, self._metadata())
        weight = self.trainer.regularization_weight
        if self.config.steer and record["step"]:
            weight = selection.steered(weight, self.records, self.config)
        return weight, self.records


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # the line that was being written when the run was killed
        return sys.maxsize


def _stop_with_launcher() -> None:
    """Make Linux send SIGTERM to this process when `accelerate launch` ends, which does not pass signals on."""
    if sys.platform.startswith("linux") and "ACCELERATE_MIXED_PRECISION" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@functools.cache
def _commit() -> str:
    """Return the commit of the code that trains, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
