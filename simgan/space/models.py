"""Models by name: the shipped ones, loaded from the start, and public ones of the Hub, by an id that a visitor types.

An id is never a path on this machine. Before a network is built, its size is computed from its configuration.
"""

import json
import logging
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import HFValidationError, validate_repo_id

from simgan.discriminator import Discriminator
from simgan.domains import Domain, find
from simgan.errors import ImageError, ModelError, SimGANError
from simgan.hub.loading import CONFIG, SHIPPED
from simgan.images import codecs
from simgan.images.arrays import Array
from simgan.images.codecs import Codec
from simgan.images.depth import looks_like_depth
from simgan.refiner import Refiner
from simgan.refining.engine import STRIP, RefinerLike, check
from simgan.space.decoding import TooSlow, Worker
from simgan.space.fetching import fetch

TOTAL_BYTES = 64 * 2**20  # of a model's files, and of the weights that its configurations describe
DEPTH = 64  # layers of a network
WORK = 10**12  # multiplications of one event: about ten seconds on two cores
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
    def codec(self) -> Codec:
        """How its images are stored."""
        return codecs.get(self.refiner.config.codec)

    @property
    def domain(self) -> Domain:
        """The kind of its images."""
        return find(self.refiner.config.domain)

    def check(self, image: Any, name: str) -> Array:
        """Return a PIL image or an array as a stored image; `ImageError` with `name` where it takes no such one."""
        return check_image(self.refiner, image, name)

    def check_work(self, pixels: list[int]) -> None:
        """Raise `ImageError` where images of so many pixels take too long or too much memory."""
        total, weights = sum(pixels), self.refiner.number_of_parameters
        if weights * total > WORK:
            raise ImageError(f"{self.name} takes {WORK // weights:,} pixels at once here, not {total:,}: use fewer")
        self.check_memory(max(pixels))

    def check_memory(self, pixels: int) -> None:
        """Raise `ImageError` where an image of so many pixels takes too much memory."""
        if (needed := self.memory_of(pixels)) > MEMORY:
            raise ImageError(
                f"{self.name} needs {needed / 2**30:.1f} GB for an image of {pixels:,} pixels, and "
                f"{MEMORY / 2**30:.0f} are free here: use a smaller image"
            )

    def memory_of(self, pixels: int) -> int:
        """Return the bytes of feature maps that both networks need at most for an image, one after the other.

        The refiner, which treats large images in strips, needs up to 7 times its width (measured): input of a block,
        padded input, output and activation of a layer, some in other formats. A layer of the discriminator needs its
        input, its output, and the output of the activation that follows.
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


def check_image(refiner: RefinerLike, image: Any, name: str) -> Array:
    """Return an image as `simgan.refining.engine.check` does; `ImageError` also for depth where brightness is due."""
    stored = check(refiner, image, name)
    if not codecs.get(refiner.config.codec).is_depth and looks_like_depth(stored):
        raise ImageError(f"{name} looks like depth in millimetres, which this model does not take: choose another one")
    return stored


class Models:
    """Models by name, for all visitors; safe to call from several threads."""

    def __init__(self) -> None:
        self.shipped = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
        self._shipped = {name: _load(name, SHIPPED / name) for name in self.shipped}
        self._fetched: OrderedDict[str, Model] = OrderedDict()
        self._fetching: dict[str, Future[Model]] = {}
        self._fetchers = ThreadPoolExecutor(2, thread_name_prefix="fetch")
        self._waiting = threading.Semaphore(WAITING)
        self._lock = threading.Lock()

    def domains(self) -> dict[str, str]:
        """Return the domains of the shipped models, each with the name of the first of its models."""
        named: dict[str, str] = {}
        for name in self.shipped:
            named.setdefault(self._shipped[name].domain.name, name)
        return named

    def get(self, name: str | None) -> Model:
        """Return the model of a shipped name or Hub id (org/name); `ModelError` says why there is none.

        A visitor waits `PATIENCE` seconds for a model at most; the download goes on meanwhile.
        """
        name = str(name or "").strip()
        if name in self._shipped:
            return self._shipped[name]
        _check_id(name, self.shipped)
        with self._lock:
            if name in self._fetched:
                self._fetched.move_to_end(name)
                return self._fetched[name]
            if name not in self._fetching and len(self._fetching) >= FETCHING:
                raise ModelError(f"{name} has to wait: other models are being fetched, so try again in a minute")
            if name not in self._fetching:
                self._fetching[name] = self._fetchers.submit(self._fetch, name)
            coming = self._fetching[name]
        may_wait = self._waiting.acquire(blocking=False)
        try:
            return coming.result(timeout=PATIENCE if may_wait else 0)
        except FutureTimeoutError as error:
            raise ModelError(f"{name} is still being fetched from the Hub: try again in a minute") from error
        finally:
            if may_wait:
                self._waiting.release()

    def _fetch(self, name: str) -> Model:
        try:
            model = _fetch(name)
            with self._lock:
                self._fetched[name] = model
                while len(self._fetched) > KEPT:
                    self._fetched.popitem(last=False)
            return model
        except ModelError:
            raise
        except Exception as error:  # not of the files' contents, but of this machine: no memory, a full disk
            logging.getLogger(__name__).exception("%s", name)
            raise ModelError(f"{name} could not be loaded here: try later, or choose a shipped model") from error
        finally:
            with self._lock:
                del self._fetching[name]


def _check_id(name: str, shipped: list[str]) -> None:
    try:
        validate_repo_id(name)
    except HFValidationError:
        name_is_id = False
    else:
        name_is_id = name.count("/") == 1
    if not name_is_id:
        known = f"choose one of {', '.join(shipped)}, or type a Hub id such as org/name"
        raise ModelError(f"There is no model {name!r}: {known}")


def _fetch(name: str) -> Model:
    worker = Worker(memory=None)  # what a client of the Hub needs is not known
    try:
        with tempfile.TemporaryDirectory() as folder:
            (found,) = worker.call([(fetch, (name, folder, TOTAL_BYTES))], SECONDS)
            if isinstance(found, TooSlow):
                raise ModelError(f"{name} took more than {SECONDS} seconds to fetch from the Hub: try later")
            if isinstance(found, SimGANError):
                raise found
            _check_networks(name, Path(found))
            return _load(name, Path(found))
    finally:
        worker.stop()


def _check_networks(name: str, folder: Path) -> None:
    """Raise `ModelError` where configurations describe too many weights, which are counted without memory for them."""
    kinds: tuple[Any, ...] = (Refiner, Discriminator)
    for kind in kinds:
        if not (file := folder / kind.subfolder / CONFIG).is_file():
            continue
        try:
            values = json.loads(file.read_text())
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
