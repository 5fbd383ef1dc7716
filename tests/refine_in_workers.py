"""Refine in the parent, whose threads then run, and in workers; `test_refine_anywhere.py` starts it with a time limit.

`python refine_in_workers.py fork` (or `spawn`) prints "same" for each kind of worker that refines as the parent does.
"""

import sys

import numpy as np
import torch
from datasets import Array2D, Dataset, Features
from torch.utils.data import DataLoader

from simgan import Refiner, RefinerConfig

IMAGES = [np.random.default_rng(i).integers(0, 255, (64, 96), dtype=np.uint8) for i in range(8)]


class Refined(torch.utils.data.Dataset):
    def __init__(self, refiner: Refiner) -> None:
        self.refiner = refiner

    def __len__(self) -> int:
        return len(IMAGES)

    def __getitem__(self, number: int) -> np.ndarray:
        return self.refiner.refine(IMAGES[number])


def main(method: str) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(2)
    refiner = Refiner(RefinerConfig(width=4, blocks=1, equalize=True, noise=True)).eval()
    expected = refiner.refine(IMAGES)

    def tell(kind: str, refined: list) -> None:
        apart = max(np.abs(np.asarray(a, int) - b).max() for a, b in zip(refined, expected, strict=True))
        print(kind, "same" if apart <= 1 else f"{apart} levels apart")

    loader = DataLoader(Refined(refiner), batch_size=None, num_workers=1, multiprocessing_context=method)
    tell("loader", list(loader))
    if method == "fork":  # as `datasets` always does on Linux
        dataset = Dataset.from_dict({"x": IMAGES}, Features({"x": Array2D((64, 96), "uint8")})).with_format("numpy")
        mapped = dataset.map(lambda row: {"x": refiner.refine(row["x"].astype(np.uint8))}, num_proc=2)
        tell("map", [row["x"] for row in mapped])


if __name__ == "__main__":
    main(sys.argv[1])
