"""The folder of a report: text, figures, settings and records, written aside and renamed.

The same inputs on the same machine give the same bytes.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.files import as_json
from simgan.experiments.report.figures import draw_differences, draw_means, draw_strip, name_difference
from simgan.experiments.report.hardware import machine, versions
from simgan.experiments.report.read import MEASURES, Inputs, Result, Run, read_inputs, reading
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import environment, eval_results
from simgan.hub.cards.records import ABOUT_THE_RUN

MARK = "simgan_report"  # the key of report.json by which a report is recognized
SEEDS = (*ABOUT_THE_RUN, "seed", "keep_checkpoints", "trackers")  # settings in which runs of one recipe may differ


def write_report(places: Sequence[str], output: Path) -> None:
    """Write a report of runs and results (see `simgan.experiments.report.read`) to the folder `output`.

    A report there is replaced when the new one is complete. `ConfigError` where the folder holds something else,
    `SourceError` where it cannot be written.
    """
    if not _is_replaceable(output):
        raise ConfigError(f"{output} exists and is not a report: give another --output")
    files = render_report(read_inputs(places))
    aside, old = (output.with_name(f".{output.name}.{word}") for word in ("part", "old"))
    try:
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)
        for name, content in files.items():
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_bytes(content)
        if output.is_dir():
            output.rename(old)
        aside.rename(output)
    except OSError as error:
        if old.is_dir() and not output.exists():
            old.rename(output)
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
    finally:
        for left in (aside, old):
            shutil.rmtree(left, ignore_errors=True)


def render_report(inputs: Inputs) -> dict[str, bytes]:
    """Return the files of a report by their paths in its folder."""
    files: dict[str, bytes] = {}
    templates = environment([Path(__file__).parent])
    templates.filters |= {"figure": _figure, "interval": _interval}
    templates.globals["name_difference"] = name_difference
    sections: dict[str, list[str]] = {kind: [] for kind in (*MEASURES, "experiment")}
    for result in inputs.results:
        with reading(result.file):
            pictures = _draw(result) if result.kind == "experiment" else {}
            files |= pictures
            section = templates.get_template(f"{result.kind}.md.jinja")
            sections[result.kind].append(section.render(name=result.name, pictures=list(pictures), **result.values))
    for run in inputs.runs:
        records = run.records
        files[f"runs/{run.name}/training.json"] = as_json(records.settings)
        rows = [json.dumps(row) + "\n" for row in records.measures]
        files[f"runs/{run.name}/metrics.jsonl"] = "".join(rows).encode()
        files[f"runs/{run.name}/model-index.yaml"] = (_card_data(run).to_yaml() + "\n").encode()
        drawn = {f"figures/{run.name}-curves.png": draw_curves(records), f"samples/{run.name}.png": draw_strip(records)}
        files |= {name: content for name, content in drawn.items() if content is not None}
    for ablation in inputs.ablations:
        files |= {f"figures/{ablation.name}-{name}.png": png for name, png in ablation.pictures.items()}
    facts = {"recipes": _recipes(inputs.runs), "machine": machine(), "versions": versions()}
    files["report.json"] = as_json(_values(inputs, facts))
    template = templates.get_template("report.md.jinja")
    text = template.render(ablations=inputs.ablations, sections=sections, files=files, **facts)
    files["report.md"] = (text.rstrip() + "\n").encode()
    return files


def _draw(result: Result) -> dict[str, bytes]:
    """Return the pictures of an experiment by their paths."""
    curve = result.file.with_suffix(".png")
    pictures = {f"figures/{result.name}.png": draw_means(result.values)}
    if result.values["differences"]:
        pictures[f"figures/{result.name}-differences.png"] = draw_differences(result.values)
    if curve.is_file():
        pictures[f"figures/{result.name}-curve.png"] = curve.read_bytes()
    return pictures


def _is_replaceable(output: Path) -> bool:
    """Return whether there is nothing, an empty folder, or a report."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return not output.is_symlink()
    try:
        return MARK in json.loads((output / "report.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


def _recipes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return runs grouped by recipe: those that differ in the seed alone, with mean and standard deviation."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        settings = {key: value for key, value in run.records.settings.items() if key not in SEEDS}
        groups.setdefault(json.dumps([settings, run.records.network], sort_keys=True), []).append(run)
    recipes = []
    for group in groups.values():
        rows = [_row(run) for run in group]
        figures = pd.DataFrame(rows).drop(columns=["name", "seed", "steps"])
        recipes.append(
            {
                "runs": group,
                "words": group[0].records.words,
                "rows": rows,
                "settings": {key: value for key, value in group[0].records.settings.items() if key not in SEEDS},
                "mean": figures.mean().to_dict() if len(rows) > 1 else None,
                "spread": figures.std().to_dict() if len(rows) > 1 else None,
            }
        )
    return recipes


def _row(run: Run) -> dict[str, Any]:
    """Return the measures of the weights that a run kept: distances × 1000, the share closed in %, the shift."""
    best, settings, folder = run.records.best, run.records.settings, run.records.folder
    with reading(folder / "training.json"):
        row = {"name": run.name, "seed": settings["seed"], "step": best["step"], "steps": settings["steps"]}
    with reading(folder / "metrics.jsonl"):
        raw, refined, floor = (1000 * best[key] for key in ("realism_raw", "realism", "realism_floor"))
    return row | {
        "raw": raw,
        "refined": refined,
        "floor": floor,
        "closed": 100 * (raw - refined) / (raw - floor) if raw > floor else math.nan,
        "shift": best.get("shift", math.nan),  # it could not be measured
        "median": best.get("shift_median", math.nan),
    }


def _card_data(run: Run) -> ModelCardData:
    return ModelCardData(model_name=run.name, eval_results=eval_results(run.records))


def _values(inputs: Inputs, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything in a report for programs."""
    recipes = [
        {key: recipe[key] for key in ("settings", "rows", "mean", "spread")}
        | {
            "runs": {
                run.name: {
                    "header": dict(sorted(run.records.header.items())),  # safetensors returns them in any order
                    "network": run.records.network,
                    "parameters": run.records.parameters,
                    "measures": run.records.measures,
                    "model-index": _card_data(run).to_dict()["model-index"],
                }
                for run in recipe["runs"]
            }
        }
        for recipe in facts["recipes"]
    ]
    results = {
        kind: {result.name: result.values for result in inputs.results if result.kind == kind}
        for kind in (*MEASURES, "experiment")
    }
    head = {MARK: __version__, "machine": facts["machine"], "versions": facts["versions"], "recipes": recipes}
    return head | results | {"ablations": {ablation.name: ablation.values for ablation in inputs.ablations}}


def _figure(value: float | None, digits: int, factor: float = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"


def _interval(estimate: Mapping[str, float | None], factor: float = 1, digits: int = 2, unit: str = "") -> str:
    """Return an estimate as text: "12.3 mm (11.0 to 13.6)"."""
    value, low, high = (_figure(estimate[key], digits, factor) for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"
