"""Results on disk: written aside and renamed, so that nothing is left half-written."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from simgan.errors import SourceError, reason
from simgan.refining.places import write


def write_aside(file: Path, data: bytes) -> None:
    """Write a file aside and rename it, making its folder; `SourceError` where that does not work."""
    try:
        write(file, data)
    except OSError as error:
        raise SourceError(f"{file} cannot be written ({reason(error)})") from error


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Turn whatever a missing or unexpected value of a file raises into a `SourceError` that names the file."""
    try:
        yield
    except KeyError as error:
        raise SourceError(f"{file} lacks {error}: it was not written by this simgan, write it again") from error
    except (OSError, ValueError, TypeError, IndexError, AttributeError, TemplateError) as error:
        raise SourceError(f"{file} is damaged ({error}): delete it, or write it again") from error


def write_json(file: Path, values: Any) -> None:
    """Write values as `as_json` returns them."""
    write_aside(file, as_json(values))


def as_json(values: Any) -> bytes:
    """Return values as JSON, which has no NaN: null instead."""
    return (json.dumps(finite(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def finite(values: Any) -> Any:
    """Return values with None for figures that are not finite."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values
