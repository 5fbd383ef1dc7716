"""Time of a training step, ours against two loops written by hand: `python benchmarks/training.py`.

All take their mini-batches from the same stored images in memory. *Plain* is what re-implementations do: float32, each
batch converted and moved when it is needed, gradients of the discriminator kept in the refiner's update, real and
refined images in passes of their own. *Careful* is the plain loop written well: images on the device, channels_last,
the precision that is faster, fused Adam, one pass of the discriminator for both sides, no gradient that is not used.
Neither has what ours also does: equalization, photometry, weights by label, history, augmentation, averaging, clipping,
R1. Steps of the three are interleaved; where there is a GPU, all are on it.
"""

import dataclasses
import json
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from simgan import Discriminator, Refiner
from simgan.images.arrays import to_tensor
from simgan.losses import discriminator_loss, realism_loss, self_regularization
from simgan.training.config import TrainingConfig, preset
from simgan.training.data import TrainingData
from simgan.training.networks import faster_precision
from simgan.training.processes import make_accelerator
from simgan.training.sources import load
from simgan.training.step import Trainer

Step = Callable[[], None]
EMBEDDED = {"synthetic": ("simulator:eyes",), "real": ("camera:eyes",)}


@dataclasses.dataclass(frozen=True)
class Options:
    """What is timed."""

    presets: tuple[str, ...] = ("eyes-paper", "eyes", "images", "hands")
    batches: tuple[int, ...] = (32,)
    steps: int = 20  # after 5 to warm up
    output: Path | None = None  # a file of JSON


def plain(config: TrainingConfig, images: Any, real: Any, device: torch.device) -> Step:
    """Return a step as most would write it."""
    channels, size = config.channels or 1, config.batch_size
    refiner = Refiner.from_preset(config.preset, channels=channels).to(device)
    discriminator = Discriminator.from_preset(config.preset, channels=channels).to(device)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in (refiner, discriminator)]
    rng = np.random.default_rng(0)

    def batch(stored: Any) -> Tensor:
        return to_tensor(stored[rng.integers(len(stored), size=size)]).to(device)

    def step() -> None:
        for _ in range(config.refiner_updates):
            x = batch(images)
            refined = refiner(x, prepared=True)
            loss = realism_loss(discriminator(refined)) + self_regularization(refined, x, config.transform)
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
        refined = refiner(batch(images), prepared=True).detach()
        loss = discriminator_loss(discriminator(refined), discriminator(batch(real)))
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()

    return step


def careful(config: TrainingConfig, images: Any, real: Any, device: torch.device, precision: str) -> Step:
    """Return the same step written well by hand."""
    channels, size, layout = config.channels or 1, config.batch_size, torch.channels_last
    refiner, discriminator = (
        kind.from_preset(config.preset, channels=channels).to(device, memory_format=layout)  # type: ignore[attr-defined]
        for kind in (Refiner, Discriminator)
    )
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4, fused=True) for network in (refiner, discriminator)]
    held = [to_tensor(stored).to(device, memory_format=layout) for stored in (images, real)]
    autocast: Any = {"device_type": device.type, "dtype": torch.bfloat16, "enabled": precision == "bf16"}

    def batch(stored: Tensor) -> Tensor:
        return stored[torch.randint(len(stored), (size,), device=device)]

    def update(which: int, loss: Tensor) -> None:
        loss.backward()
        optimizers[which].step()
        optimizers[which].zero_grad()

    def step() -> None:
        discriminator.requires_grad_(False)
        for _ in range(config.refiner_updates):
            x = batch(held[0])
            with torch.autocast(**autocast):
                refined = refiner(x, prepared=True)
                logits = discriminator(refined)
            update(0, realism_loss(logits.float()) + self_regularization(refined.float(), x, config.transform))
        discriminator.requires_grad_(True)
        with torch.autocast(**autocast):
            with torch.no_grad():
                refined = refiner(batch(held[0]), prepared=True)
            logits = discriminator(torch.cat([refined.float(), batch(held[1])]), sides=2)
        update(1, discriminator_loss(*logits.float().chunk(2)))

    return step


def ours(config: TrainingConfig, data: TrainingData) -> tuple[Step, Trainer]:
    """Return the step of `train_accelerate.py`."""
    trainer = Trainer(config, data, make_accelerator(config))

    def step() -> None:
        for _ in range(config.refiner_updates):
            trainer.update_refiner()
        trainer.update_discriminator()
        trainer.counters.step += 1

    return step, trainer


def arrays(part: Tensor) -> Any:
    """Return a part of a bank as stored images (N, H, W) or (N, H, W, 3)."""
    moved = np.ascontiguousarray(np.moveaxis(part.numpy(), 1, -1))
    return moved[..., 0] if moved.shape[-1] == 1 else moved


def milliseconds(steps: dict[str, Step], count: int, device: torch.device) -> dict[str, float]:
    """Return the median time of each kind of step, interleaved."""
    wait: Any = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    found: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(5 + count):
        for name, step in steps.items():
            wait()
            start = time.perf_counter()
            step()
            wait()
            if turn >= 5:
                found[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(values), 2) for name, values in found.items()}


def counted(step: Step, device: torch.device) -> dict[str, float]:
    """Return what the profiler counts in a step, mean of 8: on a GPU launches and copies, on a CPU operations."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    kinds += [torch.profiler.ProfilerActivity.CUDA] if device.type == "cuda" else []
    with torch.profiler.profile(activities=kinds) as profile:
        for _ in range(8):
            step()
    events = {event.key: event.count / 8 for event in profile.key_averages()}
    if device.type == "cpu":
        return {"operations": sum(count for name, count in events.items() if name.startswith("aten::"))}
    launches = sum(count for name, count in events.items() if name in ("cudaLaunchKernel", "cuLaunchKernel"))
    copies = sum(count for name, count in events.items() if "HtoD" in name)
    return {"launches": launches, "graphs": events.get("cudaGraphLaunch", 0), "copies to the device": copies}


def main(options: Options) -> None:
    """Print a line for each preset and size of batch, and write all figures."""
    rows = []
    for name in options.presets:
        for size in options.batches:
            start = preset(name)
            given = {} if start.synthetic else EMBEDDED
            config = dataclasses.replace(
                start,
                **given,
                batch_size=size,
                refiner_updates=2,
                limit=3 * size,
                history_size=start.history_size and 8 * size,
                trackers=(),
            )
            data = load(config)
            config = dataclasses.replace(config, **data.resolved)
            config = dataclasses.replace(config, mixed_precision=faster_precision(config, data))
            began = time.perf_counter()
            step, trainer = ours(config, data)
            step()
            first, device = time.perf_counter() - began, trainer.accelerator.device
            precision = str(trainer.accelerator.mixed_precision)
            stored = [arrays(bank.parts[0]) for bank in (trainer.synthetic, trainer.real)]
            steps = {
                "plain": plain(config, *stored, device),
                "careful": careful(config, *stored, device, precision),
                "ours": step,
            }
            row = {"preset": name, "batch": size, "device": device.type, "precision": precision}
            row |= milliseconds(steps, options.steps, device)
            row |= {"first step, s": round(first, 1), **counted(step, device)}
            row["memory, MiB"] = round(
                torch.cuda.max_memory_allocated() / 2**20
                if device.type == "cuda"
                else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            )
            rows.append(row)
            if options.output:
                options.output.write_text(
                    json.dumps({"torch": torch.__version__, "rows": rows}, indent=1) + "\n", encoding="utf-8"
                )
            times = [f"{row[kind] / row['ours']:.2f} times {kind}'s" for kind in ("plain", "careful")]
            print(f"{json.dumps(row)}\n  {name}, batch {size}: as fast as {' and '.join(times)}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
