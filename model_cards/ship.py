"""Make a run the shipped refiner NAME: `python model_cards/ship.py RUN NAME [--seeds RUN …]`.

Copies the networks to `simgan/pretrained/NAME` and renders the card there and here. Facts that no run knows (terms,
what was held out, what was tried) are in `NAME.json` beside this file; every figure comes from the run's own records,
or is measured now on the sources that the facts name. The sample sheets over steps, one for each checkpoint that the
run kept (`--keep-checkpoints`), are of the simulator's renders: data sets may not be shown again.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from simgan import Discriminator, Refiner
from simgan.data import Crops, hold_out, load
from simgan.domains import Domain, find
from simgan.hub.cards.model import model_card_data, render_model_card
from simgan.hub.cards.records import read_records
from simgan.hub.push import NETWORKS
from simgan.images.arrays import equalize
from simgan.training.checkpoints import FOLDER
from simgan.training.held_out import write_sheet

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "simgan" / "pretrained"
MOST = 400  # images of a source that are measured
PIXELS = 200_000  # of the images on a sheet
UNSEEN = 7  # seed of renders that no training has used: it takes 1 and 2


def held_out(refiner: Refiner, domain: Domain, source: str, share: float) -> tuple[np.ndarray, dict[str, Any]]:
    """Return images of a source that training held out, evenly spread, as the refiner sees them, and their labels."""
    data = hold_out(load(source), share)[1]
    data = data.select(np.linspace(0, len(data) - 1, min(MOST, len(data))).astype(int))
    images = np.stack([equalize(image) if refiner.config.equalize else image for image in Crops(data)[:]])
    return images, {name: data[name][:] for name in domain.measured if name in data.column_names}


def unseen(domain: Domain, source: str) -> np.ndarray:
    """Return depth images of a source that training did not use, or renders of another seed, in the domain's size.

    Frames of another size are padded with no reading, or cut: resampling would change what is measured.
    """
    frames = Crops(load(source, size=None, limit=MOST, seed=UNSEEN))
    return np.stack([pad_or_cut(frame, domain.size[::-1]) for frame in frames.each(range(len(frames)))])


def pad_or_cut(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    wide = np.pad(frame, [(max(0, -(-(side - own) // 2)),) * 2 for side, own in zip(size, frame.shape, strict=True)])
    top, left = ((own - side) // 2 for side, own in zip(size, wide.shape, strict=True))
    return wide[top : top + size[0], left : left + size[1]]


def measure(
    refiner: Refiner, domain: Domain, sources: dict[str, str], real: list[str], share: float
) -> list[dict[str, Any]]:
    """Measure each synthetic source, refined, against all real ones, by the measures of the domain."""
    depth = refiner.codec.is_depth

    def read(source: str) -> tuple[np.ndarray, dict[str, Any]]:
        return (unseen(domain, source), {}) if depth else held_out(refiner, domain, source, share)

    target = mixture([read(source)[0] for source in real])
    rows = []
    for name, source in sources.items():
        before, labels = read(source)
        after = np.stack(refiner.refine(list(before)))
        realism, shift = domain.measure_realism(after, target, before), domain.measure_shift(before, after, labels)
        rows.append({"source": name, "count": len(before), "real": len(target), "realism": realism, "shift": shift})
    return rows


def mixture(sets: list[np.ndarray]) -> np.ndarray:
    """Concatenate sets so that both halves, between which the floor is measured, hold as much of each set."""
    if len(sets) == 1:
        return sets[0]
    size = max(map(len, sets)) // 2
    halves = ([images[: len(images) // 2] for images in sets], [images[len(images) // 2 :] for images in sets])
    return np.concatenate([np.resize(part, (size, *part.shape[1:])) for half in halves for part in half])


def write_sheets(run: Path, target: Path, domain: Domain) -> None:
    """Write `samples/step-….png` for each checkpoint, and the sheet of what ships to `docs/`, of the same renders."""
    before = Crops(load(f"simulator:{domain.name}", size=domain.size, limit=16, seed=UNSEEN))[:]
    before = before[: max(1, PIXELS // before[0].size)]
    sheets = {checkpoint: target / "samples" / f"{checkpoint.name}.png" for checkpoint in (run / FOLDER).glob("step-*")}
    for folder, file in (sheets | {run: HERE.parent / "docs" / f"{target.name}.png"}).items():
        refiner = Refiner.from_pretrained(folder)
        codec = refiner.codec
        seen = np.stack([equalize(image) for image in before]) if refiner.config.equalize else before
        after = np.stack(refiner.refine(list(seen)))
        tensor = codec.to_tensor(codec.planes(after), codec.windows(codec.planes(seen)))
        maps = Discriminator.from_pretrained(folder).probability_real(tensor).numpy()
        write_sheet(file, seen, after, maps, codec)


def main() -> None:
    """Copy, measure, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    target = SHIPPED / arguments.name
    facts = json.loads((HERE / f"{arguments.name}.json").read_text(encoding="utf-8"))
    records = read_records(arguments.run)
    sources = {name: os.path.expandvars(source) for name, source in facts["synthetic"].items()}
    real = [os.path.expandvars(source) for source in facts["real"]]
    terms = {key: facts[key] for key in ("license", "license_name", "datasets") if key in facts}
    domain = find(records.network["domain"])
    others = [read_records(run) for run in arguments.seeds]
    text = render_model_card(
        records,
        arguments.name,
        data=model_card_data(records, arguments.name, **terms),
        templates=[HERE],
        template="card.md.jinja",
        facts=facts,
        seeds=[other.best | {"seed": other.settings["seed"]} for other in others],
        evaluation=measure(Refiner.from_pretrained(arguments.run), domain, sources, real, records.settings["holdout"]),
    )
    shutil.rmtree(target, ignore_errors=True)
    (target / "discriminator").mkdir(parents=True)
    for file in NETWORKS:
        shutil.copy(arguments.run / file, target / file)
    (target / "training.json").write_text(json.dumps(records.settings, indent=2) + "\n", encoding="utf-8")
    rows = [json.dumps(row) for row in records.measures]
    (target / "metrics.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    if (arguments.run / records.words.records).is_file():  # what networks reached that learnt from its images
        shutil.copy(arguments.run / records.words.records, target)
    write_sheets(arguments.run, target, domain)
    for place in (target / "README.md", HERE / f"{arguments.name}.md"):
        place.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
