"""The Space: builds `simgan.space` and launches it."""

import sys

from simgan.errors import check_arguments, command_line
from simgan.space import serve

if __name__ == "__main__":
    with command_line():
        try:
            import tyro

            check_arguments(sys.argv[1:])
            tyro.cli(serve)
        except ModuleNotFoundError as error:
            sys.exit(f'error: the Space needs {error.name}, which is not installed: pip install "simgan[demo]"')
