"""The folder of a report: text, figures, settings and records, written aside and renamed.

The same inputs on the same machine give the same bytes.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
from huggingface_hub import ModelCardData

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.files import as_json
from simgan.experiments.report.figures import draw_differences, draw_means, draw_strip, name_difference
from simgan.experiments.report.hardware import machine, versions
from simgan.experiments.report.read import MEASURES, Result, read_inputs, reading
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import environment, eval_results
from simgan.hub.cards.records import ABOUT_THE_RUN, Records

MARK = "simgan_report"  # the key of report.json by which a report is recognized
SEEDS = (*ABOUT_THE_RUN, "seed", "keep_checkpoints", "trackers")  # settings in which runs of one recipe may differ


def write_report(places: Sequence[str], output: Path) -> None:
    """Write a report of runs and results (see `simgan.experiments.report.read`) to the folder `output`.

    A report there is replaced when the new one is complete. `ConfigError` where the folder holds something else,
    `SourceError` where it cannot be written.
    """
    if not _is_replaceable(output):
        raise ConfigError(f"{output} exists and is not a report: give another --output")
    files = render_report(*read_inputs(places))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as aside:
            new = Path(aside) / "new"
            for name, content in files.items():
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).write_bytes(content)
            if output.is_dir():
                output.rename(Path(aside) / "old")
            new.rename(output)
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error


def render_report(runs: Mapping[str, Records], results: Sequence[Result]) -> dict[str, bytes]:
    """Return the files of a report by their paths in its folder."""
    files: dict[str, bytes] = {}
    templates = environment([Path(__file__).parent])
    templates.filters |= {"figure": _figure, "interval": _interval}
    templates.globals["name_difference"] = name_difference
    sections: dict[str, list[str]] = {kind: [] for kind in (*MEASURES, "experiment", "ablation")}
    for result in results:
        with reading(result.file):
            pictures = _draw(result) if result.kind == "experiment" else result.pictures
            files |= pictures
            text = result.text
            if not text:
                section = templates.get_template(f"{result.kind}.md.jinja")
                text = section.render(name=result.name, pictures=list(pictures), **result.values)
            sections[result.kind].append(text)
    for name, records in runs.items():
        rows = [json.dumps(row) + "\n" for row in records.measures]
        drawn = {f"figures/{name}-curves.png": draw_curves(records), f"samples/{name}.png": draw_strip(records)}
        files |= {
            f"runs/{name}/training.json": as_json(records.settings),
            f"runs/{name}/metrics.jsonl": "".join(rows).encode(),
            f"runs/{name}/model-index.yaml": (_card_data(name, records).to_yaml() + "\n").encode(),
        } | {picture: content for picture, content in drawn.items() if content is not None}
    facts = {"recipes": _recipes(runs), "machine": machine(), "versions": versions()}
    files["report.json"] = as_json(_values(runs, results, facts))
    text = templates.get_template("report.md.jinja").render(records=runs, sections=sections, files=files, **facts)
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


def _recipes(runs: Mapping[str, Records]) -> list[dict[str, Any]]:
    """Return runs grouped by recipe: those that differ in the seed alone, with mean and standard deviation."""
    groups: dict[str, list[str]] = {}
    for name, records in runs.items():
        settings = {key: value for key, value in records.settings.items() if key not in SEEDS}
        groups.setdefault(json.dumps([settings, records.network], sort_keys=True), []).append(name)
    recipes = []
    for names in groups.values():
        rows, first = [_row(name, runs[name]) for name in names], runs[names[0]]
        figures = pd.DataFrame(rows).drop(columns=["name", "seed", "steps"])
        recipes.append(
            {
                "words": first.words,
                "rows": rows,
                "settings": {key: value for key, value in first.settings.items() if key not in SEEDS},
                "mean": figures.mean().to_dict() if len(rows) > 1 else None,
                "spread": figures.std().to_dict() if len(rows) > 1 else None,
            }
        )
    return recipes


def _row(name: str, records: Records) -> dict[str, Any]:
    """Return the measures of the weights that a run kept: distances × 1000, the share closed in %, the shift."""
    best, settings, folder = records.best, records.settings, records.folder
    with reading(folder / "training.json"):
        row = {"name": name, "seed": settings["seed"], "step": best["step"], "steps": settings["steps"]}
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


def _card_data(name: str, records: Records) -> ModelCardData:
    return ModelCardData(model_name=name, eval_results=eval_results(records))


def _values(runs: Mapping[str, Records], results: Sequence[Result], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything in a report for programs."""
    told = {
        name: {
            "header": dict(sorted(records.header.items())),  # safetensors returns them in any order
            "network": records.network,
            "parameters": records.parameters,
            "measures": records.measures,
            "model-index": _card_data(name, records).to_dict()["model-index"],
        }
        for name, records in runs.items()
    }
    recipes = [
        {key: recipe[key] for key in ("settings", "rows", "mean", "spread")}
        | {"runs": {row["name"]: told[row["name"]] for row in recipe["rows"]}}
        for recipe in facts["recipes"]
    ]
    kinds = {kind: kind for kind in (*MEASURES, "experiment")} | {"ablations": "ablation"}
    measured = {key: {one.name: one.values for one in results if one.kind == kind} for key, kind in kinds.items()}
    head = {MARK: __version__, "machine": facts["machine"], "versions": facts["versions"], "recipes": recipes}
    return head | measured


def _figure(value: float | None, digits: int, factor: float = 1) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"


def _interval(estimate: Mapping[str, float | None], factor: float = 1, digits: int = 2, unit: str = "") -> str:
    """Return an estimate as text: "12.3 mm (11.0 to 13.6)"."""
    value, low, high = (_figure(estimate[key], digits, factor) for key in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"
