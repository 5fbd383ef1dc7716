"""Refining in several processes: each reads, refines and encodes its own images, so no pixels go between them.

One process alone writes: two that make files in one folder wait for each other, eight times as long as the work takes.
"""

import copy
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import islice
from multiprocessing.connection import wait
from typing import Any

import torch

from simgan.errors import SourceError
from simgan.refining.cluster import result
from simgan.refining.job import AHEAD, Item, Job
from simgan.runtime import count_cores, memory_of

FIRST = 16  # images that are refined here, once to get going and once to see how long they take
WORTH = 5.0  # seconds of work that are left, from which on processes are started
CHUNK = 2.0  # seconds that a process works before it tells
MEMORY = 2**31  # bytes of a GPU that a process may take
Part = tuple[list[tuple[int, bytes]], list[str]]  # places in a chunk and what they became; broken images
_job: Job  # in a process that was started here


class Workers:
    """Refine as `Job.refine_all` does, in as many processes as `Job.workers` says, where that takes less time."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pool: ProcessPoolExecutor | None = None
        self._count = self._size = 0  # of what is at work, and of images that each gets

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def refine_all(self, items: Iterable[Item], total: int) -> Iterator[tuple[Item, bytes]]:
        """Yield each of `total` items and its refined file, in order."""
        items, job = iter(items), self._job
        if not self._count:
            yield from job.refine_all(islice(items, FIRST))
            start = time.perf_counter()
            yield from job.refine_all(islice(items, FIRST))
            self._start((time.perf_counter() - start) / FIRST, total - 2 * FIRST)
        if not self._count:
            yield from job.refine_all(items)
            return
        waiting: deque[tuple[list[Item], Future[Part]]] = deque()
        try:
            while (chunk := list(islice(items, self._size))) or waiting:
                if chunk:
                    waiting.append((chunk, self._submit(chunk)))
                if not chunk or len(waiting) > 2 * self._count:
                    yield from self._take(*waiting.popleft())
        except BrokenProcessPool as error:
            raise SourceError(
                "a process that refines was killed, as when there is too little memory: call it again to go on, with "
                "fewer --workers"
            ) from error

    def _submit(self, chunk: list[Item]) -> Future[Any]:
        if self._job.cluster:
            future: Future[Any] = self._job.cluster.submit(refine_chunk, chunk)
            return future
        assert self._pool
        return self._pool.submit(_refine, chunk)

    def _take(self, chunk: list[Item], future: Future[Part]) -> Iterator[tuple[Item, bytes]]:
        made, broken = result(future) if self._job.cluster else future.result()
        self._job.done.images += len(made)
        self._job.done.broken += broken
        for place, data in made:
            yield chunk[place], data

    def _start(self, seconds: float, left: int) -> None:
        """Start processes where `left` images of so many seconds each are worth it."""
        job = self._job
        if job.cluster:
            self._count, self._size = job.cluster.count, max(1, min(AHEAD, int(CHUNK / seconds)))
            return
        device = next(job.refiner.parameters()).device
        on_cpu = device.type == "cpu"
        most = torch.get_num_threads() if on_cpu else min(count_cores(), max(1, memory_of(device) // MEMORY))
        count = most if job.workers is None else job.workers
        if count < 2 or left < 1 or (job.workers is None and seconds * left < WORTH):
            return
        self._count, self._size = count, max(1, min(AHEAD, int(CHUNK / seconds / (count if on_cpu else 1))))
        # Where it is safe a fork: it takes no time. A process with a GPU cannot be forked.
        context = multiprocessing.get_context("fork" if on_cpu and sys.platform == "linux" else "spawn")
        refiner = job.refiner if on_cpu else copy.deepcopy(job.refiner).to("cpu")
        theirs = replace(job, refiner=refiner, progress=None, should_stop=None, done=replace(job.done))
        self._pool = ProcessPoolExecutor(count, context, _begin, (theirs, str(device)))


def _begin(job: Job, device: str) -> None:
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends all
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job.refiner.to(device)
    _job = job


def _end_with_parent() -> None:
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)


def _refine(chunk: list[Item]) -> Part:
    return refine_chunk(_job, chunk)


def refine_chunk(job: Job, chunk: list[Item]) -> Part:
    """Return the refined files of some images by their places, and what was wrong with those that were left out."""
    places = {item.key: place for place, item in enumerate(chunk)}
    job.done.broken = []
    made = [(places[item.key], data) for item, data in job.refine_all(chunk)]
    return made, job.done.broken
