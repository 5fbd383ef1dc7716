"""Checkpoints: complete, written aside and renamed, the last few kept; a resumed run goes on bit for bit.

A checkpoint is a model folder that `from_pretrained` reads (the averaged refiner and the discriminator), with all else
that training needs beside it: `state.safetensors` (weights being trained, Adam's moments, the history) and `state.json`
(settings, counters, λ, measures so far). No random generator is in it, as every draw follows from the counters.
"""

import dataclasses
import errno
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from simgan.errors import TrainingError
from simgan.training.trainer import Counters, Trainer

STATE = "state"
# Settings that a resumed run may change without becoming another run.
FREE = (
    *("resume", "keep_checkpoints", "trackers", "output", "steps"),
    *("push_to_hub", "private", "hub_revision", "push_every"),
)


def folder_of(run: Path) -> Path:
    """Where a run keeps its checkpoints."""
    return run / "checkpoints"


def newest(run: Path) -> Path:
    """Find the newest checkpoint of a run; `TrainingError` where there is none."""
    found = sorted(folder_of(run).glob("step-*"))
    if not found:
        raise TrainingError(f"nothing to resume in {run}: it has no checkpoint; leave --resume out to start")
    return found[-1]


def save(trainer: Trainer, run: Path, records: list[dict[str, Any]], metadata: dict[str, str]) -> Path:
    """Write a checkpoint of the present state and delete the oldest beyond `keep_checkpoints`; main process only.

    A full disk raises `TrainingError` and leaves the older checkpoints whole.
    """
    target = folder_of(run) / f"step-{trainer.counters.step:06d}"
    aside = folder_of(run) / f".{target.name}"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        aside.mkdir(parents=True)
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.accelerator.unwrap_model(trainer.discriminator).save_pretrained(aside, metadata=metadata)
        save_file(_tensors(trainer), aside / f"{STATE}.safetensors")
        facts = {
            "config": {key: _plain(value) for key, value in dataclasses.asdict(trainer.config).items()},
            "counters": dataclasses.asdict(trainer.counters),
            "regularization_weight": trainer.regularization_weight,
            "records": records,
        }
        (aside / f"{STATE}.json").write_text(json.dumps(facts, indent=1) + "\n")
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full: free some space" if full else str(error)
        raise TrainingError(f"cannot write the checkpoint {target} ({reason}); the older ones are whole") from error
    for old in sorted(folder_of(run).glob("step-*"))[: -trainer.config.keep_checkpoints]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def precision(checkpoint: Path) -> str:
    """Tell which precision a checkpoint was trained in: what is fastest may be another the next time."""
    return str(_facts(checkpoint)["config"]["mixed_precision"])


def restore(trainer: Trainer, checkpoint: Path) -> list[dict[str, Any]]:
    """Take up a checkpoint and give its records; `TrainingError` where it is broken or of other settings."""
    facts = _facts(checkpoint)
    try:
        tensors = load_file(checkpoint / f"{STATE}.safetensors")
    except (OSError, SafetensorError) as error:
        raise TrainingError(_BROKEN.format(checkpoint, error)) from error
    now = {key: _plain(value) for key, value in dataclasses.asdict(trainer.config).items()}
    changed = sorted(key for key in now if key not in FREE and now[key] != facts["config"].get(key))
    if changed:
        told = ", ".join(f"{key} {facts['config'].get(key)!r} → {now[key]!r}" for key in changed)
        raise TrainingError(f"checkpoint {checkpoint} was made with other settings ({told}): resume with the same")
    _load(trainer, tensors, checkpoint)
    trainer.counters = Counters(**facts["counters"])
    trainer.regularization_weight = facts["regularization_weight"]
    records: list[dict[str, Any]] = facts["records"]
    return records


_BROKEN = "checkpoint {} cannot be read ({}): delete it, and the one before is resumed"


def _facts(checkpoint: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((checkpoint / f"{STATE}.json").read_text())
    except (OSError, ValueError) as error:
        raise TrainingError(_BROKEN.format(checkpoint, error)) from error
    return facts


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    networks = {"refiner": trainer.refiner, "discriminator": trainer.discriminator, "average": trainer.average}
    tensors: dict[str, Tensor] = {}
    for name, network in networks.items():
        for key, value in trainer.accelerator.unwrap_model(network).state_dict().items():
            tensors[f"{name}/{key}"] = value
    for name, optimizer in _optimizers(trainer).items():
        for index, moments in optimizer.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"{name}/{index}/{key}"] = value
    if trainer.history is not None:
        tensors["history"] = torch.from_numpy(trainer.history.state())
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _optimizers(trainer: Trainer) -> dict[str, Any]:
    return {"adam-refiner": trainer.refiner_optimizer, "adam-discriminator": trainer.discriminator_optimizer}


def _load(trainer: Trainer, tensors: dict[str, Tensor], checkpoint: Path) -> None:
    networks = {"refiner": trainer.refiner, "discriminator": trainer.discriminator, "average": trainer.average}
    for name, network in networks.items():
        own = {key.split("/", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{name}/")}
        try:
            trainer.accelerator.unwrap_model(network).load_state_dict(own, strict=True)
        except RuntimeError as error:
            raise TrainingError(f"checkpoint {checkpoint} is of another {name} than the preset's") from error
    for name, optimizer in _optimizers(trainer).items():
        state = optimizer.state_dict()
        state["state"] = {}
        for key, value in tensors.items():
            if key.startswith(f"{name}/"):
                _, index, moment = key.split("/")
                state["state"].setdefault(int(index), {})[moment] = value
        optimizer.load_state_dict(state)
    if "history" in tensors:
        trainer.restore_history(tensors["history"].numpy())
