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
from simgan.domains.hands import SIDE
from simgan.hub.cards.model import model_card_data, render_model_card
from simgan.hub.cards.records import read_records
from simgan.hub.loading import CONFIG
from simgan.hub.push import NETWORKS
from simgan.images.arrays import equalize, to_tensor
from simgan.images.depth import find_window
from simgan.images.depth import to_tensor as depth_tensor
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands
from simgan.training.checkpoints import folder_of
from simgan.training.sheets import write_sheet

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "simgan" / "pretrained"
MOST = 400  # crops of a source that are measured
SHOWN = 16  # renders on a sheet
UNSEEN = 7  # seed of renders that training did not see: it draws by 1 and 2


def held_out(source: str, share: float) -> np.ndarray:
    """Take the crops of a source that training held out, evenly spread and equalized."""
    crops = Crops(hold_out(load(source), share)[1])
    chosen = np.linspace(0, len(crops) - 1, min(MOST, len(crops))).astype(int)
    return np.stack([equalize(image) for image in crops[chosen]])


def unseen_hands(source: str) -> np.ndarray:
    """Take depth of a source that training did not see at all, or of what simgan draws, another seed, as 224×224.

    Frames of another size are put amid no reading, or cut: to resample them would change what is measured.
    """
    frames = Crops(load(source, size=None, limit=MOST, seed=UNSEEN))
    return np.stack([_framed(frame) for frame in frames.each(range(len(frames)))])


def _framed(frame: np.ndarray) -> np.ndarray:
    size = SIDE, SIDE
    wide = np.pad(frame, [(max(0, -(-(side - own) // 2)),) * 2 for side, own in zip(size, frame.shape, strict=True)])
    top, left = ((own - side) // 2 for side, own in zip(size, wide.shape, strict=True))
    return wide[top : top + size[0], left : left + size[1]]


def measure(
    refiner: Refiner, domain: Domain, sources: dict[str, str], real: list[str], share: float
) -> list[dict[str, Any]]:
    """Measure each synthetic source, refined, against all real ones, by the measures of the domain."""
    read = unseen_hands if domain.codec == "depth16" else lambda source: held_out(source, share)
    target = mixture([read(source) for source in real])
    rows = []
    for name, source in sources.items():
        before = read(source)
        after = np.stack(refiner.refine(list(before)))
        realism, shift = domain.measure_realism(after, target, before), domain.measure_shift(before, after, {})
        rows.append({"source": name, "count": len(before), "real": len(target), "realism": realism, "shift": shift})
    return rows


def mixture(sets: list[np.ndarray]) -> np.ndarray:
    """Put sets one after the other so that each half, between which the floor lies, has as much of every set."""
    if len(sets) == 1:
        return sets[0]
    size = max(map(len, sets)) // 2
    halves = ([images[: len(images) // 2] for images in sets], [images[len(images) // 2 :] for images in sets])
    return np.concatenate([np.resize(part, (size, *part.shape[1:])) for half in halves for part in half])


def render_hands() -> np.ndarray:
    """Render the hands of a sheet, fewer than eyes, as they are larger."""
    return hands.render(range(SHOWN // 2), seed=UNSEEN)[0]


def write_sheets(run: Path, target: Path) -> None:
    """Write `samples/step-….png` for each checkpoint, and the sheet of what ships to `docs/`, of the same renders."""
    depth = json.loads((run / CONFIG).read_text())["domain"] == "hands"
    before = render_hands() if depth else np.stack([equalize(eye) for eye in eyes.render(range(SHOWN), seed=7)[0]])
    sheets = {checkpoint: target / "samples" / f"{checkpoint.name}.png" for checkpoint in folder_of(run).glob("step-*")}
    for folder, file in (sheets | {run: HERE.parent / "docs" / f"{target.name}.png"}).items():
        refiner = Refiner.from_pretrained(folder)
        after = np.stack(refiner.refine(list(before)))
        seen = depth_tensor(after, [find_window(image) for image in before]) if depth else to_tensor(after)
        maps = Discriminator.from_pretrained(folder).probability_real(seen).numpy()
        write_sheet(file, before, after, maps, refiner.codec)


def main() -> None:
    """Copy, measure, render."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--seeds", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    target = SHIPPED / arguments.name
    facts = json.loads((HERE / f"{arguments.name}.json").read_text())
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
    (target / "training.json").write_text(json.dumps(records.settings, indent=2) + "\n")
    rows = [json.dumps(row) for row in records.measures]
    (target / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    write_sheets(arguments.run, target)
    for place in (target / "README.md", HERE / f"{arguments.name}.md"):
        place.write_text(text)


if __name__ == "__main__":
    main()
