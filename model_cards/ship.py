"""Make a run the shipped refiner NAME: `python model_cards/ship.py RUN NAME [--seeds RUN …]`.

Copies the networks to `simgan/pretrained/NAME` and renders the card there and here. Facts that no run knows (terms,
what was held out, what was tried) are in `NAME.json` beside this file; every figure comes from the run's own records,
or is measured now on the sources that the facts name.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from safetensors import safe_open

from simgan import Refiner
from simgan.data import Crops, hold_out, load
from simgan.evaluation.realism import measure_realism
from simgan.evaluation.shift import annotation_shift
from simgan.images import equalize

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "simgan" / "pretrained"
MOST = 400  # crops of a source that are measured


def held_out(source: str, share: float) -> np.ndarray:
    """Take the crops of a source that training held out, evenly spread and equalized."""
    crops = Crops(hold_out(load(source), share)[1])
    chosen = np.linspace(0, len(crops) - 1, min(MOST, len(crops))).astype(int)
    return np.stack([equalize(image) for image in crops[chosen]])


def measure(refiner: Refiner, sources: dict[str, str], real: list[str], share: float) -> list[dict[str, Any]]:
    """Measure each source against the mixture of the real ones, whose halves give the floor."""
    sets = [held_out(source, share) for source in real]
    size = max(len(images) for images in sets)
    halves = [[images[: len(images) // 2], images[len(images) // 2 :]] for images in sets]
    mixed = [np.concatenate([np.resize(h[k], (size // 2, *h[k].shape[1:])) for h in halves]) for k in (0, 1)]
    rows = []
    for name, source in sources.items():
        before = held_out(source, share)
        after = np.stack(refiner.refine(list(before)))
        realism = measure_realism(after, np.concatenate(mixed), before)
        shift = annotation_shift(before, after)
        rows.append({"source": name, "count": len(before), **vars(realism), **vars(shift)})
    return rows


def main() -> None:
    """Copy, measure, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    run, target = arguments.run, SHIPPED / arguments.name
    facts = json.loads((HERE / f"{arguments.name}.json").read_text())
    config = json.loads((run / "training.json").read_text())
    share = config["holdout"]
    records = _records(run)
    with safe_open(run / "model.safetensors", "pt") as file:
        header = file.metadata()
    sources = {name: os.path.expandvars(source) for name, source in facts["synthetic"].items()}
    real = [os.path.expandvars(source) for source in facts["real"]]
    card = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined).from_string(
        (HERE / "card.md.jinja").read_text()
    )
    shown = {key: value for key, value in config.items() if key not in ("synthetic", "real", "output", "resume")}
    text = card.render(
        name=arguments.name,
        facts=facts,
        config=shown,
        commit=header["commit"],
        best=_at(records, int(header["step"])),
        records=records,
        seeds=[_at(_records(other), _best_step(other)) | {"seed": _seed(other)} for other in arguments.seeds],
        evaluation=measure(Refiner.from_pretrained(run), sources, real, share),
    )
    shutil.rmtree(target, ignore_errors=True)
    (target / "discriminator").mkdir(parents=True)
    for file in ("config.json", "model.safetensors"):
        for folder in ("", "discriminator"):
            shutil.copy(run / folder / file, target / folder / file)
    for place in (target / "README.md", HERE / f"{arguments.name}.md"):
        place.write_text(text)


def _records(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "realism_raw" in row]


def _at(records: list[dict[str, Any]], step: int) -> dict[str, Any]:
    return next(row for row in records if row["step"] == step)


def _best_step(run: Path) -> int:
    with safe_open(run / "model.safetensors", "pt") as file:
        return int(file.metadata()["step"])


def _seed(run: Path) -> int:
    return int(json.loads((run / "training.json").read_text())["seed"])


if __name__ == "__main__":
    main()
