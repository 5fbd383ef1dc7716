"""A report's folder: text, figures, settings and records, written aside and renamed when it is whole.

The same inputs on the same machine give the same bytes.
"""

import json
import math
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from simgan import __version__
from simgan.errors import ConfigError, SourceError, reason
from simgan.experiments.report.figures import draw_differences, draw_means, draw_strip
from simgan.experiments.report.hardware import machine, versions
from simgan.experiments.report.read import TASKS, Inputs, Run, read_inputs
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import environment, eval_results
from simgan.hub.cards.records import ABOUT_THE_RUN

MARK = "simgan_report"  # the key of report.json that tells a report from other folders
# Settings in which runs of one recipe may differ.
APART = (*ABOUT_THE_RUN, "seed", "keep_checkpoints", "trackers")


def write_report(places: Sequence[str], output: Path) -> None:
    """Write a report of runs and results (see `simgan.experiments.report.read`) to the folder `output`.

    A report that lies there is replaced. `ConfigError` where something else does, `SourceError` where the folder cannot
    be written; until all is written, nothing of it is seen.
    """
    if not _may_be_written(output):
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
    """Give the files of a report by their paths in its folder."""
    files: dict[str, bytes] = {}

    def keep(name: str, content: bytes | None) -> str | None:
        if content is None:
            return None
        files[name] = content
        return name

    pictures: dict[str, dict[str, Any]] = {
        "curves": {r.name: keep(f"figures/{r.name}-curves.png", draw_curves(r.records)) for r in inputs.runs},
        "strips": {r.name: keep(f"samples/{r.name}.png", draw_strip(r)) for r in inputs.runs},
        "shares": {e.name: keep(f"figures/{e.name}-{e.task.name}-curve.png", e.curve) for e in inputs.experiments},
        "means": {e.name: keep(f"figures/{e.name}-{e.task.name}.png", draw_means(e)) for e in inputs.experiments},
        "differences": {
            e.name: keep(f"figures/{e.name}-{e.task.name}-differences.png", draw_differences(e))
            for e in inputs.experiments
            if e.differences
        },
        "ablations": {
            a.name: {name: keep(f"figures/{a.name}-{name}.png", png) for name, png in a.pictures.items()}
            for a in inputs.ablations
        },
    }
    for run in inputs.runs:
        files[f"runs/{run.name}/training.json"] = _as_json(run.records.settings)
        rows = [json.dumps(row) + "\n" for row in run.records.measures]
        files[f"runs/{run.name}/metrics.jsonl"] = "".join(rows).encode()
        files[f"runs/{run.name}/model-index.yaml"] = (_card_data(run).to_yaml() + "\n").encode()
    facts = {"recipes": _recipes(inputs.runs), "machine": machine(), "versions": versions()}
    files["report.json"] = _as_json(_figures(inputs, facts))
    templates = environment([Path(__file__).parent])
    templates.filters |= {"figure": _figure, "times": lambda value, factor: value if value is None else factor * value}
    text = templates.get_template("report.md.jinja").render(inputs=inputs, tasks=TASKS, pictures=pictures, **facts)
    files["report.md"] = (text.rstrip() + "\n").encode()
    return files


def _may_be_written(output: Path) -> bool:
    """Whether nothing lies there, an empty folder, or a report."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return not output.is_symlink()
    try:
        return MARK in json.loads((output / "report.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


def _recipes(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs whose settings differ in the seed alone, side by side, with mean and standard deviation over them."""
    alike: dict[str, list[Run]] = {}
    for run in runs:
        settings = {key: value for key, value in run.records.settings.items() if key not in APART}
        alike.setdefault(json.dumps([settings, run.records.network], sort_keys=True), []).append(run)
    recipes = []
    for some in alike.values():
        rows = [_row(run) for run in some]
        told: dict[str, Any] = {
            "names": [run.name for run in some],
            "words": some[0].records.words,
            "runs": some,
            "rows": rows,
            "settings": {key: value for key, value in some[0].records.settings.items() if key not in APART},
        }
        keys = [key for key in rows[0] if key not in ("name", "seed", "steps")]
        several = len(rows) > 1
        told["mean"] = {key: statistics.fmean(row[key] for row in rows) for key in keys} if several else None
        told["spread"] = {key: statistics.stdev(row[key] for row in rows) for key in keys} if several else None
        recipes.append(told)
    return recipes


def _row(run: Run) -> dict[str, Any]:
    """What was measured of the weights a run kept; distances × 1000, the share closed in %, the shift in px or mm."""
    best = run.records.best
    gap = best["realism_raw"] - best["realism_floor"]
    return {
        "name": run.name,
        "seed": run.records.settings["seed"],
        "step": best["step"],
        "steps": run.records.settings["steps"],
        "raw": 1000 * best["realism_raw"],
        "refined": 1000 * best["realism"],
        "floor": 1000 * best["realism_floor"],
        "closed": 100 * (best["realism_raw"] - best["realism"]) / gap if gap > 0 else math.nan,
        "shift": best.get("shift", math.nan),  # not a number where no iris was found
        "median": best.get("shift_median", math.nan),
    }


def _card_data(run: Run) -> ModelCardData:
    return ModelCardData(model_name=run.name, eval_results=eval_results(run.records))


def _figures(inputs: Inputs, facts: dict[str, Any]) -> dict[str, Any]:
    """All of a report for programs."""
    recipes = [
        {key: recipe[key] for key in ("settings", "rows", "mean", "spread")}
        | {
            "runs": {
                run.name: {
                    "header": dict(sorted(run.records.header.items())),  # safetensors gives any order
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
    told: dict[str, Any] = {MARK: __version__, "machine": facts["machine"], "versions": facts["versions"]}
    measured = {
        kind: {one.name: {**one.figures, "measured_on": one.on} for one in some}
        for kind, some in (("realism", inputs.realism), ("shift", inputs.shift))
    }
    trained = {task.name: {one.name: one.figures for one in inputs.experiments if one.task is task} for task in TASKS}
    told |= {"recipes": recipes, **measured, **trained}
    return told | {"ablations": {one.name: one.figures for one in inputs.ablations}}


def _as_json(values: Any) -> bytes:
    return (json.dumps(_finite(values), indent=2, ensure_ascii=False) + "\n").encode()


def _finite(values: Any) -> Any:
    """What is not a number becomes null, as JSON has no NaN."""
    if hasattr(values, "__dataclass_fields__"):
        values = asdict(values)
    if isinstance(values, dict):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"
