"""The Space: builds `simgan.space` and launches it."""

import sys

from simgan.errors import command_line, without_secrets
from simgan.space import serve

if __name__ == "__main__":
    with command_line():
        try:
            import tyro

            tyro.cli(serve, args=without_secrets(sys.argv[1:]))
        except ModuleNotFoundError as error:
            sys.exit(f'error: the Space needs {error.name}, which is not installed: pip install "simgan[demo]"')
