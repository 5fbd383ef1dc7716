"""The Space: builds `simgan.demo` and launches it."""

import tyro

from simgan.demo import serve

if __name__ == "__main__":
    tyro.cli(serve)
