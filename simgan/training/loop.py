"""What surrounds Algorithm 1: progress, measures, checkpoints, signals, logs, and the end of a run.

Losses do not show whether a refiner is good. So every `evaluate_every` steps two things are measured on held-out
images: realism (distance to real images) and annotation shift (how far labelled parts moved). The shift can steer λ.
Of the refiners within the bounds on shift, the last one is kept that is about as real as the most real one.
"""

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
from accelerate.state import AcceleratorState
from tqdm import tqdm
from typing_extensions import Self  # PyTorch needs it too

from simgan.errors import Stopped, TrainingError
from simgan.hub.push import BackgroundPushes
from simgan.training import checkpoints, selection
from simgan.training.config import TrainingConfig
from simgan.training.data import TrainingData
from simgan.training.held_out import measure
from simgan.training.networks import faster_precision
from simgan.training.processes import from_main, make_accelerator
from simgan.training.step import Trainer

Log = Callable[[dict[str, Any]], object]  # gets every row of metrics.jsonl
LOG_EVERY = 10  # steps; several processes also agree to stop then
_PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Run:
    """A training run in a folder; iterate its parts as `train_accelerate.py` does."""

    def __init__(self, config: TrainingConfig, data: TrainingData, *, log: Log | None = None, **networks: Any) -> None:
        self.log = log
        config = replace(config, **data.resolved)
        saved = from_main(lambda: checkpoints.read(config.output)) if config.resume else None
        if saved and config.mixed_precision == "auto":  # what is fastest may be another precision now
            config = replace(config, mixed_precision=saved.config["mixed_precision"])
        elif config.mixed_precision == "auto":
            config = replace(config, mixed_precision=from_main(lambda: faster_precision(config, data, **networks)))
        self.accelerator = make_accelerator(config)
        self.config = config = replace(config, mixed_precision=self.accelerator.mixed_precision)
        self.metrics = config.output / "metrics.jsonl"
        self.trainer = Trainer(config, data, self.accelerator, **networks)
        self.records: list[selection.Record] = []
        self.stopped = False
        if saved:
            checkpoints.restore(self.trainer, saved)
            self.records = saved.records
        from_main(self._prepare_folder)
        self.pushes: BackgroundPushes | None = None
        if config.push_to_hub and self.accelerator.is_main_process:
            options: Any = {"every": config.push_every, "private": config.private, "revision": config.hub_revision}
            self.pushes = BackgroundPushes(config.output, config.push_to_hub, **options)
        checkpoints.commit()  # of the code that was loaded; the checkout may change while this runs
        self.accelerator.init_trackers("training")
        self.handlers: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # only this one may handle signals
            self.handlers = {n: signal.signal(n, self._stop) for n in (signal.SIGTERM, signal.SIGINT)}
        if sys.platform == "linux" and "ACCELERATE_MIXED_PRECISION" in os.environ:
            # `accelerate launch` does not pass signals on: have Linux send SIGTERM when it ends.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def _prepare_folder(self) -> None:
        run = self.config.output
        if not self.config.resume and checkpoints.all_of(run):
            raise TrainingError(f"{run} holds a run already: pass --resume, or another --output")
        with checkpoints.writing(str(run)):
            run.mkdir(parents=True, exist_ok=True)
            (run / "training.json").write_text(self.config.to_json(), encoding="utf-8")
            if self.config.resume and self.metrics.is_file():  # drop what was logged after the last checkpoint
                rows = []
                for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True):
                    with suppress(ValueError, KeyError):  # the line that was being written when the run was killed
                        rows += [line] if json.loads(line)["step"] <= self.trainer.counters.step else []
                aside = self.metrics.with_suffix(".part")
                aside.write_text("".join(rows), encoding="utf-8")
                aside.replace(self.metrics)

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
        print("\n" + pd.DataFrame(self.records).to_string(index=False, float_format="{:.4g}".format))
        best, words = selection.best(self.records, self.config), self.trainer.domain.words
        left = f"; {words.left}: {best['edges_left']:.0%}" if "edges_left" in best else ""
        print(
            f"\nBest refiner: step {best['step']}, patch distance {best['realism']:.4f} "
            f"(untouched {best['realism_raw']:.4f}, between real images {best['realism_floor']:.4f}), "
            f"{words.part} moved {best['shift']:.2f} {words.unit} ({words.short}), {best['shift_median']:.2f} "
            f"{words.unit} ({words.middle}){left}. {words.beside(best)}\n"
            f"It is in {self.config.output}; its sample sheets are in {self.config.output / 'samples'}.\n"
            f'Next: python -c "from simgan import Refiner; '
            f"Refiner.from_pretrained('{self.config.output}').refine('IMAGE.png').save('refined.png')\""
        )
        for warning in selection.warnings(self.records, self.config, words.part):
            print(warning, flush=True)
        if self.pushes:
            self.pushes.finish(give_up=lambda: self.stopped)

    def __enter__(self) -> Self:
        """Return the run; at the end of the context signals are handled as before it."""
        return self

    def __exit__(self, *error: object) -> None:
        """Leave this process as it was."""
        AcceleratorState._reset_state()  # of this process, or its next run could have no other precision
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    # In between

    def _count(self, counter: str, total: int, title: str) -> Iterator[int]:
        done = getattr(self.trainer.counters, counter)
        with tqdm(total=total, initial=done, desc=title, disable=not self.accelerator.is_main_process) as bar:
            while done < total:
                yield done
                done += 1
                setattr(self.trainer.counters, counter, done)
                bar.update()
                last, stopped = done == total, self.stopped and self.accelerator.num_processes == 1
                due = counter == "step" and (last or done % self.config.evaluate_every == 0)
                if due or last or done % LOG_EVERY == 0:
                    values, stopped = self.trainer.take_log(self.stopped)
                    self._log(values, None if counter == "step" else f"{title} {done}")
                if due:
                    self._evaluate()
                    self._checkpoint()
                if stopped:
                    bar.close()
                    self._checkpoint()
                    self.trainer.end()
                    if not self.accelerator.is_main_process:
                        sys.exit(0)
                    raise Stopped(f"Stopped; go on with --resume {self.config.output}")

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped and number == signal.SIGINT:  # the second Ctrl-C; launchers send SIGTERM after the first
            raise KeyboardInterrupt
        self.stopped = True

    def _log(self, values: dict[str, float], warm_up: str | None = None) -> None:
        """Log the values of steps, not those of a warm-up; `TrainingError` where one of either is not finite."""
        step = self.trainer.counters.step
        if wrong := sorted(name for name, value in values.items() if not np.isfinite(value)):
            raise TrainingError(
                f"{', '.join(wrong)} is not finite at {warm_up or f'step {step}'}: train again with a lower "
                f"--learning-rate (now {self.config.learning_rate}), or with --mixed-precision no"
            )
        if warm_up is None:
            self._write({"step": step, **values, "regularization_weight": self.trainer.regularization_weight})

    def _write(self, row: dict[str, Any]) -> None:
        self.accelerator.log({key: value for key, value in row.items() if key != "step"}, step=row["step"])
        if self.accelerator.is_main_process:
            with checkpoints.writing(str(self.metrics)), self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(checkpoints.with_nulls(row), allow_nan=False) + "\n")
            if self.log:
                self.log(row)

    def _checkpoint(self) -> None:
        from_main(lambda: checkpoints.save(self.trainer, self.records))
        if self.pushes and self.trainer.counters.step < self.config.steps:  # the last one is left to the end
            self.pushes.checkpoint()

    def _evaluate(self) -> None:
        """Measure in the main process, keep the best refiner, steer λ; all processes go on with the same values."""
        self.trainer.regularization_weight, self.records = from_main(self._measure)
        selection.diagnose(self.records)

    def _measure(self) -> tuple[float, list[selection.Record]]:
        sheet = self.config.output / "samples" / f"step-{self.trainer.counters.step:06d}.png"
        with checkpoints.writing(str(sheet)):
            record = measure(self.trainer, sheet)
        self.records.append(record)
        self._write(record)
        if selection.best(self.records, self.config) is record:
            checkpoints.keep(self.trainer)
        weight = self.trainer.regularization_weight
        if self.config.steer and record["step"]:
            weight = selection.steered(weight, self.records, self.config)
        return weight, self.records
