"""What refining files and data sets share: settings, what was done, batches, records of both, whole files."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from simgan.domains import find
from simgan.errors import ImageError, SourceError, reason
from simgan.images import codecs
from simgan.images.arrays import Array
from simgan.images.files import encode_like, read
from simgan.refining import labels
from simgan.refining.engine import RefinerLike, ShouldStop, check, check_strength, raise_if_stopped, refine
from simgan.refining.places import alone, aside, delete, found_in, write
from simgan.runtime import has_fast_bfloat16, use_fast_bfloat16

RECORD = ".simgan-refine.json"
LOCK = ".simgan-refine.lock"  # of a folder that a run is working in
AHEAD = 256  # files, or rows of a data set, that are read before they are refined together
PIXELS = 2**24  # of them at most, so that large images do not fill the memory
SOME = 8  # images of one size, from which on it is said that they are of another kind
Stamps = Mapping[str, list[int]]  # of each thing that is made: what it is made of, as numbers


class Item(NamedTuple):
    """An image that is to be refined."""

    key: Any  # by which the caller knows it: in a folder the name of its file
    name: str  # in messages
    file: bytes | Path | ImageError  # an error where it could not be read
    may_be_label: bool = False  # so its values are looked at


@dataclass
class Refined:
    """What was done."""

    images: int = 0
    already: int = 0  # images that an earlier run had done
    files: int = 0  # archives and tables of a folder that an earlier run had done
    copied: int = 0  # files that are no images
    broken: list[str] = field(default_factory=list)  # what was wrong with each image that was left out


@dataclass
class Job:
    """The settings of refining what is on a disk, and what was done so far."""

    refiner: RefinerLike
    strength: float = 1.0
    batch_size: int | None = None
    workers: int | None = 0  # processes; None: as many as there are cores, where that takes less time
    ray: str | None = None  # address of a Ray cluster, or one of `simgan.refining.cluster`'s names
    cluster: Any = None  # the `Cluster` of that address, while it is connected
    skip_bad: bool = False  # leave broken images out, and list them
    copy: Sequence[str] = ()  # patterns of names of labels, such as "masks/*", and of images, such as "not:masks/*"
    image: str | None = None  # the column of images of a data set that has several
    overwrite: bool = False  # begin anew where the output exists, or is of another input, model or strength
    read_image: Callable[[Any, str], Image.Image | Array] = read  # of a path or bytes, and a name; `ImageError`
    check: Callable[[Any, Any, str], object] = check  # refuses at least what `simgan.refining.engine.check` does
    quiet: bool = False  # no progress bar
    progress: Callable[[int, int], None] | None = None  # gets images done and all images of a folder or an archive
    should_stop: ShouldStop = None  # called before each image and between the pieces that go through the network
    done: Refined = field(default_factory=Refined)

    def __post_init__(self) -> None:
        check_strength(self.strength)

    @contextmanager
    def begun(self, source: Any, output: Any, stamps: Stamps, *, beside: bool) -> Iterator[Any]:
        """Yield a folder to work in, new or of an earlier run: the output, or `files` in a folder beside it.

        `stamps` has a key for each path that is made in it. What an earlier run made of something else is deleted
        first, so all that is there is done. A folder beside the output is deleted at the end.
        """
        if beside:
            self.check_new(output)
        elif output.is_file():
            raise SourceError(f"{output} is a file: give the name of a folder or an archive")
        folder = aside(output, ".parts") if beside else output
        work = folder / "files" if beside else output
        with alone(folder / LOCK, output):
            self._continue(output, folder, work, record(self.refiner, self.strength, source, stamps))
            yield work
            if beside:
                shutil.rmtree(work)
                (folder / RECORD).unlink()
        if beside:
            folder.rmdir()

    def check_new(self, output: Any) -> None:
        """Raise `SourceError` where an output that is written at once is there already."""
        if output.exists() and not self.overwrite:
            raise SourceError(f"{output} exists: give another output, or --overwrite")

    def _continue(self, output: Any, folder: Any, work: Any, facts: dict[str, Any]) -> None:
        """Delete what an earlier run made otherwise, and write the record; refuse a folder of another job."""
        found = _read(folder / RECORD)
        if not found and folder.exists() and any(path.name != LOCK for path in folder.iterdir()):
            raise SourceError(f"{folder} is not empty and was not begun by this command: give another output")
        if found and not self.overwrite:
            for key, what in ("source", "input"), ("refiner", "model"), ("strength", "strength"):
                if found.get(key) != facts[key]:
                    other = f"another {what}" + ("" if key == "refiner" else f", {found.get(key)}")
                    raise SourceError(f"{output} was begun with {other}: give another output, or --overwrite")
            use_fast_bfloat16(found["bfloat16"])
            facts["bfloat16"] = found["bfloat16"]
        made, stamps, is_there = found.get("stamps", {}), facts["stamps"], found_in(work)
        if foreign := next((name for name in stamps if name not in made and is_there(name)), None):
            raise SourceError(f"{work / foreign} was not written by this command: move it, or give another output")
        stale = {name for name in made if self.overwrite or made[name] != stamps.get(name)}
        lost = [name for name in made if name not in stamps and is_there(name)]
        if lost and work == output and not self.overwrite:  # else they are not packed
            stale -= {*lost}
            told = f"holds {len(lost)} files that the input no longer has, such as {lost[0]}"
            warnings.warn(f"{output} {told}: delete them, or give --overwrite", stacklevel=2)
        for path in (work / name for name in stale if not Path(name).anchor and ".." not in Path(name).parts):
            if path == work:  # of a data set, whose rows are made together
                shutil.rmtree(path, ignore_errors=True)
            delete(path)
        facts["stamps"] = {name: made[name] for name in made if name not in stale} | stamps
        write(folder / RECORD, json.dumps(facts).encode())

    def refine_all(self, items: Iterable[Item]) -> Iterator[tuple[Item, bytes]]:
        """Yield each item and its refined file, in order."""
        for item, image, refined in self.refine_images(items):
            yield item, encode_like(refined, image, name=item.name)

    def refine_images(self, items: Iterable[Item]) -> Iterator[tuple[Item, Any, Any]]:
        """Yield each item, its image and its refined image, in order."""
        batch: list[tuple[Item, Any]] = []
        pixels = 0
        for item in items:
            raise_if_stopped(self.should_stop)
            try:
                image = self._open(item)
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
        if batch:
            yield from self._refine(batch)

    def _open(self, item: Item) -> Image.Image | Array:
        if isinstance(item.file, ImageError):
            raise item.file
        try:
            data = item.file if isinstance(item.file, bytes) else item.file.read_bytes()
        except OSError as error:
            raise ImageError(f"{item.name} cannot be read: {reason(error)}") from error
        image = self.read_image(data, item.name)
        if item.may_be_label and not codecs.get(self.refiner.config.codec).is_depth:
            labels.check_values(image, item.name)
        self.check(self.refiner, image, item.name)
        return image

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


def record(refiner: RefinerLike, strength: float, source: Any = None, stamps: Stamps | None = None) -> dict[str, Any]:
    """Return what an output is made of: SHA-256 of weights and settings, strength, precision, input and its items."""
    digest = hashlib.sha256(repr(refiner.config).encode())
    for value in refiner.state_dict().values():
        digest.update(value.cpu().numpy().tobytes())
    place = source and str(source.expanduser().resolve())
    facts = {"refiner": digest.hexdigest(), "strength": strength, "bfloat16": has_fast_bfloat16()}
    return facts | {"source": place, "stamps": stamps or {}}


def is_of_record(note: Path, facts: dict[str, Any]) -> bool:
    """Return whether a file is the record `facts`; the precision may be another machine's."""
    return bool(found := _read(note)) and found | {"bfloat16": facts["bfloat16"]} == facts


def _read(note: Any) -> dict[str, Any]:
    """Return a record; an empty one where there is none."""
    try:
        found = json.loads(note.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("stamps"), dict) else {}
