"""What a shipped model's training left behind: the measures and the sample sheets of each step that was measured."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from safetensors import safe_open

from simgan.hub import SHIPPED, WEIGHTS

METRICS, SHEETS = "metrics.jsonl", "samples"
BANDS = 2  # a sheet is cut into so many, one above the other, so that its crops stay large on a narrow screen


@dataclass(frozen=True)
class Records:
    """Measures, one row a step, the sheets by step, and the step whose refiner ships."""

    measures: pd.DataFrame
    sheets: dict[int, Path]
    shipped: int

    @property
    def steps(self) -> list[int]:
        """Steps that were measured, in order."""
        return [int(step) for step in self.measures["step"]]


def read(name: str) -> Records | None:
    """Give the records of a shipped model; None where it has none."""
    folder = SHIPPED / name
    file = folder / METRICS
    if not file.is_file():
        return None
    rows = [row for row in map(json.loads, file.read_text().splitlines()) if "realism_raw" in row]
    if not rows:
        return None
    measures = pd.DataFrame(rows).sort_values("step").drop_duplicates("step", keep="last")
    sheets = {int(sheet.stem.removeprefix("step-")): sheet for sheet in (folder / SHEETS).glob("step-*.png")}
    with safe_open(folder / WEIGHTS, "pt") as weights:
        shipped = int((weights.metadata() or {}).get("step", measures["step"].iloc[-1]))
    return Records(measures.reset_index(drop=True), sheets, shipped)


def read_sheet(file: Path) -> Image.Image:
    """Give a sheet with the second half of its columns below the first."""
    sheet = np.array(Image.open(file).convert("RGB"))
    width = sheet.shape[1] // BANDS
    bands = [sheet[:, place * width : (place + 1) * width] for place in range(BANDS)]
    gap = np.full((8, width, 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([part for band in bands for part in (band, gap)][:-1]))
