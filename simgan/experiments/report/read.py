"""What a report is made of: runs, results of `simgan evaluate`, and ablations.

Results stay plain JSON. What is missing or damaged in one is a `SourceError` that names the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from simgan.errors import ConfigError, SourceError
from simgan.hub.cards.records import Records, read_records, without_places
from simgan.hub.loading import local_folder

GIVE = "the folder of a run, a shipped model, a JSON of `simgan evaluate`, or the folder of `simgan ablate`"
MEASURES = ("realism", "shift")  # kinds of results, beside experiments and ablations


@dataclass(frozen=True)
class Result:
    """What `simgan evaluate` or `simgan ablate` wrote to a JSON file; an ablation comes with its text and pictures."""

    name: str
    kind: str  # realism, shift, experiment or ablation
    file: Path
    values: dict[str, Any]
    text: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)  # by their path in the report


def read_inputs(places: Sequence[str]) -> tuple[dict[str, Records], list[Result]]:
    """Read runs by their name, and results; `SourceError` or `ModelError` where one is missing, damaged, or neither.

    Each is named after its folder or file, with a number where two have the same name.
    """
    if not places:
        raise ConfigError(f"there is nothing to report: give {GIVE}")
    runs: dict[str, Records] = {}
    results: list[Result] = []
    names, seen = set[str](), set[Path]()
    for place in places:
        path = _find(place)
        if path.resolve() in seen:
            raise ConfigError(f"{place} is given twice")
        seen.add(path.resolve())
        name = re.sub(r"[^\w.-]+", "-", path.resolve().stem if path.is_file() else path.resolve().name)
        name = next(one for one in (name, *(f"{name}-{n}" for n in range(2, len(names) + 3))) if one not in names)
        names.add(name)
        if path.is_file():
            results.append(_result(path, name))
        elif (path / "config.json").is_file() or (path / "training.json").is_file():
            runs[name] = _run(path)
            results += _experiments(path, name, runs[name].words.records)
        elif (path / "ablation.json").is_file():
            results.append(_ablation(path, name))
        elif found := _experiments(path, name):
            results += found
        else:
            raise SourceError(f"{place} is no run and holds no results: give {GIVE}")
    return runs, results


def _find(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_file() or (path.is_dir() and "/" in place):
        return path
    found = None if "/" in place else local_folder(place)
    if found is None:
        raise SourceError(f"{place} does not exist: give {GIVE}")
    return found


def _check_files(folder: Path, files: Sequence[str], remedy: str) -> None:
    for file in files:
        if not (folder / file).is_file():
            raise SourceError(f"{folder} holds no {file}: {remedy}")


def _run(folder: Path) -> Records:
    _check_files(folder, ("training.json", "metrics.jsonl"), "give the folder of a run as training left it")
    records = read_records(folder)
    if not records.best:
        raise SourceError(f"{folder}: metrics.jsonl has no measure of step {records.step}, whose weights are there")
    return records


def _result(file: Path, name: str) -> Result:
    values = _json(file)
    kind = "experiment" if "arms" in values else values.get("kind")
    if kind not in (*MEASURES, "experiment"):
        raise SourceError(f"{file} is no result of `simgan evaluate`: give {GIVE}")
    if kind in MEASURES and "measured_on" not in values:
        raise SourceError(f"{file} lacks 'measured_on': measure again with this simgan")
    return Result(name, kind, file, values)


def _experiments(folder: Path, name: str, expected: str = "") -> list[Result]:
    """Return the results of the experiments in a folder; the file `expected` must be one, where it is there."""
    found = {file: _json(file) for file in sorted(folder.glob("*.json"))}
    return [
        Result(f"{name}-{file.stem}", "experiment", file, values)
        for file, values in found.items()
        if "arms" in values or file.name == expected
    ]


def _ablation(folder: Path, name: str) -> Result:
    _check_files(folder, ("ablation.md", "frontier.png"), "run `simgan ablate` again, which goes on where it was")
    lines = (folder / "ablation.md").read_text().replace(str(folder), name).splitlines()
    text = "\n".join(line for line in lines if not line.startswith(("#", "!["))).strip()
    pictures = {one: folder / f"{one}.png" for one in ("frontier", "history", "local")}
    found = {f"figures/{name}-{one}.png": file.read_bytes() for one, file in pictures.items() if file.is_file()}
    shown = [f"![Ablation {name}: {path.removesuffix('.png').rpartition('-')[2]}]({path})" for path in found]
    file = folder / "ablation.json"
    values = json.loads(json.dumps(_json(file)).replace(str(folder), name))
    return Result(name, "ablation", file, values, "\n\n".join([text, *shown]), found)


def _json(file: Path) -> dict[str, Any]:
    """Read an object of JSON; its sources are named without folders of this machine."""
    with reading(file):
        return dict(without_places(json.loads(file.read_text())))


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever a missing or unexpected value of a file raises into a `SourceError` that names the file."""
    try:
        yield
    except SourceError:
        raise
    except KeyError as error:
        raise SourceError(f"{file} lacks {error}: it was not written by this simgan, write it again") from error
    except (OSError, ValueError, TypeError, IndexError, AttributeError, TemplateError) as error:
        raise SourceError(f"{file} is damaged ({error}): write it again") from error
