"""What a report is made of: runs, and what `simgan evaluate` and `simgan ablate` wrote, read strictly.

What is missing or damaged is a `SourceError` that names the file and the remedy, before anything is written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simgan.errors import ConfigError, SourceError
from simgan.hub.cards.records import PLACES, Records, read_records
from simgan.hub.cards.terms import name_source
from simgan.hub.loading import local_folder
from simgan.measures.statistics import Estimate

NEEDED = ("step", "realism", "realism_raw", "realism_floor", "shift", "shift_median")  # of each measure of a run
GIVE = "the folder of a run, a shipped model, a JSON of `simgan evaluate`, or the folder of `simgan ablate`"
PICTURES = ("frontier", "history", "local")  # of an ablation


@dataclass(frozen=True)
class Run:
    """A run or a model with its records; all that a report tells of it is in them."""

    name: str
    records: Records


@dataclass(frozen=True)
class Measured:
    """Realism or annotation shift as `simgan evaluate` wrote it, with what it was measured on."""

    name: str
    figures: dict[str, Any]
    on: dict[str, Any]


@dataclass(frozen=True)
class Column:
    """A figure of an experiment's arms: its key, its heading, and the factor and digits that it is told with."""

    key: str
    heading: str
    scale: float
    digits: int


@dataclass(frozen=True)
class Task:
    """What networks of an experiment estimate; the first column is what arms are compared by, and told of each seed."""

    name: str
    title: str
    columns: tuple[Column, ...]
    axis: str  # of figures
    less_is_better: bool
    distance: str  # of the curve of shares


TASKS = (
    Task(
        "gaze",
        "Gaze",
        (
            Column("error", "error°", 1, 2),
            Column("error_without_offset", "without offset°", 1, 2),
            Column("share_within_7_degrees", "within 7°, %", 100, 0),
        ),
        axis="gaze error, degrees",
        less_is_better=True,
        distance="test images within d degrees",
    ),
    Task(
        "hands",
        "Hands",
        (
            Column("share_within_5px", "within 5 px, %", 100, 1),
            Column("error", "error px", 1, 2),
            Column("error_mm", "error mm", 1, 2),
        ),
        axis="joints within 5 px, %",
        less_is_better=False,
        distance="joints within d px",
    ),
)


@dataclass(frozen=True)
class Arm:
    """An arm of an experiment: what its task has as columns, and the first of them for each seed."""

    name: str
    images: int
    figures: list[Estimate]
    seeds: list[float]


@dataclass(frozen=True)
class Difference:
    """The first column of one arm less another's, paired; `tuned` tells what both went on with, or nothing."""

    name: str
    tuned: str
    figure: Estimate


@dataclass(frozen=True)
class Experiment:
    """Arms on one task; `curve` is the PNG drawn with it, `guessing` the first column of always the mean label."""

    name: str
    task: Task
    figures: dict[str, Any]
    arms: list[Arm]
    differences: list[Difference]
    guessing: float | None
    curve: bytes | None


@dataclass(frozen=True)
class Ablation:
    """An ablation: its figures, the text of its report, and its pictures by name, frontier first."""

    name: str
    figures: dict[str, Any]
    text: str
    pictures: dict[str, bytes]


@dataclass
class Inputs:
    """All that one report tells, in the order given."""

    runs: list[Run] = field(default_factory=list)
    realism: list[Measured] = field(default_factory=list)
    shift: list[Measured] = field(default_factory=list)
    experiments: list[Experiment] = field(default_factory=list)
    ablations: list[Ablation] = field(default_factory=list)


def read_inputs(places: Sequence[str]) -> Inputs:
    """Read runs and results; `SourceError` or `ModelError` where one is missing, damaged, or neither.

    Each gets a name of its own: that of its folder or file, numbered where two are called alike.
    """
    if not places:
        raise ConfigError(f"there is nothing to report: give {GIVE}")
    inputs, names, seen = Inputs(), set[str](), set[Path]()
    for place in places:
        path = _path(place)
        if path.resolve() in seen:
            raise ConfigError(f"{place} is given twice")
        seen.add(path.resolve())
        name = _unused(re.sub(r"[^\w.-]+", "-", path.resolve().stem if path.is_file() else path.resolve().name), names)
        if path.is_file():
            _add_file(inputs, path, name)
        elif (path / "config.json").is_file() or (path / "training.json").is_file():
            inputs.runs.append(_run(path, name))
            inputs.experiments += [_experiment(path / f"{task.name}.json", name, task) for task in _tasks(path)]
        elif (path / "ablation.json").is_file():
            inputs.ablations.append(_ablation(path, name))
        elif tasks := _tasks(path):
            inputs.experiments += [_experiment(path / f"{task.name}.json", name, task) for task in tasks]
        else:
            raise SourceError(f"{place} is no run and holds no results: give {GIVE}")
    return inputs


def _path(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_file():
        return path
    found = path if path.is_dir() and "/" in place else local_folder(place) if place.count("/") == 0 else None
    if found is None:
        raise SourceError(f"{place} does not exist: give {GIVE}")
    return found


def _unused(name: str, names: set[str]) -> str:
    numbered = (name if number == 1 else f"{name}-{number}" for number in range(1, len(names) + 2))
    chosen = next(one for one in numbered if one not in names)
    names.add(chosen)
    return chosen


def _run(folder: Path, name: str) -> Run:
    for file, remedy in (("training.json", "train it again"), ("metrics.jsonl", "train it again")):
        if not (folder / file).is_file():
            raise SourceError(f"{folder} holds no {file}, which a run leaves: give the folder of a run, or {remedy}")
    _check_metrics(folder / "metrics.jsonl")
    records = read_records(folder)
    with _reading(folder / "training.json"):
        records.settings["seed"], records.settings["steps"]
    if not records.best:
        told = "its weights do not tell" if records.step is None else f"metrics.jsonl has no measure of {records.step},"
        raise SourceError(f"{folder}: {told} the step that was kept: give a run as training left it")
    return Run(name, records)


def _check_metrics(file: Path) -> None:
    """Refuse broken lines but for the last, which is cut off where a run was killed."""
    lines = file.read_text(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            numbers = all(isinstance(value, int | float) for value in row.values())
        except (ValueError, AttributeError) as error:
            if number == len(lines) and number > 1:
                return
            raise SourceError(f"line {number} of {file} is damaged: resume the run, or mend the line") from error
        missing = [key for key in NEEDED if key not in row] if "realism_raw" in row else []
        if missing or not numbers or "step" not in row:
            what = f"lacks {', '.join(missing) or 'the step'}" if numbers else "holds something that is no number"
            raise SourceError(f"line {number} of {file} {what}: give the file as training wrote it")


def _add_file(inputs: Inputs, file: Path, name: str) -> None:
    values = _json(file)
    if "arms" in values:
        inputs.experiments.append(_experiment(file, name, _task(file, values)))
    elif values.get("kind") in ("realism", "shift"):
        with _reading(file):
            values["rows"] if values["kind"] == "realism" else values["median"]
            kept = inputs.realism if values["kind"] == "realism" else inputs.shift
            kept.append(Measured(name, values, _measured_on(file, values)))
    else:
        raise SourceError(f"{file} is no result of `simgan evaluate`: give {GIVE}")


def _measured_on(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    if "measured_on" not in values:
        raise SourceError(f"{file} does not tell what it was measured on: measure again with this simgan")
    told: dict[str, Any] = without_places(values["measured_on"])
    for key in ("model", "synthetic", "limit", "seed", "simgan_version"):
        told[key]  # a KeyError tells which is missing
    return told


def _tasks(folder: Path) -> list[Task]:
    return [task for task in TASKS if (folder / f"{task.name}.json").is_file()]


def _task(file: Path, values: dict[str, Any]) -> Task:
    """Which experiment a file is of: the one whose columns its arms have."""
    with _reading(file):
        arm = values["arms"][0]
        return next((task for task in TASKS if task.columns[-1].key in arm), TASKS[0])


def _experiment(file: Path, name: str, task: Task) -> Experiment:
    values, first = _json(file), task.columns[0]
    with _reading(file):
        arms = [
            Arm(
                str(row["trained_on"]),
                int(row["images"]),
                [_estimate(row[column.key], column.scale) for column in task.columns],
                [first.scale * float(seed[first.key]) for seed in row["seeds"]],
            )
            for row in values["arms"]
        ]
        differences = [
            _difference(row["first"], row["second"], _estimate(row[first.key], first.scale))
            for row in values["differences"]
        ]
        for key in ("synthetic", "real", "test_images", "resampled", "settings"):
            values[key]
        guessing = values["arms"][0]["seeds"][0].get("guessing")
        curve = file.with_suffix(".png")
        return Experiment(
            name=name,
            task=task,
            figures=without_places(values),
            arms=arms,
            differences=differences,
            guessing=None if guessing is None else float(guessing),
            curve=curve.read_bytes() if curve.is_file() else None,
        )


def _difference(first: str, second: str, figure: Estimate) -> Difference:
    (one, _, tuned), (other, _, too) = (name.partition(", then ") for name in (first, second))
    if tuned != too:
        return Difference(f"{first} − {second}", "", figure)
    return Difference(f"{one} − {other}", f"both then {tuned}" if tuned else "", figure)


def _ablation(folder: Path, name: str) -> Ablation:
    for file in ("ablation.md", "frontier.png"):
        if not (folder / file).is_file():
            raise SourceError(f"{folder} holds no {file}: run `simgan ablate` again, which goes on where it was")
    figures, text = (_read(folder / f"ablation.{kind}").replace(str(folder), name) for kind in ("json", "md"))
    lines = [line for line in text.splitlines() if not line.startswith(("#", "!["))]
    pictures = {one: folder / f"{one}.png" for one in PICTURES}
    found = {one: file.read_bytes() for one, file in pictures.items() if file.is_file()}
    with _reading(folder / "ablation.json"):
        return Ablation(name, without_places(dict(json.loads(figures))), "\n".join(lines).strip(), found)


def without_places(values: Any) -> Any:
    """Name every source and folder in a result without telling where it lies on this machine."""
    if isinstance(values, list):
        return [without_places(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {key: _shown(value) if key in (*PLACES, "model") else without_places(value) for key, value in values.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return name_source(value) if isinstance(value, str) else without_places(value)


def _json(file: Path) -> dict[str, Any]:
    text = _read(file)
    with _reading(file):
        return dict(json.loads(text))


def _read(file: Path) -> str:
    with _reading(file):
        return file.read_text()


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise SourceError(f"{file} lacks {error}: it was not written by this simgan, write it again") from error
    except (OSError, ValueError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{file} is damaged ({error}): write it again") from error


def _estimate(values: dict[str, Any], scale: float = 1) -> Estimate:
    return _scaled([values[key] for key in ("value", "low", "high")], scale)


def _scaled(values: Sequence[Any], scale: float) -> Estimate:
    value, low, high = (scale * (math.nan if one is None else float(one)) for one in values)
    return Estimate(value, low, high)
