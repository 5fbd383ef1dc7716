"""The command `simgan simulate`."""

from typing import Annotated

import tyro

from simgan.cli.arguments import Output
from simgan.data.simulated import write_images
from simgan.simulators import SIMULATORS

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help=f"one of {', '.join(SIMULATORS)}.")]


def simulate(simulator: Name, output: Output, /, count: int = 1000, seed: int = 0) -> None:
    """Write labelled images of a simulator as PNG files and metadata.jsonl, which `folder:DIR` reads back.

    Args:
        simulator: clean renders, or images that look as if a real camera had taken them.
        output: a folder that does not exist yet.
        count: number of images.
        seed: another one gives other persons.
    """
    write_images(simulator, output, count=count, seed=seed)
    print(f"{count} images and metadata.jsonl in {output}")
