"""What the commands share: positional arguments, and what is printed of broken images."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

Input = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]
Output = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
OutputAddress = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]  # a path or an address of `fsspec`
Repository = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ORG/NAME")]


def print_broken(broken: list[str]) -> None:
    """List the images that were left out, with the reason of each."""
    for line in broken:
        print(f"left out: {line}", file=sys.stderr)
