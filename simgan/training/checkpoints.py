"""Checkpoints: complete, written aside and renamed, the last few kept; a resumed run goes on bit for bit.

A checkpoint is a model folder that `from_pretrained` reads (the averaged refiner and the discriminator), with all else
that training needs beside it: `state.safetensors` (weights being trained, Adam's moments, the history) and `state.json`
(settings, counters, λ, measures so far). No random generator is in it, as every draw follows from the counters.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from simgan.errors import TrainingError, reason
from simgan.training.step import Counters, Trainer

STATE = "state"
BEST = ".best"  # where the refiner for the run's root is written aside
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
    target = folder_of(run) / _name(trainer.counters)
    if target.is_dir():  # of the same counters, hence the same state
        return target
    aside = folder_of(run) / f".{target.name}"
    for half in [*folder_of(run).glob(".step-*"), run / BEST]:  # of a run that was killed while it wrote
        shutil.rmtree(half, ignore_errors=True)
    with writing(f"checkpoint {target}", aside):
        aside.mkdir(parents=True)
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.accelerator.unwrap_model(trainer.discriminator).save_pretrained(aside, metadata=metadata)
        save_file(_tensors(trainer), aside / f"{STATE}.safetensors")
        scaler = trainer.accelerator.scaler  # of the gradients in fp16
        facts = {
            "config": {key: _plain(value) for key, value in dataclasses.asdict(trainer.config).items()},
            "counters": dataclasses.asdict(trainer.counters),
            "regularization_weight": trainer.regularization_weight,
            "records": records,
            "scaler": scaler.state_dict() if scaler else None,
        }
        (aside / f"{STATE}.json").write_text(json.dumps(facts, indent=1) + "\n")
        aside.rename(target)
    for old in sorted(folder_of(run).glob("step-*"))[: -trainer.config.keep_checkpoints]:
        shutil.rmtree(old, ignore_errors=True)
    return target


@contextmanager
def writing(what: str, aside: Path | None = None) -> Iterator[None]:
    """Write within this: what a full disk or a missing permission raises becomes a `TrainingError`.

    A folder `aside` that is written to is gone afterwards, however it ends.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{what} cannot be written ({reason(error)}); older checkpoints are whole") from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def keep(trainer: Trainer, run: Path, metadata: dict[str, str]) -> None:
    """Make the present refiner and its discriminator those at the run's root.

    Both are written aside before either is renamed, so that they belong together also where the disk is full.
    """
    aside = run / BEST
    shutil.rmtree(aside, ignore_errors=True)
    with writing(f"the best refiner in {run}", aside):
        trainer.average.save_pretrained(aside, metadata=metadata)
        trainer.accelerator.unwrap_model(trainer.discriminator).save_pretrained(aside, metadata=metadata)
        for file in [path for path in aside.rglob("*") if path.is_file()]:
            place = run / file.relative_to(aside)
            place.parent.mkdir(exist_ok=True)
            file.replace(place)


def _name(counters: Counters) -> str:
    """Name a checkpoint by how far the run was; names sort as runs go on."""
    if counters.step:
        return f"step-{counters.step:06d}"
    return f"step-000000-warm-up-{counters.refiner_warm_up + counters.discriminator_warm_up:06d}"


def precision(checkpoint: Path) -> str:
    """Tell which precision a checkpoint was trained in: what is fastest may be another the next time."""
    return str(_facts(checkpoint)["config"].get("mixed_precision"))


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
    try:
        trainer.counters = Counters(**facts["counters"])
        trainer.regularization_weight = float(facts["regularization_weight"])
        if trainer.accelerator.scaler and facts["scaler"]:
            trainer.accelerator.scaler.load_state_dict(facts["scaler"])
        records: list[dict[str, Any]] = facts["records"]
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(_BROKEN.format(checkpoint, error)) from error
    return records


_BROKEN = "checkpoint {} cannot be read ({}): delete it, and the one before is resumed"


def _facts(checkpoint: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads((checkpoint / f"{STATE}.json").read_text())
        dict(facts["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
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
