"""The folder of a run as training leaves it, without the training: what publishing is tested on."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import torch

from simgan import Discriminator, Refiner
from simgan.domains import find
from simgan.images import codecs
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands
from simgan.training.config import preset as preset_of
from simgan.training.held_out import write_sheet

SECRET = "/home/somebody/secret place"  # of the machine; nothing that is published may tell it
HEADER = {"simgan_version": "0.1.0", "preset": "eyes", "step": "20", "commit": "abc1234"}
SOURCES = {
    "eyes": ((f"syntheseyes:{SECRET}/SynthesEyes",), (f"mpiigaze:{SECRET}/MPIIGaze@evaluation",)),
    "hands": (("simulator:hands",), ("camera:hands",)),
}


def measure(step: int) -> dict[str, float]:
    return {
        "step": step,
        "realism": 0.09 - step / 1000,
        "realism_raw": 0.09,
        "realism_floor": 0.03,
        "shift": 0.01 * step + 1 / 3,
        "shift_median": 0.005 * step,
        "shift_failed": 0.125,
        "regularization_weight": 0.4,
    }


def make_run(folder: Path, preset: str = "eyes", **settings: object) -> Path:
    """Write networks, settings, measures of steps 0 to 30 (step 20 is what was kept) and a sample sheet of each."""
    torch.manual_seed(0)
    for network in (Refiner.from_preset(preset), Discriminator.from_preset(preset)):
        network.save_pretrained(folder, metadata=HEADER | {"preset": preset})
    values = dict(zip(("synthetic", "real"), SOURCES[preset], strict=True)) | {"output": folder} | settings
    config = dataclasses.replace(preset_of(preset), **values)  # type: ignore[arg-type]
    (folder / "training.json").write_text(config.to_json())
    rows = [{"step": 10, "discriminator": 1.3}, *(measure(step) for step in (0, 10, 20, 30))]
    rows[-1]["shift"] = math.nan
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    images = {"eyes": eyes, "hands": hands}[preset].render(range(2))[0]
    for step in (0, 10, 20, 30):
        sheet, codec = folder / "samples" / f"step-{step:06}.png", codecs.get(find(preset).codec)
        write_sheet(sheet, images, images, np.full((2, 4, 6), step / 30), codec)
    return folder
