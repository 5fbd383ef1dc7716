"""What surrounds Algorithm 1: data, progress, measures, sample sheets, checkpoints, signals, and the end of a run.

Losses do not tell a good refiner from a bad one, so every `evaluate_every` steps both promises are measured on images
that were held out: realism (patch distance to real images) and annotation shift (how far the iris moved). λ can be
steered by the shift, and the refiner that ships is the most real one whose shift stays within its bounds.
"""

import ctypes
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from tqdm import tqdm

from simgan import __version__
from simgan.domains.base import Floats, Images
from simgan.errors import TrainingError
from simgan.hub.background import BackgroundPushes
from simgan.images.arrays import to_array, to_tensor
from simgan.training import checkpoints
from simgan.training.batches import equalize_image
from simgan.training.config import TrainingConfig
from simgan.training.measures import as_measured, summarize
from simgan.training.sheets import write_sheet
from simgan.training.step import Trainer, TrainingData, make_accelerator

LOG_EVERY = 10
MEASURED = 192  # held-out images of either side that are measured
SHEET = 12  # of them shown on a sheet
PATIENCE = 200  # steps after which three bad measures in a row end a run
WITHIN = (0.7, 1.0)  # shares of the bound between which λ is left alone
STEERING = 1.5  # λ changes by at most this factor at a time
_PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Run:
    """A training run in a folder; iterate its parts as `train_accelerate.py` does."""

    def __init__(self, config: TrainingConfig, data: TrainingData) -> None:
        if config.resume and config.mixed_precision == "auto":
            config = replace(config, mixed_precision=checkpoints.precision(checkpoints.newest(config.output)))
        self.accelerator = make_accelerator(config)
        self.config = config = replace(config, mixed_precision=self.accelerator.mixed_precision)
        self.trainer = Trainer(config, data, self.accelerator)
        self.domain = self.trainer.domain
        self.records: list[dict[str, Any]] = []
        self.stopped = False
        equalize = self.trainer.average.config.equalize
        self.held_out_synthetic, self.held_out_real = (
            [np.stack([equalize_image(image) for image in images]) if equalize else images for images in sources]
            for sources in (data.held_out_synthetic, data.held_out_real)
        )
        if config.resume:
            self.records = checkpoints.restore(self.trainer, checkpoints.newest(config.output))
            self._rewind_metrics()
        elif self.accelerator.is_main_process and any(checkpoints.folder_of(config.output).glob("step-*")):
            raise TrainingError(f"{config.output} holds a run already: pass --resume, or another --output")
        if self.accelerator.is_main_process:
            with checkpoints.writing(str(config.output)):
                config.output.mkdir(parents=True, exist_ok=True)
                config.save(config.output / "training.json")
        self.pushes: BackgroundPushes | None = None
        if config.push_to_hub and self.accelerator.is_main_process:
            self.pushes = BackgroundPushes(
                config.output,
                config.push_to_hub,
                every=config.push_every,
                private=config.private,
                revision=config.hub_revision,
            )
        _commit()  # of the code as it is now, whatever happens to it while this runs
        self.accelerator.init_trackers("training")
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        _follow_launcher()

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
        yield from self._count("step", self.config.steps, "training")

    def _after(self, step: int) -> None:
        due = step % self.config.evaluate_every == 0 or step == self.config.steps
        if step % LOG_EVERY == 0 or due:
            self._log(self.trainer.take_log())  # which stops a run gone wrong before it is measured or kept
        if due:
            self._evaluate()
            self._checkpoint()

    def finish(self) -> None:
        """Print the table of measures and what to try next; push the model if asked to."""
        self.trainer.end()
        if not self.accelerator.is_main_process:
            return
        table = pd.DataFrame(self.records)
        print("\n" + table.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        best, words = self.best(), self.domain.words
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
        bar = tqdm(
            total=total, initial=getattr(counters, counter), desc=title, disable=not self.accelerator.is_main_process
        )
        with bar:
            while getattr(counters, counter) < total:
                yield getattr(counters, counter)
                setattr(counters, counter, getattr(counters, counter) + 1)
                bar.update()
                if counter == "step":
                    self._after(counters.step)
                if self._all_stop():
                    bar.close()
                    self._checkpoint()
                    self.trainer.end()
                    if self.accelerator.is_main_process:
                        print(f"Stopped; go on with --resume --output {self.config.output}")
                    sys.exit(0)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.stopped and number == signal.SIGINT:  # Ctrl-C again; a launcher that ended sends SIGTERM after it
            raise KeyboardInterrupt
        self.stopped = True

    def _all_stop(self) -> bool:
        """Whether any process was told to stop; all must agree, as none can go on alone."""
        if self.accelerator.num_processes == 1:
            return self.stopped
        flag = torch.tensor(float(self.stopped), device=self.accelerator.device)
        return bool(self.accelerator.reduce(flag, reduction="sum").item())

    def _log(self, values: dict[str, float]) -> None:
        step = self.trainer.counters.step
        wrong = sorted(name for name, value in values.items() if not np.isfinite(value))
        if wrong:
            raise TrainingError(
                f"{', '.join(wrong)} is not finite at step {step}: resume from the last checkpoint with a lower "
                f"--learning-rate (now {self.config.learning_rate}), or with --mixed-precision no"
            )
        values["regularization_weight"] = self.trainer.regularization_weight
        self.accelerator.log(values, step=step)
        self._append({"step": step, **values})

    def _append(self, row: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            place = self.config.output / "metrics.jsonl"
            with checkpoints.writing(str(place)), place.open("a") as file:
                file.write(json.dumps(row) + "\n")

    def _rewind_metrics(self) -> None:
        """Drop what an interrupted run logged after its last checkpoint."""
        file = self.config.output / "metrics.jsonl"
        if self.accelerator.is_main_process and file.is_file():
            rows = [line for line in file.read_text().splitlines() if _step(line) <= self.trainer.counters.step]
            aside = file.with_suffix(".part")
            aside.write_text("".join(f"{row}\n" for row in rows))
            aside.replace(file)

    def _checkpoint(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoints.save(self.trainer, self.config.output, self.records, self._metadata())
            if self.pushes and self.trainer.counters.step < self.config.steps:  # the last one is left to the end
                self.pushes.checkpoint()
        self.accelerator.wait_for_everyone()

    def _metadata(self) -> dict[str, str]:
        return {
            "simgan_version": __version__,
            "preset": self.config.preset,
            "step": str(self.trainer.counters.step),
            "commit": _commit(),
        }

    # Measures

    def _evaluate(self) -> None:
        """Measure on held-out images, steer λ if told to, keep the best refiner; all processes go on with one λ."""
        told: list[Any] = [None]
        if self.accelerator.is_main_process:
            record = self._measure()
            self.records.append(record)
            self._append(record)
            self.accelerator.log({key: value for key, value in record.items() if key != "step"}, step=record["step"])
            if self.config.steer and record["step"]:
                self.trainer.regularization_weight = self._steered(record)
            if self.best() is record:
                checkpoints.keep(self.trainer, self.config.output, self._metadata())
            told = [(self.trainer.regularization_weight, self.records)]
        broadcast_object_list(told)
        self.trainer.regularization_weight, self.records = told[0]
        self._diagnose()

    @torch.inference_mode()
    def _measure(self) -> dict[str, Any]:
        trainer = self.trainer
        before, real = (_mixed(sources, MEASURED) for sources in (self.held_out_synthetic, self.held_out_real))
        average, parts = self.trainer.average, np.array_split(before, max(1, len(before) // 32))
        mapped = (np.concatenate([self._map(f, part) for part in parts]) for f in (average, average.photometry))
        after, entering = mapped
        discriminator = self.accelerator.unwrap_model(trainer.discriminator)
        maps = [discriminator.probability_real(to_tensor(images)).float().cpu().numpy() for images in (after, real)]
        shifts = [summarize(shift) for shift in self._shifts(before, after)]
        halves = [_mixed([images[k::2] for images in self.held_out_real], MEASURED // 2) for k in (0, 1)]
        sheet = self.config.output / "samples" / f"step-{trainer.counters.step:06d}.png"
        with checkpoints.writing(str(sheet)):
            shown = np.linspace(0, len(before) - 1, min(SHEET, len(before))).astype(int)  # of all sources
            first, second = (as_measured(self.domain, images[shown]) for images in (before, after))
            write_sheet(sheet, first, second, maps[0][shown], average.codec)
        return {
            "step": trainer.counters.step,
            "realism": self._realism(after, real),
            "realism_raw": self._realism(before, real),
            "realism_floor": self._distance(*halves),
            # of the source that it is worst for: labels of each have to stay, not of their mixture
            "shift": float(np.max([shift.trimmed_mean for shift in shifts])),
            "shift_median": float(np.max([shift.median for shift in shifts])),
            "shift_failed": float(np.mean([shift.failed for shift in shifts])),
            "accuracy_refined": float((maps[0].mean((1, 2)) < 0.5).mean()),
            "accuracy_real": float((maps[1].mean((1, 2)) >= 0.5).mean()),
            "map_spread": float(np.concatenate([m.ravel() for m in maps]).std()),
            "change": float(np.abs(after.astype(float) - entering).mean() / (np.iinfo(after.dtype).max / 2)),
            "contrast": float(after.std() / max(before.std(), 1e-6)),
            "regularization_weight": trainer.regularization_weight,
        }

    def _realism(self, images: Images, real: Images) -> float:
        """Mean over the synthetic sources: each has to become real, not their mixture."""
        return float(np.mean([self._distance(images[k], real) for k in self._each_source()]))

    def _distance(self, images: Images, real: Images) -> float:
        return self.domain.realism(*(as_measured(self.domain, side) for side in (images, real)))

    def _shifts(self, before: Images, after: Images) -> Iterator[Floats]:
        """Return how far the labelled parts of the images of each synthetic source moved, (N, 2)."""
        labels = self.trainer.data.held_out_labels or [{}] * len(self.held_out_synthetic)
        for k, (images, known) in enumerate(zip(self.held_out_synthetic, labels, strict=True)):
            chosen = _evenly(len(images), len(before) // len(self.held_out_synthetic))
            of_these = {name: [values[i] for i in chosen] for name, values in known.items()}
            part = slice(k, None, len(self.held_out_synthetic))
            yield self.domain.shift(
                as_measured(self.domain, before[part]), as_measured(self.domain, after[part]), of_these
            )

    def _each_source(self) -> list[slice]:
        """Where the held-out images of each synthetic source lie in their mixture."""
        return [slice(k, None, len(self.held_out_synthetic)) for k in range(len(self.held_out_synthetic))]

    def _map(self, function: Callable[[torch.Tensor], torch.Tensor], images: Images) -> Images:
        mapped = function(to_tensor(images).to(self.accelerator.device))
        stored: Images = to_array(mapped, images.dtype)
        return stored

    def _excess(self, record: dict[str, Any]) -> float:
        """How much of its bounds the shift takes up: 1 is just allowed, NaN where no iris was found."""
        return max(record["shift"] / self.config.max_shift, record["shift_median"] / self.config.max_median_shift)

    def _has_irises(self) -> bool:
        """Whether the finder has ever found one in these images; if not, the shift says nothing about any refiner."""
        return any(np.isfinite(self._excess(record)) for record in self.records)

    def _steered(self, record: dict[str, Any]) -> float:
        excess = self._excess(record)
        if not self._has_irises():
            return self.trainer.regularization_weight
        if WITHIN[0] <= excess <= WITHIN[1]:
            return self.trainer.regularization_weight
        factor = np.clip(excess / np.mean(WITHIN), 1 / STEERING, STEERING) if np.isfinite(excess) else STEERING
        return float(self.trainer.regularization_weight * factor)

    def best(self) -> dict[str, Any]:
        """Give the record of the most real refiner within the bounds on shift; none within: of the least shift."""
        found = [record for record in self.records if np.isfinite(self._excess(record))]
        within = [record for record in found if self._excess(record) <= 1] if found else self.records
        if within:
            return min(within, key=lambda record: record["realism"])
        return min(found, key=self._excess)

    def _diagnose(self) -> None:
        """Stop a run that cannot become good, with what is wrong and what to do."""
        last = self.records[-3:]
        if last[0]["step"] < PATIENCE:
            return
        if last[-1]["contrast"] < 0.1:
            raise TrainingError(
                "the refiner collapsed to a constant image: raise --regularization-weight or lower --learning-rate"
            )
        if all(record["change"] < 0.002 for record in last):
            raise TrainingError(
                "the refiner gives its input back: lower --regularization-weight (λ), or raise --refiner-updates"
            )
        if all(record["map_spread"] < 1e-3 for record in last):
            raise TrainingError(
                "the discriminator is dead, it says the same of every patch: raise --discriminator-warm-up, or lower "
                "--learning-rate"
            )


def _mixed(sources: Sequence[Images], count: int) -> Images:
    """Take images of all sources in turn, as a mini-batch does, evenly spread over each; few images come repeatedly."""
    share = -(-count // len(sources))
    picked = [images[_evenly(len(images), share)] for images in sources]
    return np.stack(picked, 1).reshape(-1, *picked[0].shape[1:])


def _evenly(length: int, count: int) -> NDArray[np.int64]:
    return np.linspace(0, length, count, endpoint=False).astype(np.int64)


def _step(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError):  # the line that was being written when the run was killed
        return sys.maxsize


def _follow_launcher() -> None:
    """Have the end of `accelerate launch`, which does not pass SIGTERM on, told to this process as one (Linux)."""
    if sys.platform.startswith("linux") and "ACCELERATE_MIXED_PRECISION" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@functools.cache
def _commit() -> str:
    """Name the commit of the code that trains, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
