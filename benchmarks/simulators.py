"""Crops a second of the embedded domains: `python benchmarks/simulators.py`."""

import os
import statistics
import time

import numpy as np

from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import camera as depth_camera
from simgan.simulators.hands import renders as hands

EYES, HANDS, ROUNDS = 2000, 100, 5


def main() -> None:
    print(f"median of {ROUNDS} rounds, {os.cpu_count()} cores")
    worlds = (
        ("simulator:eyes", eyes.render, EYES, "55 x 35"),
        ("camera:eyes", camera.render, EYES, "55 x 35"),
        ("simulator:hands", hands.render, HANDS, "224 x 224"),
        ("camera:hands", depth_camera.render, HANDS, "224 x 224"),
    )
    for name, render, count, size in worlds:
        render(range(64))
        seconds = []
        for turn in range(ROUNDS):
            start = time.perf_counter()
            render(np.arange(count) + turn * count)
            seconds.append(time.perf_counter() - start)
        print(f"{name:15} {count / statistics.median(seconds):7.0f} crops of {size} a second")


if __name__ == "__main__":
    main()
