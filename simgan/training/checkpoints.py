"""Checkpoints: complete, written aside and renamed, the last few kept; a resumed run continues bit for bit.

A checkpoint is a model folder that `from_pretrained` reads (the averaged refiner and the discriminator), and beside it
all else that training needs: `state.safetensors` (weights being trained, Adam's moments, the history) and `state.json`
(settings, counters, λ, records). It holds no random generator, as every draw follows from the counters.
"""

import functools
import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from simgan import __version__
from simgan.errors import TrainingError, reason
from simgan.training.step import Counters, Trainer

FOLDER = "checkpoints"  # of a run
BEST = ".best"  # where the refiner for the run's root is written aside
# Settings that a resumed run may change without becoming another run
FREE = {"resume", "keep_checkpoints", "trackers", "output", "steps"}
FREE |= {"push_to_hub", "private", "hub_revision", "push_every"}


@dataclass
class Saved:
    """What a checkpoint holds: its tensors, and by name what its file of JSON does."""

    place: Path
    tensors: dict[str, Tensor]
    config: dict[str, Any]
    counters: dict[str, int]
    regularization_weight: float
    records: list[dict[str, Any]]
    scaler: dict[str, Any] | None  # of fp16 gradients


def all_of(run: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    found = (run / FOLDER).glob("step-[0-9]*")
    return sorted(found, key=lambda place: [int(number) for number in re.findall(r"\d+", place.name)])


def save(trainer: Trainer, records: list[dict[str, Any]]) -> None:
    """Write a checkpoint, then delete the oldest; a full disk is a `TrainingError` and leaves older ones whole."""
    run, counters = trainer.config.output, trainer.counters
    warm_up = "" if counters.step else f"-warm-up-{counters.refiner_warm_up + counters.discriminator_warm_up:06d}"
    target = run / FOLDER / f"step-{counters.step:06d}{warm_up}"
    if target.is_dir():  # of the same counters and so the same state
        return
    for half in [*(run / FOLDER).glob(".step-*"), run / BEST]:  # left by a run that was killed while writing
        shutil.rmtree(half, ignore_errors=True)
    with writing(f"checkpoint {target}"), _networks_aside(trainer, target.with_name(f".{target.name}")) as aside:
        save_file(_tensors(trainer), aside / "state.safetensors")
        facts = {
            "config": json.loads(trainer.config.to_json()),
            "counters": vars(counters),
            "regularization_weight": trainer.regularization_weight,
            "records": [with_nulls(record) for record in records],
            "scaler": trainer.accelerator.scaler.state_dict() if trainer.accelerator.scaler else None,
        }
        (aside / "state.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        aside.rename(target)
    for old in all_of(run)[: -trainer.config.keep_checkpoints]:
        shutil.rmtree(old, ignore_errors=True)


def keep(trainer: Trainer) -> None:
    """Write refiner and discriminator to the run's root: both aside, then renamed, so that they belong together."""
    run = trainer.config.output
    shutil.rmtree(run / BEST, ignore_errors=True)
    with writing(f"the best refiner in {run}"), _networks_aside(trainer, run / BEST) as aside:
        for file in [path for path in aside.rglob("*") if path.is_file()]:
            place = run / file.relative_to(aside)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into a `TrainingError`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{what} cannot be written ({reason(error)}); older checkpoints are whole") from error


@contextmanager
def _networks_aside(trainer: Trainer, aside: Path) -> Iterator[Path]:
    """Write both networks into the folder `aside`, which is deleted in the end unless it was renamed."""
    metadata = {"simgan_version": __version__, "preset": trainer.config.preset, "commit": commit()}
    metadata |= {"step": str(trainer.counters.step)}
    try:
        aside.mkdir(parents=True)
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.discriminator.save_pretrained(aside, metadata=metadata)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@functools.cache
def commit() -> str:
    """Return the commit of the code that trains, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def with_nulls(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record for JSON, which has no NaN and no infinity: None instead."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}


def read(run: Path) -> Saved:
    """Read the newest checkpoint of a run; `TrainingError` if there is none, or it is broken or of another version."""
    if not (found := all_of(run)):
        raise TrainingError(f"nothing to resume in {run}: it has no checkpoint; leave --resume out to start")
    place = found[-1]
    try:
        facts = json.loads((place / "state.json").read_text(encoding="utf-8"))
        saved = Saved(place, load_file(place / "state.safetensors"), **facts)
        saved.records = [{k: math.nan if v is None else v for k, v in record.items()} for record in saved.records]
        unknown = sorted(saved.counters.keys() - vars(Counters()).keys())
    except (OSError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise TrainingError(
            f"checkpoint {place} cannot be read ({error}): delete it, and the one before is resumed"
        ) from error
    if unknown:
        raise TrainingError(
            f"checkpoint {place} is of another version of simgan (it counts {', '.join(unknown)}): "
            "resume with that version, or train again"
        )
    return saved


def restore(trainer: Trainer, saved: Saved) -> None:
    """Set a new trainer to a saved state; `TrainingError` if that is of other settings or other networks."""
    now = sorted((key, saved.config.get(key), value) for key, value in json.loads(trainer.config.to_json()).items())
    changes = ", ".join(f"{key} {old!r} → {new!r}" for key, old, new in now if key not in FREE and old != new)
    if changes:
        raise TrainingError(f"checkpoint {saved.place} was made with other settings ({changes}): resume with the same")
    for name, network in trainer.networks.items():
        try:
            network.load_state_dict(_below(name, saved.tensors), strict=True)
        except RuntimeError as error:
            raise TrainingError(f"checkpoint {saved.place} is of another {name} than the preset's") from error
    for name, optimizer in trainer.optimizers.items():
        state: dict[int, dict[str, Tensor]] = {}
        parameters = list(trainer.networks[name].parameters())
        for key, value in _below(f"adam-{name}", saved.tensors).items():
            index, moment = key.split("/")
            if value.ndim:  # in the parameter's memory layout, as fused Adam goes through both in the order of memory
                value = torch.empty_like(parameters[int(index)]).copy_(value)
            state.setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    if trainer.history and "history" in saved.tensors:
        trainer.history.restore(saved.tensors["history"], trainer.accelerator.device)
    trainer.counters, trainer.regularization_weight = Counters(**saved.counters), saved.regularization_weight
    if trainer.accelerator.scaler and saved.scaler:
        trainer.accelerator.scaler.load_state_dict(saved.scaler)


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, network in trainer.networks.items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in trainer.optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"adam-{name}/{index}/{key}": value for key, value in moments.items()}
    if trainer.history:
        tensors["history"] = trainer.history.state(trainer.counters.discriminator_updates)
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _below(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
