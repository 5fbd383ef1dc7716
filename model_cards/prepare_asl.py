"""Prepare ASL Finger Spelling for the refiner `hands`: `python model_cards/prepare_asl.py ASL.parquet OUT`.

ASL.parquet holds cut-outs of a Kinect v1's frames (`image`, 16 bits of mm, and `letter`), as Pugeault and Bowden (2011)
recorded them. Of each the hand is kept, all within 270 mm of its nearest reading, at the scale of the crops that
`simulator:hands` gives: 300 mm at the hand's distance are 224 px. Letters d, k, u and w become OUT/held-out.parquet,
which no training sees, the rest OUT/train.parquet.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from simgan.data.columns import as_dataset, features, image_cell
from simgan.domains.hands import SIDE
from simgan.images.depth import CUBE, find_window
from simgan.images.files import decode

FOCAL = 575.0  # px, of a Kinect v1's depth
REACH = 270  # mm behind the nearest reading: the body is farther
HELD_OUT = ("d", "k", "u", "w")
LEAST = 64  # px, of a window that training cuts


def hand(frame: np.ndarray) -> np.ndarray:
    """Keep the hand of a frame, uint16 (H, W) in mm, at the scale of a crop; no two readings are mixed."""
    near = find_window(frame).near
    kept = np.where((frame >= near) & (frame <= near + REACH), frame, 0).astype(np.uint16)
    scale = np.median(kept[kept > 0]) * SIDE / (CUBE * FOCAL)
    size = [max(1, round(side * scale)) for side in frame.shape[::-1]]
    return cv2.resize(kept, size, interpolation=cv2.INTER_NEAREST)


def main() -> None:
    """Read, keep the hands, write."""
    source, output = map(Path, sys.argv[1:])
    rows: dict[str, list[dict[str, object]]] = {"train": [], "held-out": []}
    for number, row in enumerate(pq.read_table(source).to_pylist()):
        image = hand(decode(row["image"]["bytes"]))
        if min(image.shape) >= LEAST:
            name = f"{row['letter']}_{number:05}.png"
            kind = "held-out" if row["letter"] in HELD_OUT else "train"
            rows[kind].append({"image": image_cell(image), "person": row["letter"], "file_name": name})
    output.mkdir(parents=True, exist_ok=True)
    for kind, those in rows.items():
        as_dataset(those, features("image", "person", "file_name")).to_parquet(str(output / f"{kind}.parquet"))
        print(f"{output / kind}.parquet: {len(those)} hands")


if __name__ == "__main__":
    main()
