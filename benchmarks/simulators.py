"""Images a second of the embedded simulators: `python benchmarks/simulators.py`."""

import os
import statistics
import time

import numpy as np

from simgan.simulators import SIMULATORS

BATCHES, ROUNDS = 8, 5


def main() -> None:
    print(f"median of {ROUNDS} rounds, {os.cpu_count()} cores")
    for name, simulator in SIMULATORS.items():
        images = BATCHES * simulator.batch
        simulator.render(range(64))
        seconds = []
        for turn in range(ROUNDS):
            start = time.perf_counter()
            simulator.render(np.arange(images) + turn * images)
            seconds.append(time.perf_counter() - start)
        wide, high = simulator.size
        print(f"{name:15} {images / statistics.median(seconds):7.0f} images of {wide} × {high} a second")


if __name__ == "__main__":
    main()
