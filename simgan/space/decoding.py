"""Files of visitors are read in processes of their own, within limits of time and memory.

A file of a few hundred kilobytes can take minutes to decode, or all memory of the machine. A process that exceeds its
time is ended, and a new one takes its place. The processes need neither PyTorch nor Gradio, so that they start in half
a second and stay small.
"""

import contextlib
import functools
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Timer
from typing import Any

from PIL import Image

from simgan.errors import ImageError, SimGANError
from simgan.images.files import attach, detach, read
from simgan.space import archives, limits

PROCESSES = 2
SECONDS = 10.0  # for all images of an event; the largest one that is taken needs less than one
MEMORY = 512 * 2**20  # bytes beside what Python and the decoders need themselves
_CODE = "from simgan.space.decoding import work; work({})"

Call = tuple[Callable[..., Any], tuple[Any, ...]]  # a function of a module, and its arguments


class TooSlow(SimGANError):
    """A process was ended, because it exceeded its limits."""


class Worker:
    """A process that calls functions, one at a time; it is started again after it was ended."""

    def __init__(self, memory: int | None = MEMORY) -> None:
        self._code = _CODE.format(memory)
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, calls: Sequence[Call], seconds: float) -> list[Any]:
        """Return what the functions return, or the `SimGANError` that ended the calls as the last value.

        After `seconds` the process is ended, and the last value is `TooSlow`.
        """
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        results: list[Any] = []
        ended = Event()

        def end() -> None:
            ended.set()
            process.kill()

        timer = Timer(seconds, end)
        timer.start()
        try:
            pickle.dump((seconds, calls), process.stdin)
            process.stdin.flush()
            while len(results) < len(calls):
                results.append(pickle.load(process.stdout))
                if isinstance(results[-1], SimGANError):
                    break
        except (EOFError, OSError, pickle.UnpicklingError):
            results.append(TooSlow())
            ended.set()
        finally:
            timer.cancel()
            timer.join()
            if ended.is_set():
                self.stop()
        return results

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # what was to be written is lost
                    pipe.close()  # type: ignore[union-attr]
            self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-c", self._code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | paths | one_thread,
                start_new_session=True,  # so that Ctrl-C does not reach it; it ends when its input does
            )
            assert self._process.stdout is not None
            pickle.load(self._process.stdout)  # not a part of the first call's time
        return self._process


class Pool:
    """Workers that share the calls of all threads."""

    def __init__(self, processes: int) -> None:
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for _ in range(processes):
            self._idle.put(Worker())

    def call(self, calls: Sequence[Call], names: Sequence[str]) -> list[Any]:
        """Return what the functions return, or raise their `SimGANError`.

        `ImageError` with the name of the file, of `names`, whose call ended the process.
        """
        worker = self._idle.get()
        try:
            results = worker.call(calls, SECONDS)
        finally:
            self._idle.put(worker)
        if results and isinstance(results[-1], TooSlow):
            raise ImageError(
                f"{names[len(results) - 1]} takes more than {SECONDS:g} seconds, or too much memory, to read: "
                "save it again in another format"
            )
        if results and isinstance(results[-1], SimGANError):
            raise results[-1]
        return results


@functools.cache
def pool() -> Pool:
    """Return the workers of this process; each starts with its first call."""
    return Pool(PROCESSES)


def open_uploads(paths: Sequence[str], check: Callable[[list[int]], None] = lambda _: None) -> list[Image.Image]:
    """Read the images of an event; `check` is called with their numbers of pixels before any is decoded."""
    limits.check_files(paths)
    names = [limits.name(path) for path in paths]
    pixels = pool().call([(limits.count_pixels, (Path(path), limits.name(path))) for path in paths], names)
    limits.check_pixels(pixels)
    check(pixels)
    return [attach(*found) for found in pool().call([(_open_upload, (path,)) for path in paths], names)]


def check_archive(path: Path, name: str) -> dict[str, int]:
    """Return what `simgan.space.archives.check_archive` returns: the images of a ZIP and their pixels."""
    found: dict[str, int] = pool().call([(archives.check_archive, (path, name))], [name])[0]
    return found


def read_bytes(data: bytes, name: str) -> Any:
    """Return what `simgan.images.files.read` returns: a PIL image or an array."""
    found = pool().call([(_read, (data, name))], [name])[0]
    return attach(*found) if isinstance(found, tuple) else found


def _open_upload(path: str) -> Any:
    return detach(limits.open_upload(path))


def _read(data: bytes, name: str) -> Any:
    image = read(data, name)
    return detach(image) if isinstance(image, Image.Image) else image


def work(memory: int | None) -> None:
    """Call functions as they are asked for on the standard input, until it ends: the main function of a worker."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder prints is not an answer
    _limit(memory=memory)
    answer: Any = "ready"
    while True:
        pickle.dump(answer, output)
        output.flush()
        try:
            seconds, calls = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        _limit(seconds=seconds)
        for number, (function, arguments) in enumerate(calls):
            try:
                answer = function(*arguments)
            except SimGANError as error:
                answer = error.with_traceback(None)
            if isinstance(answer, SimGANError) or number == len(calls) - 1:
                break
            pickle.dump(answer, output)


def _limit(memory: int | None = None, seconds: float | None = None) -> None:
    """Limit what this process uses from now on, where the system can (Linux).

    The limit of time is for a process whose parent is gone.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        if memory is not None:
            most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + memory
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        if seconds is not None:
            most = int(sum(os.times()[:2]) + 2 * seconds) + 2
            resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
