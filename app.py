"""The Space: builds `simgan.demo` and launches it."""

from pathlib import Path

import tyro

from simgan.demo import build, launch
from simgan.demo.storage import own_temporary_folder


def main(real: Path | None = None) -> None:
    """Serve the page.

    Args:
        real: a folder of real eye crops for the visual Turing test; without it, simgan's look-alike of a camera's.
    """
    own_temporary_folder()
    launch(build(real=real))


if __name__ == "__main__":
    tyro.cli(main)
