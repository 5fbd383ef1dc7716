"""Work in batches that fit the processor's cache, on all of its cores: array code releases the interpreter's lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_SIZE = 32  # 35 × 55 float32 each: a batch's array is 250 kB


def in_batches(work: Callable[[slice], None], count: int) -> None:
    """Call `work` with slices that together cover range(count), in no certain order; its errors are raised here."""
    parts = [slice(start, min(start + _SIZE, count)) for start in range(0, count, _SIZE)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(parts) <= 1 or cores == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(min(cores, len(parts), 8)) as pool:
        for _ in pool.map(work, parts):
            pass
