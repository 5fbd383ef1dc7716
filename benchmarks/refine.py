"""Refining: `Refiner.refine` against a plain float32 NCHW loop, a folder of PNG files against arrays, and memory.

`python benchmarks/refine.py [--crops 100000] [--files 20000] [--device cuda]`. The plain loop is what
re-implementations do with the same network, batches of 32 at a time.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from simgan import Refiner
from simgan.images.arrays import equalize, to_array
from simgan.images.files import encode_png
from simgan.refining.files import refine_path
from simgan.runtime import has_fast_bfloat16
from simgan.simulators import SIMULATORS

ROUNDS, BATCH, CROPS, FRAMES = 5, 32, 128, 16


def plain(refiner: Refiner, images: list[np.ndarray]) -> list[np.ndarray]:
    out: list[np.ndarray] = []
    device = next(refiner.parameters()).device
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        codec, planes = refiner.codec, np.stack(batch)
        windows = codec.windows(planes)
        x = codec.to_tensor(equalize(planes) if refiner.config.equalize else planes, windows)
        with torch.no_grad():
            refined = refiner(x.to(device), equalized=True).cpu()
        if windows is None:
            out.extend(to_array(refined, np.uint8))
        else:
            depths = [window.to_depth(values) for window, values in zip(windows, refined[:, 0].numpy(), strict=True)]
            out.extend(np.where(depth > 0, depth, image) for depth, image in zip(depths, batch, strict=True))
    return out


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def of_files(refiner: Refiner, images: list[np.ndarray], count: int) -> None:
    """Print how fast a folder of PNG files becomes another one, in turns with arrays; its start is left out."""
    with tempfile.TemporaryDirectory() as here:
        place = Path(here)
        (place / "in").mkdir()
        for number in range(count):
            turned = np.roll(images[number % len(images)], number // len(images), 1)
            (place / "in" / f"{number:07}.png").write_bytes(encode_png(turned))
        for workers in (0, None) * 2:
            arrays = [images[number % len(images)] for number in range(count // 4)]
            rate = len(arrays) / seconds(lambda: refiner.refine(arrays))  # noqa: B023
            times: list[tuple[float, int]] = []
            refine_path(
                refiner,
                place / "in",
                place / f"out{workers}",
                overwrite=True,
                workers=workers,
                progress=lambda done, _: times.append((time.perf_counter(), done)),  # noqa: B023
            )
            first = next(k for k, (_, done) in enumerate(times) if done > count // 5)
            files = (times[-1][1] - times[first][1]) / (times[-1][0] - times[first][0])
            how = "in this process" if workers == 0 else "in processes"
            print(
                f"{count} PNG files {how}: {files:.0f} a second, arrays {rate:.0f}: {files / rate:.2f} of them",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crops", type=int, default=100_000, help="crops for the memory's figure")
    parser.add_argument("--files", type=int, default=20_000, help="PNG files of a folder")
    parser.add_argument("--device", default="cpu", help="where both are computed, such as cuda")
    arguments = parser.parse_args()
    count, device = arguments.crops, arguments.device
    eye_crops, frames = (
        list(SIMULATORS[name].render(np.arange(number))[0])
        for name, number in (("simulator:eyes", CROPS), ("simulator:hands", FRAMES))
    )
    print(f"{CROPS} crops of 55 x 35, {FRAMES} of 224 x 224")
    print(f"{torch.get_num_threads()} threads, fast bfloat16: {has_fast_bfloat16(device)}")
    for name, images in (
        ("hands", frames),
        ("eyes-paper", eye_crops),
        ("eyes-simulated", eye_crops),
        ("eyes", eye_crops),
    ):
        # what ships, as only a trained refiner gives light and tones; the paper's network has no weights
        ours, theirs = (
            (Refiner.from_preset(name).eval() if name == "eyes-paper" else Refiner.from_pretrained(name)).to(device)
            for _ in range(2)
        )
        pairs = []
        for turn in range(ROUNDS + 1):
            pair = (seconds(lambda: plain(theirs, images)), seconds(lambda: ours.refine(images)))  # noqa: B023
            if turn:  # the first one compiles kernels
                pairs.append(pair)
        slow, fast = (statistics.median(values) for values in zip(*pairs, strict=True))
        ratio = statistics.median(a / b for a, b in pairs)
        one = statistics.median(seconds(lambda: ours.refine(images[0])) for _ in range(30))  # noqa: B023
        print(
            f"{name:14} plain {len(images) / slow:6.1f} crops/s, ours {len(images) / fast:6.1f} crops/s: "
            f"{ratio:.2f} times as fast; one crop {1000 * one:.1f} ms",
            flush=True,
        )
    of_files(ours, eye_crops, arguments.files)
    many: Iterator[np.ndarray] = (eye_crops[i % CROPS] for i in range(count))
    before = 0
    for number, _ in enumerate(ours.refine(many), 1):
        if number == min(2000, count):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"peak memory after 2,000 crops {before // 1024} MiB, after {count:,} {after // 1024} MiB")


if __name__ == "__main__":
    main()
