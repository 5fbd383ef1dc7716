"""Refining in several processes of this machine, which end with the one that started them."""

import copy
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Any

import torch

from simgan.errors import SimGANError, SourceError
from simgan.refining.job import Job, Refined
from simgan.runtime import count_cores, memory_of

MEMORY = 2**31  # bytes of a GPU that a process may take
Told = tuple[Any, list[str]]  # what a function returned, or the error that it raised; warnings
_job: Job  # in a process that was started here


def fitting(job: Job) -> int:
    """Return in how many processes to do a job: as it says, or as many as there are cores, and room on a GPU."""
    device = next(job.refiner.parameters()).device
    on_cpu = device.type == "cpu"
    most = torch.get_num_threads() if on_cpu else min(count_cores(), memory_of(device) // MEMORY)
    return most if job.workers is None else job.workers


class Processes:
    """Processes of one thread each that run functions which take a copy of the job; a context manager."""

    def __init__(self, job: Job, count: int) -> None:
        device = next(job.refiner.parameters()).device
        on_cpu = device.type == "cpu"
        # Where it is safe a fork: it takes no time. A process with a GPU cannot be forked.
        context = multiprocessing.get_context("fork" if on_cpu and sys.platform == "linux" else "spawn")
        refiner = job.refiner if on_cpu else copy.deepcopy(job.refiner).to("cpu")
        theirs = replace(job, refiner=refiner, workers=0, progress=None, should_stop=None)
        self.count = count
        self._pool = ProcessPoolExecutor(count, context, _begin, (theirs, str(device)))

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Told]:
        """Have a function of this package called with a job and these arguments, for `result`."""
        return self._pool.submit(_call, function, arguments)


def result(future: Future[Told]) -> Any:
    """Return what a function that was submitted returned; its warnings and its `SimGANError` are raised here."""
    try:
        returned, warned = future.result()
    except BrokenProcessPool as error:
        raise SourceError(
            "a process that refines was killed, as when there is too little memory: call it again to go on, with "
            "fewer --workers"
        ) from error
    for sentence in warned:
        warnings.warn(sentence, stacklevel=2)
    if isinstance(returned, SimGANError):
        raise returned
    return returned


def call(job: Job, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Told:
    """Call a function with a copy of the job for `result`, which another process calls."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            returned = function(replace(job, done=Refined()), *arguments)
        except SimGANError as error:
            returned = error
    return returned, [str(warning.message) for warning in caught if warning.category is UserWarning]


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


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Told:
    return call(_job, function, arguments)
