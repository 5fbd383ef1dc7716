"""The commands `simgan prepare` and `simgan simulate`."""

import functools
from pathlib import Path
from typing import Any

from simgan.cli.arguments import print_broken
from simgan.data.prepare import prepare as write_crops
from simgan.data.simulated import write_images


@functools.wraps(write_crops)
def prepare(source: str, output: Path, **options: Any) -> None:
    """Prepare a source, and print what was written and what was left out."""
    done = write_crops(source, output, **options)
    print(f"{done.count} crops in {output}")
    if done.alignment is not None:
        print(f"{done.alignment.summary}; the mean images are in {output}-alignment.png")
    print_broken(done.broken)


@functools.wraps(write_images)
def simulate(simulator: str, output: Path, count: int, seed: int) -> None:
    """Write a simulator's images, and print how many."""
    write_images(simulator, output, count=count, seed=seed)
    print(f"{count} images and metadata.jsonl in {output}")
