"""What refining files and data sets share: settings, what was done, batches, records of both, whole files."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from simgan.domains import find
from simgan.errors import ImageError, SourceError
from simgan.images import codecs
from simgan.images.arrays import Array
from simgan.images.files import read
from simgan.refining.engine import RefinerLike, ShouldStop, check, raise_if_stopped, refine
from simgan.runtime import has_fast_bfloat16, use_fast_bfloat16

RECORD = ".simgan-refine.json"
AHEAD = 256  # files, or rows of a data set, that are read before they are refined together
PIXELS = 2**24  # of them at most, so that large images do not fill the memory
Item = TypeVar("Item")


SOME = 8  # images of one size, from which on it is said that they are of another kind


@dataclass
class Refined:
    """What was done: images refined now, images that an earlier run had done, other files copied, broken images."""

    images: int = 0
    already: int = 0
    copied: int = 0
    broken: list[str] = field(default_factory=list)


@dataclass
class Job:
    """The settings of refining what is on a disk, and what was done so far."""

    refiner: RefinerLike
    strength: float = 1.0
    batch_size: int | None = None
    skip_bad: bool = False  # leave broken images out, and list them
    copy: Sequence[str] = ()  # patterns of the relative names of images that are labels, such as "masks/*": copied
    read_image: Callable[[Any, str], Image.Image | Array] = read  # of a path or bytes, and a name; `ImageError`
    check: Callable[[Any, Any, str], object] = check  # refuses at least what `simgan.refining.engine.check` does
    progress: Callable[[int, int], None] | None = None  # gets images done and all images of a folder or an archive
    should_stop: ShouldStop = None  # called before each image and between the pieces that go through the network
    done: Refined = field(default_factory=Refined)

    def begin(self, output: Path, *, beside: bool) -> Path:
        """Make, or continue in, a folder to work in: the output, or one beside an output that is made at the end."""
        if beside and output.exists():
            raise SourceError(f"{output} exists: give another output, or delete it")
        folder = output.parent / f".{output.name}.parts" if beside else output
        note, facts = folder / RECORD, record(self.refiner, self.strength, self.copy)
        if is_of_record(note, facts):
            use_fast_bfloat16(json.loads(note.read_text(encoding="utf-8"))["bfloat16"])
        elif note.is_file():
            why = "was begun with another model or strength, or other files to copy"
            raise SourceError(f"{folder} {why}: give another output, or delete it")
        elif folder.is_dir() and any(folder.iterdir()):
            raise SourceError(f"{folder} is not empty and was not begun by this command: give another output")
        else:
            write(note, json.dumps(facts).encode())
        return folder

    def refine_all(
        self, items: Iterable[Item], read: Callable[[Item], tuple[Any, str]]
    ) -> Iterator[tuple[Item, Any, Any]]:
        """Yield each item, its image and its refined image, in order; `read` returns an image and its name."""
        batch: list[tuple[Item, Any]] = []
        pixels = 0
        for item in items:
            raise_if_stopped(self.should_stop)
            try:
                image, name = read(item)
                self.check(self.refiner, image, name)
            except ImageError as error:
                if not self.skip_bad:
                    raise
                self.done.broken.append(str(error))
                continue
            batch.append((item, image))
            pixels += int(np.prod(image.size))  # of a PIL image width and height
            if len(batch) == AHEAD or pixels >= PIXELS:
                yield from self._refine(batch)
                batch, pixels = [], 0
        yield from self._refine(batch)

    def _refine(self, batch: list[tuple[Item, Any]]) -> Iterator[tuple[Item, Any, Any]]:
        images = [image for _, image in batch]
        if not self.done.images:
            self._warn_of_another_kind(images)
        refined = refine(self.refiner, images, self.strength, self.batch_size, self.should_stop)
        self.done.images += len(batch)
        for (item, image), one in zip(batch, refined, strict=True):
            yield item, image, one

    def _warn_of_another_kind(self, images: Sequence[Any]) -> None:
        """Warn where the first images are plainly not what the refiner is for: it would do something to them."""
        domain, codec = find(self.refiner.config.domain), codecs.get(self.refiner.config.codec)
        stored = [check(self.refiner, image, "an image") for image in images]
        alike = [image for image in stored if (image.shape, image.dtype) == (stored[0].shape, np.uint8)]
        if len(alike) < SOME:
            return
        try:
            domain.check_kind("the input", codec.planes(np.stack(alike)))
        except SourceError as error:
            warnings.warn(str(error), stacklevel=2)
        except ImportError:  # without OpenCV, which the core has not, it is not known
            pass


def record(refiner: RefinerLike, strength: float, copy: Sequence[str] = ()) -> dict[str, Any]:
    """Return what an output is made with: SHA-256 of weights and settings, strength, copied files, precision."""
    digest = hashlib.sha256(repr(refiner.config).encode())
    for value in refiner.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    return {"refiner": digest.hexdigest(), "strength": strength, "copy": [*copy], "bfloat16": has_fast_bfloat16()}


def is_of_record(note: Path, facts: dict[str, Any]) -> bool:
    """Return whether a file is the record `facts`; the precision may be another machine's."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found | {"bfloat16": facts["bfloat16"]} == facts


def write(path: Path, data: bytes) -> None:
    """Write a file aside, then rename it: it is there whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
