"""The one place that knows the hardware: precision, memory format and allocator, chosen by what the processor has."""

import ctypes
import functools
import sys
import time

import torch
from torch import nn

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


@functools.cache
def keep_freed_pages() -> bool:
    """Tell glibc to keep large freed blocks; handing out fresh pages takes a third of the time in large batches.

    Returns whether it could be told (Linux with glibc); elsewhere nothing changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 1 << 30))


@functools.cache
def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Whether bfloat16 convolutions are faster than float32 ones here, by timing both for a few milliseconds."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    layer = nn.Conv2d(32, 32, 3, padding=1)
    x = torch.zeros(4, 32, 35, 55).contiguous(memory_format=torch.channels_last)
    return _seconds(layer.bfloat16(), x.bfloat16()) < 0.7 * _seconds(layer.float(), x)


def _seconds(layer: nn.Module, x: torch.Tensor) -> float:
    best = float("inf")
    with torch.inference_mode():
        for _ in range(4):  # the first one compiles the kernel
            start = time.perf_counter()
            layer(x)
            best = min(best, time.perf_counter() - start)
    return best
