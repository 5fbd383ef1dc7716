"""The bank: all images of a stream, decoded and prepared once, as stored bits on the device that trains.

A stream takes one image of each source in turn, and each source in shuffled epochs. Which image comes and whether it is
mirrored follows from (seed, stream, number), so a resumed run needs no state of a random generator, and image n is the
same on any number of processes. A bank that is larger than its share of the device's memory stays in mapped files; what
the next updates draw is read ahead.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from simgan.data.loader import Crops
from simgan.domains.base import MarkedWeight, PointsWeight
from simgan.errors import SourceError
from simgan.images.arrays import equalize_images
from simgan.runtime import count_cores
from simgan.training.data import Frames, Images, generator
from simgan.training.history import as_signed

Numbers = NDArray[np.int64]
FORMAT = 1  # of banks on disk: another preparation needs another number
CACHED, KEPT = 1000, 16  # images from which on a source is kept on disk, and how many sources are
WINDOWS = 8  # of each frame of depth
_CHUNK = 256  # images that are prepared together
_BLOCK = 4096  # images whose mirroring is drawn together


class Bank:
    """Images of several sources; `SourceError` where a source is smaller than its share of a mini-batch of `size`.

    Each part, a source, is (N, C, H, W), uint8 or uint16; of the masks (N, 1, H, W), uint8, 255 where the label must
    not move. `hold` puts all on a device.
    """

    def __init__(
        self,
        stream: str,
        sources: Sequence[Images],
        size: int,
        seed: int,
        *,
        equalize: bool = False,
        flip: bool = True,
        window: int = 0,
        weight: PointsWeight | MarkedWeight | None = None,
        quiet: bool = True,
    ) -> None:
        self.stream, self.size, self.seed, self.flip = stream, size, seed, flip
        smallest = min((len(source) for source in sources), default=0)
        share = -(-size // max(1, len(sources)))
        if smallest < share:
            raise SourceError(
                f"a mini-batch of {size} takes {share} images of each {stream} source, and one has only {smallest} to "
                "train on, besides those held out: add images, or lower --batch-size"
            )
        with tqdm(total=sum(map(len, sources)), desc=f"{stream} images", disable=quiet, delay=2) as bar:
            filled = [_fill(source, seed, equalize, window, bar.update) for source in sources]
        self._mapped = [isinstance(part, np.memmap) for part in filled]
        self.parts = [
            torch.from_numpy(part[:, None] if part.ndim == 3 else part.transpose(0, 3, 1, 2)) for part in filled
        ]
        self.masks: list[Tensor] | None = None
        if weight is not None:
            self.masks = [_masks(source, part, weight) for source, part in zip(sources, self.parts, strict=True)]
        self.held: dict[str, Tensor] = {}
        lengths = np.array([len(part) for part in self.parts])
        self._lengths, self._first = lengths, np.cumsum(lengths) - lengths
        self._order = lru_cache(maxsize=2 * len(lengths))(
            lambda source, epoch: self._rng(str(source), epoch).permutation(int(lengths[source]))
        )
        self._mirrored = lru_cache(maxsize=4)(lambda block: self._rng("flip", block).random(_BLOCK) < 0.5)

    def __len__(self) -> int:
        return int(self._lengths.sum())

    @property
    def longest(self) -> int:
        """Return after how many images of the stream each one of every source has been drawn."""
        return int(self._lengths.max()) * len(self._lengths)

    def places(self, numbers: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        """Return where images of the stream lie, by number, and whether they are mirrored, both like `numbers`."""
        source, turn = numbers % len(self._lengths), numbers // len(self._lengths)
        epoch, position = np.divmod(turn, self._lengths[source])
        places, mirrored = np.empty_like(numbers), np.zeros(numbers.shape, bool)
        for which, past in {*zip(source.ravel().tolist(), epoch.ravel().tolist(), strict=True)}:
            here = (source == which) & (epoch == past)
            places[here] = self._first[which] + self._order(which, past)[position[here]]
        for block in np.unique(numbers // _BLOCK).tolist() if self.flip else ():
            here = numbers // _BLOCK == block
            mirrored[here] = self._mirrored(block)[numbers[here] % _BLOCK]
        return places, mirrored

    def draw(self, numbers: Numbers) -> Tensor:
        """Return images of the stream by number, (B, C, H, W) in [−1, 1], on the CPU."""
        places, mirrored = self.places(numbers)
        return mirror(to_floats(_gathered(self.parts, self._first, places)), torch.from_numpy(mirrored))

    def change(self, function: Callable[[Tensor], Tensor]) -> None:
        """Replace each image by what a function of a batch (B, C, H, W) in [−1, 1] makes of it, kept with 16 bits."""
        self.parts = self._each(lambda x: to_bits(function(to_floats(x)), torch.uint16))

    def weigh(self, function: Callable[[Tensor], Tensor]) -> None:
        """Set the masks to what a function makes of the images: (B, 1, H, W) in [0, 1]."""
        self.masks = self._each(lambda x: (255 * function(to_floats(x))).round().to(torch.uint8))

    def _each(self, function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Return what a function makes of the images of each part, in a file where they are in one."""
        return [_map(function, part, mapped) for part, mapped in zip(self.parts, self._mapped, strict=True)]

    def hold(self, device: torch.device, most: float) -> None:
        """Keep all on the device, unless that takes more than `most` bytes."""
        kinds = {"images": self.parts, **({"masks": self.masks} if self.masks else {})}
        if sum(part.nbytes for parts in kinds.values() for part in parts) <= most:
            self.held = {
                kind: (parts[0] if len(parts) == 1 else torch.cat(parts)).to(device) for kind, parts in kinds.items()
            }

    def block(self, numbers: Numbers) -> dict[str, Tensor]:
        """Return what `take` needs for rows of images by number, (n, B); the images themselves if they are not held."""
        places, mirrored = self.places(numbers)
        found = {"mirrored": torch.from_numpy(mirrored)}
        if self.held:
            return {"places": torch.from_numpy(places), **found}
        found["images"] = _gathered(self.parts, self._first, places)
        return found | ({"masks": _gathered(self.masks, self._first, places)} if self.masks else {})

    def take(self, row: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return the images of a row of a block, (B, C, H, W) in [−1, 1], and their masks in [0, 1] or None."""
        if self.held:
            row = row | {kind: held[row["places"]] for kind, held in self.held.items()}
        images = mirror(to_floats(row["images"]), row["mirrored"]).contiguous(memory_format=torch.channels_last)
        masks = row.get("masks")
        return images, None if masks is None else mirror(masks.to(images) / 255, row["mirrored"])

    def _rng(self, what: str, number: int) -> np.random.Generator:
        return generator(self.seed, f"{self.stream}/{what}", number)


def to_floats(stored: Tensor) -> Tensor:
    """Return uint8 or uint16 as floats of the default type in [−1, 1]."""
    return stored.to(torch.get_default_dtype()) * (2 / torch.iinfo(stored.dtype).max) - 1


def to_bits(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return floats in [−1, 1], clamped, as uint8 or uint16, rounded to the nearest."""
    values = (x.float().clamp(-1, 1) + 1) * (torch.iinfo(dtype).max / 2)
    return values.round().to(torch.int32).to(dtype)


def mirror(x: Tensor, mirrored: Tensor) -> Tensor:
    """Return a batch (B, C, H, W) whose images are mirrored where `mirrored` (B,) says so."""
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _gathered(parts: Sequence[Tensor], first: Numbers, places: Numbers) -> Tensor:
    """Return rows of parts by their places in all of them: (*places.shape, C, H, W)."""
    if len(parts) == 1:
        return parts[0][torch.from_numpy(places)]
    found = torch.empty((*places.shape, *parts[0].shape[1:]), dtype=parts[0].dtype)
    which = np.searchsorted(first, places, side="right") - 1
    for number, part in enumerate(parts):
        here = torch.from_numpy(which == number)
        as_signed(found)[here] = as_signed(part)[torch.from_numpy(places[which == number] - first[number])]
    return found


def _map(function: Callable[[Tensor], Tensor], images: Tensor, mapped: bool) -> Tensor:
    first = function(images[:1]).numpy()
    shape, size = (len(images), *first.shape[1:]), len(images) * first.nbytes
    if mapped and _has_room(size):  # a file without a name, which ends with the mapping
        with tempfile.TemporaryFile(dir=_folder()) as file:
            made: NDArray[Any] = np.memmap(file, first.dtype, "w+", shape=shape)
    else:
        made = np.empty(shape, first.dtype)
    for start in range(0, len(images), _CHUNK):
        made[start : start + _CHUNK] = function(images[start : start + _CHUNK]).numpy()
    return torch.from_numpy(made)


def _masks(source: Images, part: Tensor, weight: PointsWeight | MarkedWeight) -> Tensor:
    if not isinstance(source, Crops):
        return torch.zeros(len(part), 1, *part.shape[2:], dtype=torch.uint8)
    every = np.arange(len(source))
    drawn = [source.masks(every[start : start + _CHUNK], weight) for start in range(0, len(source), _CHUNK)]
    return torch.from_numpy((255 * np.concatenate(drawn)).round().astype(np.uint8))[:, None]


def _fill(source: Images, seed: int, equalize: bool, window: int, told: Callable[[int], Any]) -> NDArray[Any]:
    """Return all images of a source, prepared: (N, H, W[, 3]); of many, a file that is mapped."""

    def prepared(chosen: Numbers) -> NDArray[Any]:
        if window and isinstance(source, Frames):
            rngs = [generator(seed, "window", int(n)) for n in (chosen[:, None] * WINDOWS + np.arange(WINDOWS)).ravel()]
            return source.windows(np.repeat(chosen, WINDOWS), window, rngs)
        return equalize_images(source[chosen]) if equalize else source[chosen]

    count, times = len(source), WINDOWS if window and isinstance(source, Frames) else 1
    file: Path | None = None
    if isinstance(source, Crops) and count >= CACHED:
        key = f"{FORMAT} {source.digest()} {equalize} {(window, seed) if times > 1 else ''}"
        file = _folder() / f"{hashlib.sha256(key.encode()).hexdigest()}.npy"
        if file.exists():
            told(count)
            file.touch()
            return np.load(file, mmap_mode="c")
    first = prepared(np.arange(1))
    shape = (times * count, *first.shape[1:])
    if file is None or not _has_room(times * count * first[0].nbytes):
        filled = np.empty(shape, first.dtype)
        _write(filled, prepared, count, told)
        return filled
    aside = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        _write(np.lib.format.open_memmap(aside, "w+", first.dtype, shape), prepared, count, told)  # closed at its end
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    for old in sorted(file.parent.glob("*.npy"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        with suppress(OSError):  # another run has it open, or has deleted it
            old.unlink()
    return np.load(file, mmap_mode="c")


def _write(
    filled: NDArray[Any], prepared: Callable[[Numbers], NDArray[Any]], count: int, told: Callable[[int], Any]
) -> None:
    """Write what is prepared of `count` images, each as many times as `filled` is longer, in chunks side by side."""
    times = len(filled) // count

    def write(start: int) -> None:
        chosen = np.arange(start, min(start + _CHUNK, count))
        filled[times * start : times * (start + len(chosen))] = prepared(chosen)
        told(len(chosen))

    with ThreadPoolExecutor(count_cores()) as pool:  # decoding holds no lock of Python
        list(pool.map(write, range(0, count, _CHUNK)))


def _folder() -> Path:
    return Path(datasets.config.HF_DATASETS_CACHE) / "simgan"


def _has_room(size: int) -> bool:
    """Return whether a file of so many bytes can be written to the folder, and does not nearly fill the disk."""
    try:
        _folder().mkdir(parents=True, exist_ok=True)
        return os.access(_folder(), os.W_OK) and shutil.disk_usage(_folder()).free > 2 * size
    except OSError:
        return False
