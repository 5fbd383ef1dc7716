"""The Space: builds `simgan.space` and launches it."""

import tyro

from simgan.space import serve

if __name__ == "__main__":
    tyro.cli(serve)
