"""Checkpoints: complete, written aside and renamed, the last few kept; a resumed run continues bit for bit.

A checkpoint is a model folder that `from_pretrained` reads (the averaged refiner and the discriminator), and beside it
all else that training needs: `state.safetensors` (weights being trained, Adam's moments, the history) and `state.json`
(settings, counters, λ, records). It holds no random generator, as every draw follows from the counters. The main
process writes and reads it.
"""

import dataclasses
import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from simgan.errors import TrainingError, reason
from simgan.training.step import Counters, Trainer

STATE = "state"
BEST = ".best"  # where the refiner for the run's root is written aside
# Settings that a resumed run may change without becoming another run.
FREE = (
    *("resume", "keep_checkpoints", "trackers", "output", "steps"),
    *("push_to_hub", "private", "hub_revision", "push_every"),
)
_NAME = re.compile(r"step-(\d+)(?:-warm-up-(\d+))?")
_BROKEN = "checkpoint {} cannot be read ({}): delete it, and the one before is resumed"


@dataclass
class Saved:
    """What a checkpoint holds."""

    place: Path
    settings: dict[str, Any]
    counters: Counters
    regularization_weight: float
    records: list[dict[str, Any]]
    scaler: dict[str, Any] | None
    tensors: dict[str, Tensor]


def folder_of(run: Path) -> Path:
    """Return where a run keeps its checkpoints."""
    return run / "checkpoints"


def all_of(run: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    named = {place: _NAME.fullmatch(place.name) for place in folder_of(run).glob("step-*")}
    numbered = {place: (int(name[1]), int(name[2] or 0)) for place, name in named.items() if name}
    return sorted(numbered, key=numbered.__getitem__)


def newest(run: Path) -> Path:
    """Return the newest checkpoint of a run; `TrainingError` if there is none."""
    found = all_of(run)
    if not found:
        raise TrainingError(f"nothing to resume in {run}: it has no checkpoint; leave --resume out to start")
    return found[-1]


def save(trainer: Trainer, run: Path, records: list[dict[str, Any]], metadata: dict[str, str]) -> Path:
    """Write a checkpoint of the present state and delete the oldest beyond `keep_checkpoints`; main process only.

    A full disk raises `TrainingError` and leaves the older checkpoints whole.
    """
    target = folder_of(run) / _name(trainer.counters)
    if target.is_dir():  # of the same counters and so the same state
        return target
    aside = folder_of(run) / f".{target.name}"
    for half in [*folder_of(run).glob(".step-*"), run / BEST]:  # left by a run that was killed while writing
        shutil.rmtree(half, ignore_errors=True)
    with writing(f"checkpoint {target}", aside):
        aside.mkdir(parents=True)
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.discriminator.save_pretrained(aside, metadata=metadata)
        save_file(_tensors(trainer), aside / f"{STATE}.safetensors")
        scaler = trainer.accelerator.scaler  # of fp16 gradients
        facts = {
            "config": _settings(trainer),
            "counters": dataclasses.asdict(trainer.counters),
            "regularization_weight": trainer.regularization_weight,
            "records": [with_nulls(record) for record in records],
            "scaler": scaler.state_dict() if scaler else None,
        }
        (aside / f"{STATE}.json").write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
        aside.rename(target)
    for old in all_of(run)[: -trainer.config.keep_checkpoints]:
        shutil.rmtree(old, ignore_errors=True)
    return target


@contextmanager
def writing(what: str, aside: Path | None = None) -> Iterator[None]:
    """Turn a full disk or a missing permission into a `TrainingError`; delete the folder `aside` in any case."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{what} cannot be written ({reason(error)}); older checkpoints are whole") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def keep(trainer: Trainer, run: Path, metadata: dict[str, str]) -> None:
    """Copy the present refiner and its discriminator to the run's root.

    Both are written aside before either is renamed, so that they belong together even if the disk is full.
    """
    aside = run / BEST
    shutil.rmtree(aside, ignore_errors=True)
    with writing(f"the best refiner in {run}", aside):
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.discriminator.save_pretrained(aside, metadata=metadata)
        for file in [path for path in aside.rglob("*") if path.is_file()]:
            place = run / file.relative_to(aside)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)


def _name(counters: Counters) -> str:
    if counters.step:
        return f"step-{counters.step:06d}"
    return f"step-000000-warm-up-{counters.refiner_warm_up + counters.discriminator_warm_up:06d}"


def with_nulls(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record for JSON, which has no NaN and no infinity: None instead."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in record.items()
    }


def read(checkpoint: Path) -> Saved:
    """Read a checkpoint; `TrainingError` if it is broken or of another version."""
    try:
        facts = json.loads((checkpoint / f"{STATE}.json").read_text())
        settings = dict(facts["config"])
        if unknown := set(facts["counters"]) - {field.name for field in dataclasses.fields(Counters)}:
            raise TrainingError(
                f"checkpoint {checkpoint} is of another version of simgan (it counts {', '.join(sorted(unknown))}): "
                "resume with that version, or train again"
            )
        return Saved(
            checkpoint,
            settings,
            Counters(**facts["counters"]),
            float(facts["regularization_weight"]),
            [{k: math.nan if v is None else v for k, v in record.items()} for record in facts["records"]],
            facts["scaler"],
            load_file(checkpoint / f"{STATE}.safetensors"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise TrainingError(_BROKEN.format(checkpoint, error)) from error


def restore(trainer: Trainer, saved: Saved) -> None:
    """Set a trainer to a saved state; `TrainingError` if that is of other settings or other networks."""
    now = _settings(trainer)
    changed = [key for key in sorted(now) if key not in FREE and now[key] != saved.settings.get(key)]
    if changed:
        changes = ", ".join(f"{key} {saved.settings.get(key)!r} → {now[key]!r}" for key in changed)
        raise TrainingError(f"checkpoint {saved.place} was made with other settings ({changes}): resume with the same")
    for name, network in _networks(trainer).items():
        try:
            network.load_state_dict(_below(name, saved.tensors), strict=True)
        except RuntimeError as error:
            raise TrainingError(f"checkpoint {saved.place} is of another {name} than the preset's") from error
    for name, optimizer in _optimizers(trainer).items():
        state = optimizer.state_dict()
        state["state"] = {}
        for key, value in _below(name, saved.tensors).items():
            index, moment = key.split("/")
            state["state"].setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict(state)
    if trainer.history is not None and "history" in saved.tensors:
        trainer.history.restore(saved.tensors["history"].numpy())
    trainer.counters, trainer.regularization_weight = saved.counters, saved.regularization_weight
    if trainer.accelerator.scaler and saved.scaler:
        trainer.accelerator.scaler.load_state_dict(saved.scaler)


def _settings(trainer: Trainer) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(trainer.config), default=str))
    return settings


def _networks(trainer: Trainer) -> dict[str, nn.Module]:
    return {"refiner": trainer.refiner, "discriminator": trainer.discriminator, "average": trainer.average}


def _optimizers(trainer: Trainer) -> dict[str, Any]:
    return {"adam-refiner": trainer.refiner_optimizer, "adam-discriminator": trainer.discriminator_optimizer}


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, network in _networks(trainer).items():
        tensors |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in _optimizers(trainer).items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}/{index}/{key}": value for key, value in moments.items()}
    if trainer.history:
        tensors["history"] = torch.from_numpy(trainer.history.state())
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _below(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}
