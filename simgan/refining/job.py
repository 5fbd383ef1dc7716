"""What refining files and refining data sets share: settings, what was done, batches, and files that are whole."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from simgan.errors import ImageError, SourceError
from simgan.images.arrays import Array
from simgan.refining.engine import RefinerLike, ShouldStop, raise_if_stopped, refine
from simgan.runtime import has_fast_bfloat16, use_fast_bfloat16

RECORD = ".simgan-refine.json"
AHEAD = 256  # files, or rows of a data set, that are read before they are refined together
PIXELS = 2**24  # of them at most, so that large images do not fill the memory
Value = TypeVar("Value", bound=tuple[Any, ...])
Loaded = TypeVar("Loaded", bound=Image.Image | Array)


@dataclass
class Refined:
    """What was done: images refined now, images that an earlier run had done, other files copied, broken images."""

    images: int = 0
    already: int = 0
    copied: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass
class Job:
    """The settings of `simgan.refining.files.refine_path`, and what was done so far."""

    refiner: RefinerLike
    strength: float
    batch_size: int | None
    skip_bad: bool
    copy: tuple[str, ...]
    check: Callable[[Any, Any, str], object]
    read_image: Callable[[Any, str], Any]
    progress: Callable[[int, int], None] | None
    should_stop: ShouldStop
    done: Refined = field(default_factory=Refined)

    def begin(self, folder: Path) -> Path:
        """Make a folder to work in, or continue in one that was begun with the same refiner and settings."""
        note = folder / RECORD
        if note.is_file():
            text = note.read_text()
            if not is_of_record(text, self.refiner, self.strength, self.copy):
                raise SourceError(
                    f"{folder} was begun with another model or strength, or other files to copy: give another output, "
                    "or delete it"
                )
            use_fast_bfloat16(json.loads(text).get("bfloat16", has_fast_bfloat16()))
        elif folder.is_dir() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty and was not begun by this command: give another output")
        write(note, record(self.refiner, self.strength, self.copy).encode())
        return folder

    def begin_beside(self, output: Path) -> Path:
        """Make, or continue in, a folder beside an output that is written when all of it is done."""
        if output.exists():
            raise SourceError(f"{output} exists: give another output, or delete it")
        return self.begin(output.parent / f".{output.name}.parts")

    def load(self, read: Callable[[], Loaded], name: str) -> Loaded | None:
        """Return the image that `read` returns, if it can be refined; None for a broken one that is skipped."""
        raise_if_stopped(self.should_stop)
        try:
            image = read()
            self.check(self.refiner, image, name)
            return image
        except ImageError as error:
            if not self.skip_bad:
                raise
            self.done.broken.append(str(error))
            return None

    def refine(self, images: list[Any]) -> list[Any]:
        """Refine images together, and count them."""
        self.done.images += len(images)
        refined: list[Any] = refine(self.refiner, images, self.strength, self.batch_size, self.should_stop)
        return refined


def record(refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> str:
    """Return what an output is made with, as one line of JSON: weights, settings, strength, copied files, precision."""
    digest = hashlib.sha256(repr(refiner.config).encode())
    for value in refiner.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    facts = {"refiner": digest.hexdigest(), "strength": strength, "copy": tuple(copy), "bfloat16": has_fast_bfloat16()}
    return json.dumps(facts) + "\n"


def is_of_record(text: str, refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> bool:
    """Return whether a record is of this refiner, strength and copying; the precision may be another machine's."""
    try:
        first, second = json.loads(text), json.loads(record(refiner, strength, copy))
    except ValueError:
        return False
    return isinstance(first, dict) and all(first.get(key) == second[key] for key in second.keys() - {"bfloat16"})


def batches(values: Iterable[Value | None]) -> Iterator[list[Value]]:
    """Return up to `AHEAD` of the values that are not None at a time, or up to `PIXELS` (and one more image).

    A value is a tuple that ends with an image.
    """
    batch: list[Value] = []
    seen = 0
    for value in values:
        if value is None:
            continue
        batch.append(value)
        seen += int(np.prod(value[-1].size))  # of a PIL image width and height
        if len(batch) == AHEAD or seen >= PIXELS:
            yield batch
            batch, seen = [], 0
    if batch:
        yield batch


def write(path: Path, data: bytes) -> None:
    """Write a file aside, then rename it: it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
