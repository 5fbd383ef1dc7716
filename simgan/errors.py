"""Errors raised on purpose: one sentence that names thing and remedy. Command lines print it and exit with 1."""

import errno


def reason(error: BaseException) -> str:
    """Return why something could not be written: a full disk in plain words, all else in the system's words."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    return "the disk is full: free some space" if full else str(error)


class SimGANError(Exception):
    """Base class of all errors raised on purpose."""


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
