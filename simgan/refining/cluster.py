"""Refining on a cluster by Ray: what a process or a machine that died was doing is done again elsewhere."""

import copy
import logging
import socket
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import torch

from simgan.errors import ConfigError, reason, require
from simgan.refining.job import Job
from simgan.refining.processes import Told, call
from simgan.runtime import has_fast_bfloat16, use_fast_bfloat16

LOCAL = "local"  # in place of an address: a cluster that is started here, and ends with the work
SHARERS = 8  # processes that share a GPU, as reading and encoding take longer than the network
RETRIES = 10  # of a piece of work whose process or machine died; without an end one broken image could take for ever
_jobs: dict[str, Job] = {}  # the last one of this process


class Cluster:
    """A connection to the cluster of `Job.ray`, which runs functions that take a copy of the job; a context manager.

    `ConfigError` where Ray is not installed, there is no cluster, or the job names a number of processes as well.
    simgan must be installed on all machines.
    """

    def __init__(self, job: Job) -> None:
        require(
            not job.workers, "workers are processes of this machine: leave them out where a Ray cluster does the work"
        )
        try:
            import ray
        except ImportError as error:
            raise ConfigError("a cluster needs Ray: pip install simgan[ray]") from error
        self._ray = ray
        options: dict[str, Any] = {"include_dashboard": False} if job.ray == LOCAL else {}
        try:
            if job.ray and ":" in job.ray and "://" not in job.ray:  # as Ray waits for minutes
                host, _, port = job.ray.rpartition(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            ray.init(job.ray, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"there is no Ray cluster at {job.ray} ({reason(error)}): give its address, auto, or {LOCAL} to start "
                "one here"
            ) from error
        there = ray.cluster_resources()
        cores, gpus = int(there.get("CPU", 0)) or 1, int(there.get("GPU", 0))
        sharers = max(1, min(SHARERS, cores // gpus)) if gpus else 0
        self.count = gpus * sharers or cores
        self._run = ray.remote(num_cpus=1, num_gpus=1 / sharers if gpus else 0, max_retries=RETRIES)(_run)
        refiner = copy.deepcopy(job.refiner).to("cpu")
        theirs = replace(job, refiner=refiner, workers=0, ray=None, progress=None, should_stop=None)
        self._job = [ray.put(theirs)]  # in a list, as Ray fetches what is an argument itself at every call
        self._device, self._key = "cuda" if gpus else "cpu", uuid.uuid4().hex

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Told]:
        """Have a function of this package called with a job and these arguments, for `processes.result`."""
        future: Future[Told] = self._run.remote(
            self._key, self._job, self._device, has_fast_bfloat16(), function, arguments
        ).future()
        return future


def _run(key: str, job: list[Any], device: str, bfloat16: bool, function: Any, arguments: tuple[Any, ...]) -> Told:
    use_fast_bfloat16(bfloat16)  # as on the machine that asks, so that all give the same bits
    if key not in _jobs:
        import ray

        torch.set_num_threads(1)
        _jobs.clear()
        _jobs[key] = ray.get(job[0])
        _jobs[key].refiner.to(device)
    return call(_jobs[key], function, arguments)
