"""Models by name: the shipped ones, ready from the start, and those of the Hub that a visitor types in.

A typed name is never a place on this machine, and is fetched without the Space's own credentials. Before anything is
downloaded, the Hub is asked for the sizes; only `config.json` and safetensors are, and they are deleted once loaded.
"""

import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError
from huggingface_hub.utils import HFValidationError, validate_repo_id

from simgan.discriminator import Discriminator
from simgan.errors import ModelError
from simgan.hub.loading import CONFIG, SHIPPED, WEIGHTS
from simgan.refiner import Refiner
from simgan.refining.engine import is_of_depth

FILES = [f"{folder}{file}" for folder in ("", "discriminator/") for file in (CONFIG, WEIGHTS)]
TOTAL_BYTES = 64 * 2**20
CONFIG_BYTES = 2**16
KEPT = 4  # models of the Hub in memory
FETCHING = 4  # at most at the same time
PATIENCE = 10  # seconds that a visitor waits for one
DEPTH = 64  # layers of a network


@dataclass(frozen=True)
class Model:
    """A refiner and, where the model has one, its discriminator."""

    name: str
    refiner: Refiner
    discriminator: Discriminator | None


class Models:
    """Models by name, for all visitors; safe to call from several threads."""

    def __init__(self) -> None:
        self.shipped = sorted(folder.name for folder in SHIPPED.iterdir() if folder.is_dir())
        self._shipped = {name: _load(name, SHIPPED / name) for name in self.shipped}
        self.of_hands = [name for name, model in self._shipped.items() if is_of_depth(model.refiner)]
        self._fetched: OrderedDict[str, Model] = OrderedDict()
        self._fetching: dict[str, Future[Model]] = {}
        self._fetchers = ThreadPoolExecutor(2, thread_name_prefix="fetch")
        self._lock = threading.Lock()

    def get(self, name: str | None) -> Model:
        """Give the model of a shipped name or Hub id (org/name); `ModelError` says why there is none.

        A model that is slow to come holds no visitor up for long: it is fetched on while they do something else.
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
        try:
            return coming.result(timeout=PATIENCE)
        except FutureTimeoutError as error:
            raise ModelError(f"{name} is still being fetched from the Hub: try again in a minute") from error

    def _fetch(self, name: str) -> Model:
        try:
            model = _fetch(name)
            with self._lock:
                self._fetched[name] = model
                while len(self._fetched) > KEPT:
                    self._fetched.popitem(last=False)
            return model
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
    try:
        info = HfApi(token=False).model_info(name, files_metadata=True, timeout=10)
        sizes = {file.rfilename: file.size for file in info.siblings or [] if file.rfilename in FILES}
        _check_sizes(name, sizes)
        with tempfile.TemporaryDirectory() as cache:
            folder = snapshot_download(name, revision=info.sha, allow_patterns=FILES, token=False, cache_dir=cache)
            _check_configs(name, Path(folder))
            return _load(name, Path(folder))
    except GatedRepoError as error:
        raise ModelError(f"{name} is gated, and only public models are loaded here") from error
    except RepositoryNotFoundError as error:
        raise ModelError(f"There is no public model {name} on the Hub: check the name") from error
    except (OfflineModeIsEnabled, httpx.HTTPError, HfHubHTTPError, OSError) as error:
        raise ModelError(f"{name} could not be fetched from the Hub: try later, or choose a shipped model") from error


def _check_sizes(name: str, sizes: dict[str, int | None]) -> None:
    for file in (CONFIG, WEIGHTS):
        if file not in sizes:
            raise ModelError(f"{name} holds no {file}, so it is no model of simgan (pickles are never loaded)")
    if any(size is None for size in sizes.values()):
        raise ModelError(f"The Hub does not tell how large the files of {name} are, so they are not loaded here")
    total = sum(size or 0 for size in sizes.values())
    if total > TOTAL_BYTES:
        raise ModelError(f"{name} has {total / 2**20:.0f} MB: at most {TOTAL_BYTES / 2**20:.0f} are loaded here")
    if any((sizes.get(file) or 0) > CONFIG_BYTES for file in FILES if file.endswith(CONFIG)):
        raise ModelError(f"{name} has a {CONFIG} of more than {CONFIG_BYTES // 1024} kB, so it is not loaded here")


def _check_configs(name: str, folder: Path) -> None:
    """Count the layers and weights that configurations ask for, before networks of them are built.

    A small file could ask for a huge network.
    """
    try:
        c = json.loads((folder / CONFIG).read_text())
        inner = [("conv", c["kernel_size"], 1, c["width"])] * (1 + 2 * min(c["blocks"], DEPTH))
        networks = [(c["channels"], [*inner, ("conv", 1, 1, c["channels"])])]
        if (file := folder / "discriminator" / CONFIG).is_file():
            c = json.loads(file.read_text())
            networks.append((c["channels"], c["layers"]))
        fits = all(len(layers) <= DEPTH and 4 * _weights(maps, layers) <= TOTAL_BYTES for maps, layers in networks)
    except (ValueError, TypeError, AttributeError, KeyError):
        fits = False
    if not fits:
        raise ModelError(f"{name} describes networks that are broken or too large to be loaded here")


def _weights(maps: int, layers: Iterable[Sequence[Any]]) -> int:
    total = 0
    for kind, kernel_size, stride, width in layers:
        if not all(isinstance(value, int) and value >= 0 for value in (maps, kernel_size, stride, width)):
            raise TypeError
        if kind == "conv":
            total += maps * width * kernel_size**2
            maps = width
    return total


def _load(name: str, folder: Path) -> Model:
    has_discriminator = (folder / "discriminator" / CONFIG).is_file()
    try:
        discriminator = Discriminator.from_pretrained(folder) if has_discriminator else None
        return Model(name, Refiner.from_pretrained(folder), discriminator)
    except ModelError as error:  # it names a place on this machine
        raise ModelError(str(error).replace(f"{folder}/", "").replace(str(folder), name) + f" ({name})") from error
