"""What a report is made of: runs, results of `simgan evaluate`, and ablations, as plain JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simgan.errors import ConfigError, SourceError
from simgan.experiments.files import reading
from simgan.hub.cards.records import Records, read_records, without_places
from simgan.hub.loading import local_folder

GIVE = "the folder of a run, a shipped model, a JSON of `simgan evaluate`, or the folder of `simgan ablate`"
KINDS = ("realism", "shift", "experiment", "ablations")  # of results, in the order of the report


@dataclass(frozen=True)
class Result:
    """What `simgan evaluate` or `simgan ablate` wrote to a JSON file; `text` is the table of an ablation."""

    name: str
    kind: str
    file: Path
    values: dict[str, Any]
    text: str = ""


def read_inputs(places: Sequence[str]) -> tuple[dict[str, Records], list[Result]]:
    """Read runs by their name, and results; `SourceError` or `ModelError` where one is missing, damaged, or neither.

    Each is named after its folder or file, with a number where two have the same name.
    """
    if not places:
        raise ConfigError(f"there is nothing to report: give {GIVE}")
    runs: dict[str, Records] = {}
    results: list[Result] = []
    seen: dict[Path, str] = {}
    for place in places:
        path = Path(place).expanduser()
        found = path if path.is_file() or (path.is_dir() and "/" in place) else local_folder(place)
        if found is None:
            raise SourceError(f"{place} does not exist: give {GIVE}")
        path = found.resolve()
        if path in seen:
            raise ConfigError(f"{place} is given twice")
        name = re.sub(r"[^\w.-]+", "-", path.stem if path.is_file() else path.name)
        name = next(
            one for one in (name, *(f"{name}-{n}" for n in range(2, len(seen) + 3))) if one not in seen.values()
        )
        seen[path] = name
        if path.is_file():
            values = _json(path)
            kind = "experiment" if "arms" in values else values.get("kind")
            if kind not in KINDS:
                raise SourceError(f"{path} is no result of `simgan evaluate`: give {GIVE}")
            results.append(Result(name, kind, path, values))
        elif (path / "config.json").is_file() or (path / "training.json").is_file():
            runs[name] = _run(path)
            results += _experiments(path, name, runs[name].words.records)
        elif (path / "ablation.json").is_file():
            results.append(_ablation(path, name))
        elif experiments := _experiments(path, name):
            results += experiments
        else:
            raise SourceError(f"{place} is no run and holds no results: give {GIVE}")
    return runs, results


def _run(folder: Path) -> Records:
    _check_files(folder, "training.json", "metrics.jsonl")
    records = read_records(folder)
    if not records.best:
        raise SourceError(f"{folder}: metrics.jsonl has no measure of step {records.step}, whose weights are there")
    return records


def _experiments(folder: Path, name: str, expected: str = "") -> list[Result]:
    """Return the results of the experiments in a folder; the file `expected` must be one, where it is there."""
    found = {file: _json(file) for file in sorted(folder.glob("*.json"))}
    return [
        Result(f"{name}-{file.stem}", "experiment", file, values)
        for file, values in found.items()
        if "arms" in values or file.name == expected
    ]


def _ablation(folder: Path, name: str) -> Result:
    _check_files(folder, "ablation.md", "frontier.png")
    lines = (folder / "ablation.md").read_text().replace(str(folder), name).splitlines()
    text = "\n".join(line for line in lines if not line.startswith(("#", "![")))
    file = folder / "ablation.json"
    return Result(name, "ablations", file, json.loads(json.dumps(_json(file)).replace(str(folder), name)), text.strip())


def _check_files(folder: Path, *files: str) -> None:
    for file in files:
        if not (folder / file).is_file():
            raise SourceError(f"{folder} holds no {file}: give the folder as training or `simgan ablate` left it")


def _json(file: Path) -> dict[str, Any]:
    """Read an object of JSON; its sources are named without folders of this machine."""
    with reading(file):
        return dict(without_places(json.loads(file.read_text())))
