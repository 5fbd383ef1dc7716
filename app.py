"""The Space: builds `simgan.space` and launches it."""

import sys

from simgan.space import serve

if __name__ == "__main__":
    try:
        import tyro

        tyro.cli(serve)
    except ModuleNotFoundError as error:
        sys.exit(f'error: the Space needs {error.name}, which is not installed: pip install "simgan[demo]"')
