"""What more GPUs bring: a cost model, checked with two processes here: `python benchmarks/scaling.py docs/scaling.png`.

A step computes K_g + K_d updates, and after each of them all processes add up one vector of gradients. With a ring of
n processes that takes 2 (n − 1) (latency + bytes / (n · bandwidth)). Nothing overlaps, so this is the worst case. The
two processes here exchange gradients by Gloo over the loopback; latency and bandwidth of that are measured first.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from simgan import Discriminator, Refiner
from simgan.hub.cards.curves import as_png
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.training.config import preset
from simgan.training.data import TrainingData
from simgan.training.processes import make_accelerator
from simgan.training.step import Trainer

PRESET, SHARE, STEPS = "eyes-paper", 16, 6  # images of a mini-batch for each process
GPUS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@dataclass(frozen=True)
class Link:
    """What connects processes: seconds until a message arrives, and bytes a second."""

    name: str
    latency: float
    bandwidth: float

    def seconds(self, processes: int, size: float) -> float:
        """Return how long a ring of processes adds up a vector of so many bytes."""
        return 2 * (processes - 1) * (self.latency + size / (processes * self.bandwidth))


LINKS = {  # and the most GPUs that it connects
    Link("NVLink", 5e-6, 200e9): 64,
    Link("InfiniBand, 400 Gbit/s", 10e-6, 40e9): 512,
    Link("Ethernet, 25 Gbit/s", 50e-6, 2.5e9): 512,
}


def efficiency(compute: float, exchanged: float) -> float:
    """Return the share of a step in which processes compute."""
    return compute / (compute + exchanged)


def measure() -> dict[str, float]:
    """Train on this process' share; return seconds a step, and those of exchanging vectors of two sizes."""
    torch.set_num_threads(1)
    processes = int(os.environ.get("WORLD_SIZE", 1))
    config = replace(preset(PRESET), batch_size=SHARE * processes, history_size=0, trackers=(), mixed_precision="no")
    images = [world.render(np.arange(128))[0] for world in (eyes, camera)]
    trainer = Trainer(config, TrainingData([images[0]], [images[1]]), make_accelerator(config))
    found: dict[str, float] = {}
    for size in (1, 2**20) if processes > 1 else ():
        vector, seconds = torch.zeros(size), []
        for _ in range(20):
            start = time.perf_counter()
            torch.distributed.all_reduce(vector)
            seconds.append(time.perf_counter() - start)
        found[f"exchange {4 * size}"] = float(np.median(seconds))
    seconds = []
    for _ in range(STEPS + 2):
        start = time.perf_counter()
        for _ in range(config.refiner_updates):
            trainer.update_refiner()
        trainer.update_discriminator()
        seconds.append(time.perf_counter() - start)
    trainer.end()
    return found | {"step": float(np.median(seconds[2:]))}


def run(processes: int, copies: int = 1) -> list[dict[str, float]]:
    """Start runs of so many processes of this file at the same time, and return what the first of each measured."""
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "MEASURE": "1"}
    command: dict[str, Any] = {
        "args": [*launcher, __file__],
        "env": environment,
        "stdout": subprocess.PIPE,
        "text": True,
    }
    started = [subprocess.Popen(**command) for _ in range(copies)]
    return [json.loads(process.communicate()[0].strip().splitlines()[-1]) for process in started]


def main(plot: tyro.conf.Positional[Path], step: float = 0.006, output: Path | None = None) -> None:
    """Check the model with two processes here, and draw what it says of GPUs.

    Args:
        plot: a PNG file.
        step: seconds a step takes on one GPU, with its share of the mini-batch.
        output: a JSON file of all figures.
    """
    from matplotlib.figure import Figure

    networks = [kind.from_preset(PRESET) for kind in (Refiner, Discriminator)]
    sizes = [4 * sum(p.numel() for p in network.parameters()) for network in networks]
    updates = preset(PRESET).refiner_updates, preset(PRESET).discriminator_updates

    def exchanged(link: Link, count: int) -> float:
        return sum(number * link.seconds(count, size) for number, size in zip(updates, sizes, strict=True))

    (one,), apart, (two,) = run(1), run(1, copies=2), run(2)
    here = Link("here", two["exchange 4"] / 2, 2**22 / max(two[f"exchange {2**22}"] - two["exchange 4"], 1e-9))
    beside = max(found["step"] for found in apart)  # of two that share memory and clock, but exchange nothing
    report: dict[str, Any] = {
        "bytes of gradients": sizes,
        "images a second, one process": SHARE / one["step"],
        "images a second, two that exchange nothing": sum(SHARE / found["step"] for found in apart),
        "images a second, two": 2 * SHARE / two["step"],
        "the model's": 2 * SHARE / (beside + exchanged(here, 2)),
        "two over one": 2 * one["step"] / two["step"],
    }
    figure = Figure(figsize=(6, 3.4), dpi=160, layout="constrained")
    axes = figure.subplots()
    for link, most in LINKS.items():
        counts = [count for count in GPUS if count <= most]
        shares = [efficiency(step, exchanged(link, count)) for count in counts]
        hidden = {count: 9 * exchanged(link, count) / step for count in (8, 64, 512) if count <= most}
        report[link.name] = {
            "share of a step that computes": dict(zip(map(str, counts), np.round(shares, 3).tolist(), strict=True)),
            "times as large a share for 90 %": {str(count): round(times, 1) for count, times in hidden.items()},
        }
        axes.plot(counts, [100 * share for share in shares], marker="o", label=link.name)
    axes.set(
        xscale="log", xlabel=f"GPUs, each {1000 * step:g} ms a step", ylabel="share that computes, %", ylim=(0, 100)
    )
    axes.set_xticks(GPUS, map(str, GPUS))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    plot.write_bytes(as_png(figure))
    text = json.dumps(report, indent=1)
    if output:
        output.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if os.environ.get("MEASURE"):
        print(json.dumps(measure()))
    else:
        tyro.cli(main)
