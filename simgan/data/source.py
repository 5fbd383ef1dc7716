"""What an adapter gives: a list of things to read, and the function that reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from datasets import Features

from simgan.data.columns import Row, check_labels
from simgan.errors import SimGANError, SourceError

Task = Any
Item = TypeVar("Item")
Read = Callable[[Task], Iterable[Row]]


@dataclass(frozen=True)
class Source:
    """Where rows come from. Tasks and `read` can be pickled, so that other processes can do the reading.

    A task gives one row, or a few (`single` is False). `read` raises a `SimGANError` that names the broken file.
    `broken` lists what was found unreadable while the tasks were listed.
    """

    name: str
    tasks: Sequence[Task]
    read: Read
    features: Features
    single: bool = True
    broken: list[str] = field(default_factory=list)

    def rows(self, tasks: Iterable[Task], broken: list[str] | None = None) -> Iterator[Row]:
        """Read tasks in their order. Broken ones are put on the list `broken`; without one they raise."""
        for task in tasks:
            try:
                rows = [check_labels(row) for row in self.read(task)]
            except SimGANError as error:
                if broken is None:
                    raise
                broken.append(str(error))
                continue
            yield from rows


@contextmanager
def laid_out(file: Path | str, what: str) -> Iterator[None]:
    """Read labels within this: whatever they lack or hold instead becomes a `SourceError` that names the file."""
    try:
        yield
    except SimGANError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, OSError, cv2.error) as error:
        raise SourceError(f"{file} is not laid out as {what} are: {error!r}") from error


def folder_of(path: str, source: str) -> Path:
    """Check that a folder is there."""
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise SourceError(f"{source}: there is no folder {path!r}; give the path of one")
    return folder


def draw(items: Iterable[Item], limit: int | None, seed: int) -> list[Item]:
    """At most `limit` of the items, each as likely as any other, in their order (reservoir sampling, Vitter 1985).

    No more than `limit` are held at a time, and which they are depends on the seed and on how many rows there are.
    """
    if limit is None:
        return list(items)
    generator = np.random.default_rng(seed)
    kept: list[tuple[int, Item]] = []
    for number, item in enumerate(items):
        if number < limit:
            kept.append((number, item))
        elif (place := generator.integers(number + 1)) < limit:
            kept[place] = (number, item)
    return [item for _, item in sorted(kept, key=lambda pair: pair[0])]


def pick(total: int, limit: int | None, seed: int) -> np.ndarray:
    """Numbers of at most `limit` of `total` things, drawn evenly at random by seed, in ascending order."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
