"""Models by name: the shipped ones, and public ones of the Hub, by an id that is never a path on this machine."""

import json
import logging
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import HFValidationError, validate_repo_id

from simgan.discriminator import Discriminator
from simgan.domains import Domain, find
from simgan.errors import ImageError, ModelError
from simgan.hub.loading import CONFIG, SHIPPED
from simgan.images.arrays import Array
from simgan.images.depth import looks_like_depth
from simgan.refiner import Refiner
from simgan.refining.engine import STRIP, check
from simgan.space.fetching import fetch
from simgan.space.uploads import EVENT_PIXELS, PIXELS, TooSlow, Worker

TOTAL_BYTES = 64 * 2**20  # of a model's files, and of the weights that its configurations describe
DEPTH = 64  # layers of a network
WORK = 10**12  # multiplications of one event: about ten seconds on two cores
LEAST = 1024  # pixels that an image is not shrunk below
MEMORY = 2 * 2**30  # bytes of the feature maps of an image
KEPT = 4  # models of the Hub in memory
FETCHING = 4  # at most at the same time, of which two are downloading
WAITING = 2  # visitors who may wait for one at the same time; they keep others from the model
PATIENCE = 10  # seconds that a visitor waits for one
SECONDS = 180  # until a download is ended


@dataclass(frozen=True)
class Model:
    """A refiner and, where the model has one, its discriminator."""

    name: str
    refiner: Refiner
    discriminator: Discriminator | None

    @property
    def domain(self) -> Domain:
        """The kind of its images."""
        return find(self.refiner.config.domain)

    def check_work(self, pixels: list[int], most: int = WORK, remedy: str = "use fewer") -> None:
        """Raise `ImageError` where images of so many pixels take too long or too much memory."""
        total, weights = sum(pixels), self.refiner.number_of_parameters
        if weights * total > most:
            raise ImageError(f"{self.name} takes {most // weights:,} pixels at once here, not {total:,}: {remedy}")
        if (needed := self.memory_of(max(pixels))) > MEMORY:
            text = f"{self.name} needs {needed / 2**30:.1f} GB for an image of {max(pixels):,} pixels"
            raise ImageError(f"{text}, and {MEMORY / 2**30:.0f} are free here: use a smaller image")

    def most_pixels(self, count: int) -> int:
        """Return how many pixels each of so many images may have about: photographs of more are shrunk."""
        most = min(PIXELS, EVENT_PIXELS // count, WORK // self.refiner.number_of_parameters // count)
        return max(LEAST, int(most * min(1, MEMORY / self.memory_of(most))))

    def memory_of(self, pixels: int) -> int:
        """Return the bytes of feature maps that both networks need at most for an image, one after the other.

        The refiner needs up to 7 times its width (measured), in strips of a large image; a layer of the discriminator
        its input, its output, and the output of the activation that follows.
        """
        c = self.refiner.config
        most = min(pixels, STRIP) * 7 * max(c.width, c.channels)
        if self.discriminator is not None:
            d = self.discriminator.config
            maps, size = d.channels, float(pixels)
            for kind, _, stride, width in d.layers:
                before, maps, size = maps * size, width if kind == "conv" else maps, size / stride**2
                most = max(most, int(before + 2 * maps * size + d.whole * before / maps))
        return 4 * most


def check_image(refiner: Refiner, image: Any, name: str) -> Array:
    """Return an image as `simgan.refining.engine.check` does; `ImageError` also for depth where brightness is due."""
    stored = check(refiner, image, name)
    if not refiner.codec.is_depth and looks_like_depth(stored):
        raise ImageError(f"{name} looks like depth in millimetres, which this model does not take: choose another one")
    return stored


class Models:
    """Models by name, for all visitors; safe to call from several threads."""

    def __init__(self) -> None:
        self.shipped = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
        self._shipped = {name: _load(name, SHIPPED / name) for name in self.shipped}
        self._fetched: dict[str, Future[Model]] = {}  # the one that was asked for last is the last
        self._fetchers = ThreadPoolExecutor(2, thread_name_prefix="fetch")
        self._waiting = threading.Semaphore(WAITING)
        self._lock = threading.RLock()

    def domains(self) -> dict[str, Model]:
        """Return the domains of the shipped models, each with the first of its models."""
        named: dict[str, Model] = {}
        for model in self._shipped.values():
            named.setdefault(model.domain.name, model)
        return named

    def get(self, name: str | None) -> Model:
        """Return the model of a shipped name or Hub id (org/name), within `PATIENCE` seconds; else `ModelError`."""
        name = str(name or "").strip()
        if name in self._shipped:
            return self._shipped[name]
        try:
            validate_repo_id(name if name.count("/") == 1 else "")
        except HFValidationError as error:
            known = f"choose one of {', '.join(self.shipped)}, or type a Hub id such as org/name"
            raise ModelError(f"There is no model {name!r}: {known}") from error
        with self._lock:
            if coming := self._fetched.pop(name, None):
                self._fetched[name] = coming
            elif sum(not one.done() for one in self._fetched.values()) >= FETCHING:
                raise ModelError(f"{name} has to wait: other models are being fetched, so try again in a minute")
            else:
                coming = self._fetched[name] = self._fetchers.submit(_fetch, name)
                coming.add_done_callback(self._forget)
        may_wait = self._waiting.acquire(blocking=False)
        try:
            return coming.result(timeout=PATIENCE if may_wait else 0)
        except FutureTimeoutError as error:
            raise ModelError(f"{name} is still being fetched from the Hub: try again in a minute") from error
        finally:
            if may_wait:
                self._waiting.release()

    def _forget(self, _: Future[Model]) -> None:
        """Forget what failed, and all models but the `KEPT` that were asked for last."""
        with self._lock:
            done = {name: one.exception() for name, one in self._fetched.items() if one.done()}
            loaded = [name for name, error in done.items() if error is None]
            for name in {*done} - {*loaded[-KEPT:]}:
                del self._fetched[name]


def _fetch(name: str) -> Model:
    worker = Worker(memory=None)  # what a client of the Hub needs is not known
    try:
        with tempfile.TemporaryDirectory() as folder:
            (found,) = worker.call(fetch, [((folder, TOTAL_BYTES), name)], SECONDS)
            _check_networks(name, found)
            return _load(name, found)
    except ModelError:
        raise
    except TooSlow as error:
        raise ModelError(f"{name} took more than {SECONDS} seconds to fetch from the Hub: try later") from error
    except Exception as error:  # not of the files' contents, but of this machine: no memory, a full disk
        logging.getLogger(__name__).exception("%s", name)
        raise ModelError(f"{name} could not be loaded here: try later, or choose a shipped model") from error
    finally:
        worker.stop()


def _check_networks(name: str, folder: Path) -> None:
    """Raise `ModelError` where configurations describe too many weights, which are counted without memory for them."""
    kinds: tuple[Any, ...] = (Refiner, Discriminator)
    for kind in kinds:
        if not (file := folder / kind.subfolder / CONFIG).is_file():
            continue
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            if values.pop("model_type", None) != f"simgan-{kind.__name__.lower()}":
                continue  # loading it says so
            fits = max(values.get("blocks", 0), len(values.get("layers", ()))) <= DEPTH
            if fits:
                with torch.device("meta"):
                    fits = 4 * kind(kind.config_class(**values)).number_of_parameters <= TOTAL_BYTES
        except Exception:  # of any kind, by what the file says
            fits = False
        if not fits:
            raise ModelError(f"{name} describes networks that are broken or too large to be loaded here")


def _load(name: str, folder: Path) -> Model:
    has_discriminator = (folder / Discriminator.subfolder / CONFIG).is_file()
    try:
        discriminator = Discriminator.from_pretrained(folder) if has_discriminator else None
        return Model(name, Refiner.from_pretrained(folder), discriminator)
    except ModelError as error:  # it names a place on this machine
        raise ModelError(str(error).replace(f"{folder}/", "").replace(str(folder), name) + f" ({name})") from error
