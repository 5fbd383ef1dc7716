"""Images that several processes or machines share out: each reads, refines and encodes its own.

One process alone writes: two that make files in one folder wait for each other, eight times as long as the work takes.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from itertools import islice
from typing import Any

from simgan.refining.job import AHEAD, Item, Job, Refined
from simgan.refining.processes import Processes, Told, fitting, result

FIRST = 16  # images that are refined here, once to get going and once to see how long they take
WORTH = 5.0  # seconds of work that are left, from which on processes are started
CHUNK = 2.0  # seconds that a process works before it tells
Part = tuple[list[tuple[int, bytes]], list[str]]  # places in a chunk and what they became; broken images


class Workers(ExitStack):
    """Refine as `Job.refine_all` does: on the job's cluster, or in processes where that takes less time."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self._helpers = job.cluster
        self._size = 0

    def refine_all(self, items: Iterable[Item], total: int) -> Iterator[tuple[Item, bytes]]:
        """Yield each of `total` items and its refined file, in order."""
        items, job = iter(items), self._job
        if not self._size:
            yield from job.refine_all(islice(items, FIRST))
            start = time.perf_counter()
            yield from job.refine_all(islice(items, FIRST))
            self._find_helpers((time.perf_counter() - start) / FIRST, total - 2 * FIRST)
        if not self._helpers:
            yield from job.refine_all(items)
            return
        waiting: deque[tuple[list[Item], Future[Told]]] = deque()
        while (chunk := list(islice(items, self._size))) or waiting:
            if chunk:
                waiting.append((chunk, self._helpers.submit(refine_chunk, chunk)))
            if not chunk or len(waiting) > 2 * self._helpers.count:
                chunk, future = waiting.popleft()
                made, broken = result(future)
                job.done.images += len(made)
                job.done.broken += broken
                yield from ((chunk[place], data) for place, data in made)

    def _find_helpers(self, seconds: float, left: int) -> None:
        """Start processes where `left` images of so many seconds each are worth it."""
        job, count = self._job, fitting(self._job)
        if not self._helpers and count > 1 and left > 0 and (job.workers or seconds * left > WORTH):
            self._helpers = self.enter_context(Processes(job, count))
        if self._helpers:
            self._size = max(1, min(AHEAD, int(CHUNK / seconds)))


def refine_chunk(job: Job, chunk: list[Item]) -> Part:
    """Return the refined files of some images by their places, and what was wrong with those that were left out."""
    job.done = Refined(images=1)  # of which kind they are was looked at before
    places: dict[Any, int] = {item.key: place for place, item in enumerate(chunk)}
    made = [(places[item.key], data) for item, data in job.refine_all(chunk)]
    return made, job.done.broken
