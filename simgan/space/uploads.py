"""What a visitor may send, and reading it in processes of their own, within limits of time and memory.

Everything is measured before it is unpacked or decoded, yet a file of a few hundred kilobytes can take minutes to
decode, or all memory: a process that exceeds its limits is ended, and a new one takes its place. The processes need
neither PyTorch nor Gradio, so that they start in half a second and stay small.
"""

import contextlib
import io
import math
import multiprocessing
import os
import queue
import re
import signal
import stat
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from PIL import ExifTags, Image, ImageOps

from simgan.errors import ImageError, SimGANError, SourceError
from simgan.images.files import FORMATS, MAXIMUM_PIXELS, SUFFIXES, attach, detach, open_image, pictures, read, read_kind

UPLOAD_BYTES = 64 * 2**20  # of a file; Gradio refuses longer ones
FILE_BYTES = 16 * 2**20  # of an image
EVENT_BYTES = 64 * 2**20  # of all images of an event
PIXELS = 4_000_000  # of an image; photographs of more are shrunk
EVENT_PIXELS = 16_000_000  # of all images of an event
LOADED = MAXIMUM_PIXELS  # of a photograph before it is shrunk
COUNT = 32  # images of an event

FILES = 2_000  # in an archive
UNPACKED = 256 * 2**20  # bytes of all files of an archive
RATIO = 200  # unpacked to packed; photographs reach 2, renders with plain backgrounds 50
NAME = 200  # bytes of each part of a file's name

SECONDS = 10.0  # for an image; the largest one that is taken needs one
EVENT_SECONDS = 30.0  # for all images of an event
_SMOOTH = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr")  # modes whose neighbouring pixels may be averaged
MEMORY = 512 * 2**20  # bytes beside what Python and the decoders need themselves


def check_bytes(size: int, most: int, name: str) -> None:
    """Raise `ImageError` where a file, or all of them, have more bytes than are allowed."""
    if size > most:
        raise ImageError(f"{name} has {size / 2**20:.0f} MB: at most {most / 2**20:.0f} are taken at once here")


def count_pixels(file: Path | IO[bytes], name: str, most: int = PIXELS) -> int:
    """Return the number of pixels of an image by its header; `ImageError` where it is no image, or too large."""
    try:
        with file.open("rb") if isinstance(file, Path) else contextlib.nullcontext(file) as opened:
            width, height = read_kind(opened, name)[:2]
    except ImageError as error:
        raise ImageError(f"{name} is no image that can be read here: send one of {', '.join(FORMATS)}") from error
    if width * height > most:
        raise ImageError(f"{name} has {width}×{height} pixels: at most {most:,} are taken here")
    return width * height


def check_archive(file: Path, name: str) -> dict[str, int]:
    """Return the images of a ZIP and their numbers of pixels; `SourceError` or `ImageError` if it is refused."""
    size = file.stat().st_size
    check_bytes(size, UPLOAD_BYTES, name)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            names, unpacked = Counter(entry.filename for entry in entries), sum(entry.file_size for entry in entries)
            if len(entries) > FILES:
                raise SourceError(f"{name} holds {len(entries):,} files: send at most {FILES:,}")
            if len(names) < len(entries):
                raise SourceError(f"{name} holds {names.most_common(1)[0][0]} more than once: give each its own name")
            if unpacked > UNPACKED or unpacked > RATIO * size:
                raise SourceError(
                    f"{name} unpacks to {unpacked / 2**20:,.0f} MB, {unpacked // size:,} times its size: at most "
                    f"{UNPACKED // 2**20} MB and {RATIO} times its size are taken here"
                )
            for entry in entries:
                check_name(entry.filename, name)
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise SourceError(f"{name} holds a link, {entry.filename}: pack the file that it points to")
                # `zipfile` needs a password, or reads other methods without bound
                if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise SourceError(f"{name} is encrypted or packed by a rare method: use deflate and no password")
            images = {}
            for image in pictures(entry.filename for entry in entries):
                with archive.open(image) as member:
                    images[image] = count_pixels(member, f"{image} in {name}")
    except (ImageError, SourceError):
        raise
    except Exception as error:  # broken archives raise any: zlib.error, IndexError, NotImplementedError, …
        raise SourceError(f"{name} cannot be read as a ZIP archive: {error}; pack the folder as .zip again") from error
    if not images:
        raise SourceError(f"{name} holds no images; their names end in {', '.join(sorted(SUFFIXES))}")
    return images


def check_name(name: str, archive: str) -> None:
    """Raise `SourceError` for the name of a file in an archive that leads out of it, or that no folder takes."""
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise SourceError(f"{archive} holds {name!r}, a name that leads out of it: pack it again")
    if not name or not name.isprintable() or any(len(part.encode()) > NAME for part in parts) or len(parts) > 20:
        raise SourceError(f"{archive} holds the name {name[:60]!r}, which no folder takes: name the file otherwise")


class TooSlow(SimGANError):
    """A process was ended, because it exceeded its limits with a source, which is named."""


class Worker:
    """A process that calls functions, one at a time; it is started by a call, and again after it was ended."""

    def __init__(self, memory: int | None = MEMORY) -> None:
        self._memory = memory
        self.process: multiprocessing.process.BaseProcess | None = None

    def call(self, function: Callable[[Any, str], Any], named: Sequence[tuple[Any, str]], seconds: float) -> list[Any]:
        """Return what a function of a module returns for each source and its name, or raise its `SimGANError`.

        `TooSlow` if the process took more than `seconds` for all of them, or more than its memory.
        """
        if self.process is None or not self.process.is_alive():
            self.stop()
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self.process = context.Process(target=_work, args=(other, self._memory), daemon=True)
            self.process.start()
            other.close()  # so that each side sees when the other one is gone
            self._pipe.recv()  # it is ready: to start is no part of the first call's time
        results, end = [], time.monotonic() + seconds
        for source, name in named:
            try:
                self._pipe.send((function, source, name))
                answer = self._pipe.recv() if self._pipe.poll(max(0, end - time.monotonic())) else TooSlow(name)
            except (EOFError, OSError):
                answer = TooSlow(name)
            if isinstance(answer, TooSlow):
                self.stop()
            if isinstance(answer, SimGANError):
                raise answer
            results.append(answer)
        return results

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self._pipe.close()
            self.process = None


_idle: queue.LifoQueue[Worker] = queue.LifoQueue()
_idle.queue.extend(Worker() for _ in range(2))  # each starts with its first call


def call(function: Callable[[Any, str], Any], named: Sequence[tuple[Any, str]]) -> list[Any]:
    """Return what `Worker.call` returns, of the first worker that is idle; `ImageError` for a file that is too slow."""
    worker = _idle.get()
    try:
        return worker.call(function, named, SECONDS)
    except TooSlow as error:
        raise _too_slow(error) from error
    finally:
        _idle.put(worker)


@dataclass(frozen=True)
class Opened:
    """An image that was sent, upright, and what was done to it, in sentences."""

    name: str
    image: Image.Image
    written: str  # the name of the refined file, whose format the image has
    done: tuple[str, ...] = ()


def open_uploads(paths: Sequence[str], most: int = PIXELS) -> list[Opened | ImageError]:
    """Read an event's images, each of which has at most `most` pixels then, or has an error that is its own.

    Photographs of more are shrunk, other images refused. `ImageError` is raised for none, or too many.
    """
    if not paths:
        raise ImageError("There is no image yet: upload one, paste one, or pick an example")
    if len(paths) > COUNT:
        raise ImageError(f"{len(paths)} images are too many at once: at most {COUNT} are taken here")
    left = EVENT_BYTES
    found: list[Opened | ImageError] = []
    worker, end = _idle.get(), time.monotonic() + EVENT_SECONDS
    try:
        for file in map(Path, paths):
            try:
                left -= _size(file)
                check_bytes(EVENT_BYTES - left, EVENT_BYTES, f"The upload up to {file.name}")
                seconds = min(SECONDS, end - time.monotonic())
                if seconds <= 0:
                    text = f"{EVENT_SECONDS:g} seconds were over before it was read: send fewer images at once"
                    raise ImageError(f"{file.name} was left out, as {text}")
                ((image, written, done),) = worker.call(_open, [((file, most), file.name)], seconds)
                found.append(Opened(file.name, attach(*image), written, done))
            except TooSlow as error:
                found.append(_too_slow(error))
            except ImageError as error:
                found.append(error)
    finally:
        _idle.put(worker)
    return found


def _size(file: Path) -> int:
    try:
        size = file.stat().st_size
    except FileNotFoundError as error:
        raise ImageError(f"{file.name} was deleted here, as uploads are after a while: send it again") from error
    check_bytes(size, FILE_BYTES, file.name)
    return size


def _too_slow(error: TooSlow) -> ImageError:
    text = f"{error} takes more than {SECONDS:g} seconds, or too much memory, to read"
    return ImageError(f"{text}: save it again in another format")


def read_bytes(data: bytes, name: str) -> Image.Image | Any:
    """Return what `simgan.images.files.read` returns: a PIL image or an array."""
    found = call(_read, [(data, name)])[0]
    return attach(*found) if isinstance(found, tuple) else found


def _open(source: tuple[Path, int], name: str) -> tuple[Any, str, tuple[str, ...]]:
    """Return an image, upright and of at most so many pixels, detached from its file, and the rest of `Opened`."""
    data, most, done, written = source[0].read_bytes(), source[1], [], name
    if data[4:8] == b"ftyp":
        image, written = _open_heif(data, name), f"{Path(name).stem}.png"
        done.append(f"{name} is a HEIF file, which is read here and not written: the refined one is a PNG.")
    else:
        count_pixels(io.BytesIO(data), name, LOADED)
        image = open_image(data, name)
    if _turned(image):
        kind, image = image.format, ImageOps.exif_transpose(image)
        image.format = kind
        done.append(f"{name} was turned upright, as its EXIF data says.")
    before = image.size
    if math.prod(before) > most:
        if image.mode not in _SMOOTH:
            raise ImageError(f"{name} has {before[0]}×{before[1]} pixels: of its kind at most {most:,} are taken here")
        scale = math.sqrt(most / math.prod(before))
        image.thumbnail((max(1, int(scale * before[0])), max(1, int(scale * before[1]))))
        done.append(f"{name} was shrunk from {before[0]}×{before[1]} to {image.width}×{image.height} pixels.")
    return detach(image), written, tuple(done)


def _turned(image: Image.Image) -> bool:
    with contextlib.suppress(Exception):  # broken EXIF raises any; viewers show such images as they are stored, too
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    return False


def _open_heif(data: bytes, name: str) -> Image.Image:
    """Return a photograph of a telephone, upright, as a PNG file holds it; `ImageError` where it is none."""
    import pi_heif  # of the extra [demo]

    try:
        file = pi_heif.open_heif(data)
        image: Image.Image | None = file.to_pillow() if math.prod(file.size) <= LOADED else None
    except Exception as error:  # of any kind, by what is broken
        raise ImageError(f"{name} cannot be read as a HEIF file: save it as PNG or JPEG") from error
    if image is None:
        raise ImageError(f"{name} has {file.size[0]}×{file.size[1]} pixels: at most {LOADED:,} are taken here")
    image.format, image.info = "PNG", {}
    return image


def _read(data: bytes, name: str) -> Any:
    image = read(data, name)
    return detach(image) if isinstance(image, Image.Image) else image


def _work(pipe: Connection, memory: int | None) -> None:
    """Call functions as they are asked for, until the process that asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for that process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(ImportError, OSError, ValueError):  # where the system can (Linux)
        import resource

        if memory is not None:
            most = (
                int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize() + memory
            )
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
    pipe.send("ready")
    with contextlib.suppress(EOFError):
        while True:
            function, source, name = pipe.recv()
            try:
                pipe.send(function(source, name))
            except SimGANError as error:
                pipe.send(error)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(0)
