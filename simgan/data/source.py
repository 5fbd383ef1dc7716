"""What an adapter returns: a list of things to read, and the function that reads one of them."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from datasets import Dataset, Features

from simgan.data.columns import Row, check_labels
from simgan.data.crop import Wanted
from simgan.errors import SimGANError, SourceError, reason
from simgan.images.files import Kind
from simgan.images.names import names_below

Task = Any
Item = TypeVar("Item")


@dataclass(frozen=True)
class Source:
    """Where rows come from. Tasks and `read` can be pickled, so that other processes can read.

    A task is one image, or several where `single` is False. `read` raises a `SimGANError` that names the broken file.
    `table` holds the same rows where they need not be read. `look` tells size and colours of a task's image without
    reading it, and `classes` are those of the tasks' images, in a column `label`. So many images as `unnamed` have no
    labels, though others have.
    """

    name: str
    tasks: Sequence[Task]
    read: Callable[[Task], Iterable[Row]]
    features: Features
    single: bool = True
    table: Dataset | None = None
    look: Callable[[Task], Kind] | None = None
    classes: Sequence[Any] | None = None
    unnamed: int = 0

    def rows(self, broken: list[str] | None = None) -> Iterator[Row]:
        """Yield the rows of all tasks. Errors are appended to the list `broken`; without one they are raised."""
        for task in self.tasks:
            try:
                rows = [check_labels(row) for row in self.read(task)]
            except SimGANError as error:
                if broken is None:
                    raise
                broken.append(str(error))
                continue
            yield from rows


@dataclass(frozen=True)
class Adapter:
    """A kind of source.

    `open` gets what follows the colon of a source's name, and what is wanted of it. `usage` says in errors what
    that is. `from_frames`: its crops are cut from larger frames, so that a correction can move them.
    """

    open: Callable[[str, Wanted], Source]
    usage: str
    from_frames: bool = False


@contextmanager
def parsing(file: Path | str, what: str) -> Iterator[None]:
    """Turn what broken files raise within this context into a `SourceError` that names the file."""
    try:
        yield
    except (SimGANError, ImportError):
        raise
    except Exception as error:
        raise SourceError(f"{file} is not laid out as {what} are: {error!r}") from error


@contextmanager
def written_aside(output: Path) -> Iterator[Path]:
    """Yield an empty folder, to be renamed to `output` when it is complete; `SourceError` where the disk fails."""
    aside = output.with_name(f".{output.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def files_of(path: str, source: str, patterns: Iterable[str], missing: str) -> tuple[Path, list[Path]]:
    """Return a folder and its files, sorted; `SourceError` without a folder, or without files ("has no {missing}").

    Patterns are of relative names in any case, of a folder or file each between "/"; `**/` is any number of folders.
    Stray files are left out, and linked folders are entered.
    """
    folder = Path(path).expanduser()
    if not path or not folder.is_dir():
        raise SourceError(f"{source}: there is no folder {path!r}; give the path of one")
    wanted = [pattern.lower().split("/") for pattern in patterns]
    files = sorted(folder / name for name in names_below(folder) if any(_fits(name, pattern) for pattern in wanted))
    if not files:
        raise SourceError(f"{source}: {folder} has no {missing}")
    return folder, files


def _fits(name: str, pattern: list[str]) -> bool:
    parts = name.lower().split("/")
    if pattern[0] == "**":
        parts, pattern = parts[-1:], pattern[1:]
    return len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern))


def labels_beside(file: Path, name: str) -> Path:
    """Return the file of labels of that name, in any case, beside an image; `SourceError` where it is missing."""
    beside = file.with_name(name)
    for place in (beside, beside.with_suffix(beside.suffix.upper())):  # before all files are looked at
        if place.is_file():
            return place
    fitting = [place for place in file.parent.iterdir() if place.name.lower() == name.lower()]
    if len(fitting) != 1:
        raise SourceError(f"{file} has no labels: {name} is missing beside it")
    return fitting[0]


def draw(items: Iterable[Item], limit: int | None, seed: int) -> list[Item]:
    """Return at most `limit` items, all equally likely, in order, with no more in memory (reservoir; Vitter 1985)."""
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
    """Return at most `limit` of the numbers below `total`, drawn evenly by seed, in ascending order."""
    if limit is None or limit >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
