"""Crops a second from a prepared data set, in mini-batches drawn at random: `python benchmarks/data.py`."""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from simgan.data import Crops, load
from simgan.data.prepare import prepare

CROPS, BATCH, BATCHES, ROUNDS = 4096, 512, 40, 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        prepare("simulator:eyes", Path(folder) / "eyes", limit=CROPS, processes=1)
        print(f"prepared {CROPS} simulated crops, {CROPS / (time.perf_counter() - start):.0f} a second in one process")
        crops = Crops(load(str(Path(folder) / "eyes")))
        draw = np.random.default_rng(0)
        rates = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for _ in range(BATCHES):
                crops[draw.integers(0, CROPS, BATCH)]
            rates.append(BATCH * BATCHES / (time.perf_counter() - start))
        print(f"read in mini-batches of {BATCH}: {statistics.median(rates):.0f} crops a second")


if __name__ == "__main__":
    main()
