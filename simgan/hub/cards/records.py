"""What a model's folder tells about its training: settings, measures, sample sheets, and the weights' own header."""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simgan.domains import Words, find
from simgan.errors import ModelError
from simgan.hub.cards.terms import shown

PLACES = ("synthetic", "real", "output", "train_real", "models")  # settings that name a place on the machine
ABOUT_THE_RUN = ("output", "resume", "push_to_hub", "private", "hub_revision", "push_every")  # not about the model


@dataclass(frozen=True)
class Records:
    """The records of one model; what is not there is empty."""

    folder: Path
    network: dict[str, Any]  # config.json of the refiner
    header: dict[str, str]  # of its safetensors: simgan_version, preset, step, commit
    parameters: int
    settings: dict[str, Any]  # training.json, without this machine's paths
    measures: list[dict[str, Any]]  # a row for every time that it was measured in training; figures that are numbers
    experiment: dict[str, Any]  # gaze.json or hands.json: what `simgan evaluate … --output RUN` wrote

    @property
    def words(self) -> Words:
        """What is said of its domain."""
        return find(self.network["domain"]).words

    @property
    def sources(self) -> list[str]:
        """Names of what it was trained on, both sides."""
        return [*self.settings.get("synthetic", ()), *self.settings.get("real", ())]

    @property
    def step(self) -> int | None:
        """The step whose weights these are."""
        step = self.header.get("step", "")
        return int(step) if step.isdigit() else None

    @property
    def best(self) -> dict[str, Any]:
        """What was measured of these weights."""
        return next((row for row in self.measures if row["step"] == self.step), {})

    @property
    def sheets(self) -> list[Path]:
        """Sample sheets in the order of their steps."""
        return sorted((self.folder / "samples").glob("step-*.png"))

    @property
    def sheet(self) -> Path | None:
        """The sheet of these weights."""
        return next((s for s in self.sheets if int(re.sub(r"\D", "", s.stem)) == self.step), None)

    def reached(self, kind: str) -> float | None:
        """Mean figure over the seeds (see `Words.figure`) of networks trained on "raw" or on "refined" images."""
        figures = [row[self.words.figure] for row in self.experiment.get(kind, ())]
        return sum(figures) / len(figures) if figures else None


def read_records(folder: Path) -> Records:
    """Read what lies in a model's folder; `ModelError` where it holds no refiner, or a record cannot be read."""
    from safetensors import SafetensorError, safe_open

    for file in ("config.json", "model.safetensors"):
        if not (folder / file).is_file():
            raise ModelError(f"{folder} holds no {file} of a simgan refiner: give the folder of a run or of a model")
    try:
        with safe_open(folder / "model.safetensors", "np") as weights:
            header = weights.metadata() or {}
            parameters = sum(math.prod(weights.get_slice(key).get_shape()) for key in weights.keys())  # noqa: SIM118
        network = _json(folder / "config.json")
        if network.get("model_type") != "simgan-refiner":
            raise ModelError(f"{folder} is not of a simgan refiner: its model_type is {network.get('model_type')!r}")
        return Records(
            folder=folder,
            network=network,
            header=header,
            parameters=parameters,
            settings=without_places(_json(folder / "training.json")),
            measures=_measures(folder / "metrics.jsonl"),
            experiment=without_places(_json(folder / find(network["domain"]).words.records)),
        )
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"the records in {folder} cannot be read: {error}") from error


def without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Name sources and folders without telling where they lie on this machine."""
    told = dict(settings)
    for key in PLACES:
        value = told.get(key)
        if isinstance(value, str):
            told[key] = shown(value)
        elif value is not None:
            told[key] = [shown(source) for source in value]
    return told


def _json(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return values


def _measures(file: Path) -> list[dict[str, Any]]:
    rows = []
    for line in file.read_text().splitlines() if file.is_file() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:  # the line that was being written when the run was killed
            continue
    measures = [row for row in rows if "realism_raw" in row]
    return [{key: value for key, value in row.items() if math.isfinite(value)} for row in measures]
