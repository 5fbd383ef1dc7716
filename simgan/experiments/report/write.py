"""A report of runs, results and ablations: a folder, with the same bytes for the same inputs on the same machine."""

import importlib.metadata
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
from huggingface_hub import ModelCardData

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.files import as_json, reading
from simgan.experiments.report.figures import draw_differences, draw_means, draw_strip, main_columns, name_difference
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import environment, eval_results
from simgan.hub.cards.records import ABOUT_THE_RUN, Records, read_records, without_places
from simgan.hub.loading import local_folder
from simgan.runtime import count_cores

GIVE = "the folder of a run, a shipped model, a JSON of `simgan evaluate`, or the folder of `simgan ablate`"
KINDS = ("realism", "shift", "experiment", "ablations")  # of results, in the order of the report
MARK = "simgan_report"  # the key of report.json by which a report is recognized
SEEDS = (*ABOUT_THE_RUN, "seed", "keep_checkpoints", "trackers")  # settings in which runs of one recipe may differ
# That decide how fast convolutions are, by their names in Linux' /proc/cpuinfo (x86, Arm).
INSTRUCTION_SETS = "avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8 asimd sve bf16 i8mm"
PACKAGES = "torch accelerate datasets huggingface_hub numpy scipy opencv-python-headless pillow matplotlib"


@dataclass(frozen=True)
class Result:
    """What `simgan evaluate` or `simgan ablate` wrote to a JSON file; `text` is the table of an ablation."""

    name: str
    kind: str
    file: Path
    values: dict[str, Any]
    text: str = ""


def write_report(places: Sequence[str], output: Path) -> None:
    """Write a report to the folder `output`, all or nothing; `ConfigError` where it holds something else."""
    if not _is_replaceable(output):
        raise ConfigError(f"{output} exists and is not a report: give another --output")
    files = _render(*_read_inputs(places))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as aside:
            new, old = Path(aside) / "new", Path(aside) / "old"
            for name, content in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            if output.is_dir():
                output.rename(old)
            try:
                new.rename(output)
            except OSError:
                if old.is_dir():
                    old.rename(output)  # or it would go with `aside`
                raise
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error


def _is_replaceable(output: Path) -> bool:
    """Return whether there is nothing, an empty folder, or a report."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return not output.is_symlink()
    try:
        return MARK in json.loads((output / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _read_inputs(places: Sequence[str]) -> tuple[dict[str, Records], list[Result]]:
    """Read runs and results, each named after its folder or file; `SourceError` where one is missing or damaged."""
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
            _check_files(path, "training.json", "metrics.jsonl")
            runs[name] = records = read_records(path)
            if not records.best:
                raise SourceError(
                    f"{path}: metrics.jsonl has no measure of step {records.step}, whose weights are there"
                )
            results += _experiments(path, name, records.words.records)
        elif (path / "ablation.json").is_file():
            results.append(_ablation(path, name))
        elif experiments := _experiments(path, name):
            results += experiments
        else:
            raise SourceError(f"{place} is no run and holds no results: give {GIVE}")
    return runs, results


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
    lines = (folder / "ablation.md").read_text(encoding="utf-8").replace(str(folder), name).splitlines()
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
        return dict(without_places(json.loads(file.read_text(encoding="utf-8"))))


def _render(runs: Mapping[str, Records], results: Sequence[Result]) -> dict[str, bytes]:
    """Return the files of a report by their paths in its folder."""
    files: dict[str, bytes] = {}
    templates = environment([Path(__file__).parent])
    templates.filters |= {"figure": _figure, "interval": _interval}
    templates.globals["name_difference"] = name_difference
    sections: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for one in results:
        with reading(one.file):
            files |= (pictures := _pictures(one))
            section = templates.get_template(f"{one.kind}.md.jinja")
            sections[one.kind].append(section.render(vars(one) | {"pictures": list(pictures)} | one.values))
    told = {}
    for name, records in runs.items():
        card = ModelCardData(model_name=name, eval_results=eval_results(records))
        drawn = {f"figures/{name}-curves.png": draw_curves(records), f"samples/{name}.png": draw_strip(records)}
        files |= {
            f"runs/{name}/training.json": as_json(records.settings),
            f"runs/{name}/metrics.jsonl": "".join(json.dumps(row) + "\n" for row in records.measures).encode(),
            f"runs/{name}/model-index.yaml": (card.to_yaml() + "\n").encode(),
        } | {picture: content for picture, content in drawn.items() if content is not None}
        told[name] = {
            "header": dict(sorted(records.header.items())),  # safetensors returns them in any order
            **{key: getattr(records, key) for key in ("network", "parameters", "measures")},
            "model-index": card.to_dict()["model-index"],
        }
    recipes, facts = _recipes(runs), _facts()
    trained = [recipe | {"runs": {row["name"]: told[row["name"]] for row in recipe["rows"]}} for recipe in recipes]
    measured = {kind: {one.name: one.values for one in results if one.kind == kind} for kind in KINDS}
    files["report.json"] = as_json({MARK: __version__, **facts, "recipes": trained, **measured})
    report = templates.get_template("report.md.jinja")
    text = report.render(facts, recipes=recipes, records=runs, sections=sections, files=files)
    files["report.md"] = (text.rstrip() + "\n").encode()
    return files


def _pictures(result: Result) -> dict[str, bytes]:
    """Return the pictures of a result by their paths: those of its figures, then those beside its file."""
    drawn: dict[str, bytes] = {}
    beside: dict[str, Path] = {}
    if result.kind == "experiment":
        for number, column in enumerate(main_columns(result.values)):
            end = f"-{column['key']}" if number else ""
            drawn[end] = draw_means(result.values, column)
            if result.values["differences"]:
                drawn[f"{end}-differences"] = draw_differences(result.values, column)
        beside = {"-curve": result.file.with_suffix(".png")}
    elif result.kind == "ablations":
        beside = {f"-{name}": result.file.with_name(f"{name}.png") for name in ("frontier", "history", "local")}
    drawn |= {end: file.read_bytes() for end, file in beside.items() if file.is_file()}
    return {f"figures/{result.name}{end}.png": content for end, content in drawn.items()}


def _recipes(runs: Mapping[str, Records]) -> list[dict[str, Any]]:
    """Return runs grouped by recipe: those that differ in the seed alone, with mean and standard deviation."""
    settings = {
        name: {key: value for key, value in records.settings.items() if key not in SEEDS}
        for name, records in runs.items()
    }
    groups: dict[str, list[dict[str, Any]]] = {}
    for name, records in runs.items():
        recipe = json.dumps([settings[name], records.network], sort_keys=True)
        groups.setdefault(recipe, []).append(_row(name, records))
    recipes = []
    for rows in groups.values():
        figures = pd.DataFrame(rows).drop(columns=["name", "seed", "steps"])
        over_seeds = {"mean": figures.mean(), "spread": figures.std()}
        told = {name: values.to_dict() if len(rows) > 1 else None for name, values in over_seeds.items()}
        recipes.append({"settings": settings[rows[0]["name"]], "rows": rows} | told)
    return recipes


def _row(name: str, records: Records) -> dict[str, Any]:
    """Return the measures of the weights that a run kept: distances × 1000, the share closed in %, the shift."""
    best, settings = records.best, records.settings
    with reading(records.folder / "training.json"):
        row = {"name": name, "seed": settings["seed"], "step": best["step"], "steps": settings["steps"]}
    with reading(records.folder / "metrics.jsonl"):
        raw, refined, floor = (1000 * best[key] for key in ("realism_raw", "realism", "realism_floor"))
    closed = 100 * (raw - refined) / (raw - floor) if raw > floor else math.nan
    shifts = {"shift": best.get("shift", math.nan), "median": best.get("shift_median", math.nan)}  # not measured: NaN
    return row | {"raw": raw, "refined": refined, "floor": floor, "closed": closed} | shifts


def _figure(value: float | None, digits: int, factor: float = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"


def _interval(estimate: Mapping[str, float | None], factor: float = 1, digits: int = 2, unit: str = "") -> str:
    """Return an estimate as text: "12.3 mm (11.0 to 13.6)"."""
    value, low, high = (_figure(estimate[key], digits, factor) for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def _facts() -> dict[str, Any]:
    """Return what is known of the machine that writes the report, and the versions of what figures depend on."""
    file = Path("/proc/cpuinfo")  # not on other systems than Linux
    processor = file.read_text(encoding="utf-8") if file.is_file() else ""
    models = [line.partition(": ")[2] for line in processor.splitlines() if line.startswith("model name")]
    has_memory = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})  # not Windows
    machine = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": (models or [platform.processor()])[0] or "unknown",
        "cores": count_cores(),
        "instruction_sets": [name for name in INSTRUCTION_SETS.split() if name in processor.split()],
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
        if has_memory
        else None,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }
    versions = {"simgan": __version__, "python": platform.python_version()}
    for name in PACKAGES.split():
        with suppress(importlib.metadata.PackageNotFoundError):  # another build of OpenCV has another name
            versions[name] = importlib.metadata.version(name)
    return {"machine": machine, "versions": versions}
