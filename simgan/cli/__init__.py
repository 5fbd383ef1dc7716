"""The command `simgan`; what a command needs is imported when it is called."""

import functools
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from simgan import __version__
from simgan.errors import command_line, without_secrets

Function = Callable[..., None]
COMMANDS = {
    "refine": "Make images look real; labels, names, formats and bit depths stay.",
    "prepare": "Write a source once as crops with their labels, for training.",
    "simulate": "Write labelled images of a simulator to a folder.",
    "evaluate": "Measure a refiner: realism, annotation shift, and whether it helps.",
    "ablate": "Train a recipe without each of its ingredients, and compare.",
    "report": "Put runs and measurements into one report.",
    "export": "Write a refiner as an ONNX file, for other engines.",
    "push": "Push a trained model to the Hub.",
    "space": "Serve the demo here, push it to the Hub as a Space, or write a page that needs no server.",
}
"""What each command does."""
EXTRAS = {"refine": "cli", "export": "cli", "space": "demo"}
"""What a command needs: `pip install "simgan[EXTRA]"`; "train" for the others."""
HELP = """usage: simgan COMMAND ...

SimGAN: make labelled synthetic images look real without losing their labels.

{commands}

`simgan COMMAND --help` lists the options of a command, `simgan --version` prints the version. Training:
`accelerate launch -m train_accelerate --help`."""


def load(command: str) -> Function | Mapping[str, Function]:
    """Import and return the function of a command, or the functions of its subcommands by name."""
    found: Any
    match command:
        case "refine":
            from simgan.cli.refine import refine as found
        case "prepare":
            from simgan.cli.data import prepare as found
        case "simulate":
            from simgan.cli.data import simulate as found
        case "evaluate":
            from simgan.cli.evaluate import MEASURES as found
        case "ablate":
            from simgan.cli.ablate import ablate as found
        case "report":
            from simgan.cli.report import report as found
        case "export":
            from simgan.cli.export import export as found
        case "push":
            from simgan.cli.push import push as found
        case _:
            from simgan.cli.push import build_space, push_space
            from simgan.space import serve

            found = {"serve": serve, "push": push_space, "build": build_space}
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run a command. An error that is raised on purpose is printed as one sentence, with exit status 1."""
    given = sys.argv[1:] if arguments is None else arguments
    command = given[0] if given else "--help"
    with command_line():
        try:
            if command == "--version":
                print(f"simgan {__version__}")
            elif command in ("--help", "-h"):
                print(HELP.format(commands="\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())))
            elif command in COMMANDS:
                _run(command, given[1:])
            else:
                print(f"error: unknown command {command!r}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
                sys.exit(2)
        except BrokenPipeError:  # of `simgan … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit("interrupted; the same command continues the work")


def _run(command: str, given: list[str]) -> None:
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")  # ours are enough
    try:
        found: Any = load(command)
        given = given or ([] if callable(found) else ["--help"])
        if (shown := without_secrets(given)) != given:
            try:  # whether they are right, before tyro prints those that are wrong
                with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                    idle = _idle(found) if callable(found) else {key: _idle(one) for key, one in found.items()}
                    _parse(command, idle, given)
            except SystemExit:
                given = shown
        _parse(command, found, given)
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "simgan"):
            raise
        extra = EXTRAS.get(command, "train")
        if extra == "cli" and missing not in ("tqdm", "tyro"):  # data sets and pushing need more
            extra = "train"
        sys.exit(f'error: simgan {command} needs {missing}, which is not installed: pip install "simgan[{extra}]"')


def _parse(command: str, found: Any, given: list[str]) -> None:
    import tyro

    parse: Any = tyro.cli if callable(found) else tyro.extras.subcommand_cli_from_dict
    parse(found, prog=f"simgan {command}", args=given)


def _idle(function: Function) -> Function:
    """Return a function that takes the same arguments and does nothing."""
    return functools.wraps(function)(lambda *arguments, **options: None)
