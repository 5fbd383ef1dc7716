"""The records in a model's folder. Sources are named without folders of this machine, and with the terms of each."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from simgan.domains import Terms, Words, all_domains, find
from simgan.errors import ModelError, hide

# Keys of sources and folders
PLACES = ("synthetic", "real", "also", "output", "train_real", "unlabelled", "models", "model")
ABOUT_THE_RUN = ("output", "resume", "push_to_hub", "private", "hub_revision", "push_every")  # not about the model
OF_ANOTHER = ("shuffled", "first-half", "second-half")  # kinds of sources that are made of another source
GENERAL = ("classes.json", "points.json")  # results for domains that are not of one task: the first that is there
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
RENDERED = "Apache-2.0: drawn by simgan itself"
EMBEDDED = {
    "simulator": Terms("clean renders of simgan's own simulator", "apache-2.0", RENDERED),
    "camera": Terms("simgan's look-alike of a camera's images", "apache-2.0", RENDERED),
}
UNKNOWN = Terms("images of whoever trained it", "unknown", "unknown: not in the run's records")


@dataclass(frozen=True)
class Records:
    """The records of one model; what is not there is empty."""

    folder: Path
    words: Words  # of its domain; those of a task from the results where the domain is not of one
    network: dict[str, Any]  # config.json of the refiner
    header: dict[str, str]  # of its safetensors: simgan_version, preset, step, commit
    parameters: int
    settings: dict[str, Any]  # training.json, without folders of this machine
    measures: list[dict[str, Any]]  # a row for each evaluation during training, without figures that are not finite
    experiment: dict[str, Any]  # written by `simgan evaluate TASK … --output RUN`

    @property
    def sources(self) -> list[str]:
        """The sources that it was trained on, synthetic and real."""
        return [*self.settings.get("synthetic", ()), *self.settings.get("real", ())]

    @property
    def step(self) -> int | None:
        """The step of these weights; None where their header has none."""
        step = self.header.get("step", "")
        return int(step) if step.isdigit() else None

    @property
    def best(self) -> dict[str, Any]:
        """The measures of these weights; empty where there are none."""
        return next((row for row in self.measures if row["step"] == self.step), {})

    @property
    def sheets(self) -> list[Path]:
        """The sample sheets by step."""
        return sorted((self.folder / "samples").glob("step-*.png"), key=step_of)

    @property
    def sheet(self) -> Path | None:
        """The sample sheet of these weights."""
        return next((sheet for sheet in self.sheets if step_of(sheet) == self.step), None)

    def reached(self, kind: str) -> float | None:
        """Return the mean of `Words.figure` of networks trained on "raw" or "refined" images; None if not measured."""
        figures = [row[self.words.figure] for row in self.experiment.get(kind, ())]
        return sum(figures) / len(figures) if figures else None


def step_of(sheet: Path) -> int:
    """Return the step of a sample sheet or a checkpoint by its name, such as `step-000100.png`."""
    return int(re.sub(r"\D", "", sheet.stem))


def read_records(folder: Path) -> Records:
    """Read the folder of a model; `ModelError` where it holds no refiner, or a record cannot be read."""
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
        settings = without_places(_json(folder / "training.json"))
        words = find(network["domain"]).words
        names = [words.records] if words.task else [name for name in GENERAL if (folder / name).is_file()]
        experiment = without_places(_json(folder / names[0])) if names else {}
        if experiment and not words.task:
            words = _with_task(words, experiment["task"])
        measures = _measures(folder / "metrics.jsonl")
        return Records(folder, words, network, header, parameters, settings, measures, experiment)
    except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
        raise ModelError(f"the records in {folder} cannot be read: {error}") from error


def _with_task(words: Words, task: dict[str, Any]) -> Words:
    """Return words that tell of a task, as its results describe it."""
    first, labels = task["columns"][0], task["axis"].partition(",")[0].capitalize()
    named = {"task": task["name"], "networks": "networks", "labels": labels, "figure": first["key"]}
    return replace(words, **named, metric=labels.lower().replace(" ", "-"), scale=first["factor"], sign=task["unit"])


def without_places(values: Any, is_place: bool = False) -> Any:
    """Return records (of JSON) with their sources and folders named without folders of this machine, no secrets."""
    if isinstance(values, list):
        return [without_places(value, is_place) for value in values]
    if isinstance(values, dict):
        return {key: without_places(value, key in PLACES) for key, value in values.items()}
    if isinstance(values, str):
        return name_source(hide(values)) if is_place else hide(values)
    return values


def _json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _measures(file: Path) -> list[dict[str, Any]]:
    """Return the rows of measures; the last line may be cut off, where a run was killed."""
    measures = []
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number < len(lines):
                raise ValueError(f"line {number} of {file.name} is damaged") from error
            break
        if "realism_raw" in row:
            measures.append({key: value for key, value in row.items() if value is not None and math.isfinite(value)})
    return measures


def name_source(source: str) -> str:
    """Return a source without its folder on this machine: `mpiigaze:/home/me/MPIIGaze` → `mpiigaze:MPIIGaze`."""
    outer, _, inner = source.partition(":")
    if outer in OF_ANOTHER:
        return f"{outer}:{name_source(inner)}"
    kind, place = _split(source)
    if kind in EMBEDDED or _is_id(kind, place):
        return source
    path, at, split = place.partition("@") if kind and kind != "folder" else (place, "", "")
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    if last in ("", ".", "..", "~"):
        last = "folder"
    return f"{kind}:{last}{at}{split}" if kind else last


def terms(source: str) -> Terms:
    """Return the terms of a source; those of folders are unknown, those of repositories on their pages."""
    kind, place = _split(source)
    if _is_id(kind, place):
        return Terms(f"{place} on the Hub", "unknown", "unknown: see its page")
    return (EMBEDDED | _data_sets()).get(kind, UNKNOWN)


def licence(sources: Sequence[str]) -> dict[str, str]:
    """Return `license` (and `license_name`) of a model trained on the sources; "unknown" where one of them is."""
    found = {terms(source).licence for source in sources} or {"unknown"}
    restricted = ["unknown"] if "unknown" in found else sorted(found - {"apache-2.0"}) or ["apache-2.0"]
    if len(restricted) == 1 and restricted[0] != "research":
        return {"license": restricted[0]}
    return {"license": "other", "license_name": "-and-".join(restricted)}


def datasets(sources: Sequence[str]) -> list[str]:
    """Return the data sets among the sources: ids on the Hub, and kinds that a domain has the terms of."""
    split = [_split(source) for source in sources]
    names = [place.partition("@")[0] if _is_id(kind, place) else kind for kind, place in split]
    known = _data_sets()
    return list(dict.fromkeys(name for name in names if "/" in name or name in known))


def _split(source: str) -> tuple[str, str]:
    """Return the kind of a source, "" where it has none, and the rest; of one that is made of another, the other's."""
    kind, colon, place = source.partition(":")
    if kind in OF_ANOTHER:
        return _split(place)
    return (kind, place) if colon and kind in ("hub", "folder", *EMBEDDED, *_data_sets()) else ("", source)


def _is_id(kind: str, place: str) -> bool:
    return kind == "hub" and HUB_ID.fullmatch(place) is not None


def _data_sets() -> dict[str, Terms]:
    """Return the terms of the data sets that domains know, by the kind of source."""
    return {kind: terms for domain in all_domains() for kind, terms in domain.terms.items()}
