"""Crops a second of the embedded eye domain: `python benchmarks/simulators.py`."""

import os
import statistics
import time

import numpy as np

from simgan.simulators import camera, eyes

COUNT, ROUNDS = 2000, 5


def main() -> None:
    print(f"{COUNT} crops of 55 x 35, median of {ROUNDS} rounds, {os.cpu_count()} cores")
    for name, render in (("simulator:eyes", eyes.render), ("camera:eyes", camera.render)):
        render(range(64))
        seconds = []
        for turn in range(ROUNDS):
            start = time.perf_counter()
            render(np.arange(COUNT) + turn * COUNT)
            seconds.append(time.perf_counter() - start)
        print(f"{name:15} {COUNT / statistics.median(seconds):7.0f} crops a second")


if __name__ == "__main__":
    main()
