"""Errors raised on purpose: one sentence that names thing and remedy. Command lines print it and exit with 1."""

import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_SECRETS = re.compile(
    r"(://|\bhttps?:/(?!/))(?:[^\s'\"]+(?=@)"  # user and password of an address; `pathlib` leaves one slash of two
    r"|[^\s/:@'\"]+:\d*[A-Za-z][^\s/@'\"]*)"  # of one that was cut off at the @: what follows the colon is no port
    r"|[^\s/@:'\"]+:[^\s/@'\"]+(?=@[\w-]+(?:\.[\w-]+)+[/:])"  # of one without https://
    r"|\bhf_[A-Za-z0-9]{16,}"  # a token of the Hub
)


def hide(text: str, *secrets: object) -> str:
    """Return a text with *** for tokens, passwords and `secrets`: what is printed, raised or written, others read."""
    for secret in (*secrets, os.environ.get("HF_TOKEN"), os.environ.get("HUGGING_FACE_HUB_TOKEN")):
        if isinstance(secret, str) and len(secret.strip()) > 4:
            text = text.replace(secret.strip(), "***")
    return _SECRETS.sub(r"\1***", text)


def _hidden(word: Any) -> Any:
    return hide(word) if isinstance(word, str) else word


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """Return arguments of a command line as they may be printed: what is given to --token and its like is hidden."""
    option = re.compile(r"--?[\w-]*(tok|passw|secret)[\w-]*", re.IGNORECASE)
    hidden = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        name, equals, _ = argument.partition("=")
        if option.fullmatch(before) and not argument.startswith("--"):
            hidden.append("***")
        else:
            hidden.append(f"{name}=***" if equals and option.fullmatch(name) else hide(argument))
    return hidden


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise `ConfigError` where one of a command that takes no token looks like one, or like a password."""
    if without_secrets(arguments) != [*arguments]:
        raise ConfigError("no argument takes a token or a password: use `hf auth login`, or the variable HF_TOKEN")


@contextmanager
def command_line() -> Iterator[None]:
    """Surround what a command line does: consoles print what they can, and a `SimGANError` ends it as one sentence."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # code pages of Windows lack − and λ; standard error escapes them
    formatted = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"  # without the line of our code
    try:
        yield
    except SimGANError as error:
        sys.exit(f"error: {error}")
    finally:
        warnings.formatwarning = formatted


def reason(error: BaseException) -> str:
    """Return why something could not be written: a full disk in plain words, all else in the system's words."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    return "the disk is full: free some space" if full else str(error)


class SimGANError(Exception):
    """Base class of all errors raised on purpose; neither it nor its causes show a secret."""

    def __init__(self, *words: object) -> None:
        super().__init__(*map(_hidden, words))
        error = sys.exc_info()[1]
        while error is not None:  # the errors that it is raised from, as a traceback shows them too
            error.args = tuple(map(_hidden, error.args))
            if isinstance(error, OSError) and error.filename:
                error.filename = _hidden(error.filename)
            error = error.__cause__ or error.__context__


class ImageError(SimGANError, ValueError):
    """An image cannot be read or is not what the model takes; names the image and what was wrong."""


class SourceError(SimGANError, ValueError):
    """A data source is unknown, empty, or holds something broken; names the source or the file."""


class ModelError(SimGANError, ValueError):
    """A folder or repository does not hold a network that can be loaded; names it and what is missing."""


class ConfigError(SimGANError, ValueError):
    """Settings that do not exist or do not fit together; names the setting and its value."""


class TrainingError(SimGANError, RuntimeError):
    """Training cannot go on: a diagnosis and the remedy."""


class PublishError(SimGANError, RuntimeError):
    """Nothing could be pushed to the Hub; says what the Hub answered and what to do."""


class Stopped(SimGANError, RuntimeError):
    """Work was stopped because the caller asked for it."""


def require(fits: object, sentence: str) -> None:
    """Raise `ConfigError` with the sentence unless settings fit."""
    if not fits:
        raise ConfigError(sentence)
