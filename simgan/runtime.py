"""What depends on the hardware: precision, allocator, and algorithms that compute the same sums in the same order."""

import copy
import ctypes
import functools
import os
import sys
import timeit

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simgan.errors import ConfigError

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_FAST_BFLOAT16 = "SIMGAN_FAST_BFLOAT16"  # 0 or 1; child processes inherit it

if hasattr(os, "register_at_fork"):
    # A fork copies OpenMP's pool without its threads, and a child that computes would wait for them for ever. One
    # thread needs no pool: PyTorch's own DataLoader sets this in its workers, which other forks lack.
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


@functools.cache
def keep_freed_pages() -> bool:
    """Make glibc keep large freed blocks, as fresh pages take a third of the time in large batches; True if it does."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, 1 << 30))


def has_fast_bfloat16(device: str = "cpu") -> bool:
    """Return whether bfloat16 convolutions are faster than float32 ones: whether a GPU has units for them.

    On a CPU both are timed for a few milliseconds, once for this process and, through the environment variable
    SIMGAN_FAST_BFLOAT16 (0 or 1), for those that it starts.
    """
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if _FAST_BFLOAT16 not in os.environ:
        layer = nn.Conv2d(32, 32, 3, padding=1)
        x = torch.zeros(4, 32, 35, 55).contiguous(memory_format=torch.channels_last)
        half, y = copy.deepcopy(layer).bfloat16(), x.bfloat16()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several would wait for one another where a machine is busy, and tell nothing
        rounds = [(_seconds(half, y), _seconds(layer, x)) for _ in range(8)]
        torch.set_num_threads(threads)
        bfloat16, float32 = (min(times) for times in zip(*rounds, strict=True))
        use_fast_bfloat16(bfloat16 < 0.7 * float32)
    return os.environ[_FAST_BFLOAT16] == "1"


def use_fast_bfloat16(answer: bool) -> None:
    """Set what `has_fast_bfloat16` returns for the CPU: work that was begun with one answer continues with it."""
    os.environ[_FAST_BFLOAT16] = str(int(answer))


@torch.inference_mode()
def _seconds(layer: nn.Module, x: Tensor) -> float:
    return timeit.timeit(lambda: layer(x), number=1)


def use_deterministic_algorithms() -> None:
    """Make a GPU compute the same bits each time, slower; call it first. Operations that cannot, warn and go on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)


def _needs_substitute(x: Tensor) -> bool:
    return x.is_cuda and torch.are_deterministic_algorithms_enabled()


def reflect_pad(x: Tensor, width: int) -> Tensor:
    """Pad (B, C, H, W) by reflection on all four sides."""
    if not _needs_substitute(x):
        with torch.autocast(x.device.type, enabled=False):  # which would pad in float32, in twice the time
            return F.pad(x, [width] * 4, mode="reflect")
    for axis in (2, 3):
        last = x.shape[axis] - 1
        places = torch.arange(-width, last + 1 + width, device=x.device).abs()
        x = x.index_select(axis, last - (last - places).abs())
    return x


def adaptive_average(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Average (B, C, H, W) to (B, C, *size), as `F.adaptive_avg_pool2d` does."""
    if not _needs_substitute(x):
        return F.adaptive_avg_pool2d(x, size)
    down, across = (
        F.adaptive_avg_pool1d(torch.eye(length, dtype=x.dtype, device=x.device)[None], places)[0]
        for length, places in zip(x.shape[2:], size, strict=True)
    )
    return down.T @ x @ across


def enlarge(x: Tensor, factor: int) -> Tensor:
    """Enlarge (B, C, H, W) by bilinear interpolation to (B, C, factor · H, factor · W)."""
    if not _needs_substitute(x):
        return F.interpolate(x, scale_factor=factor, mode="bilinear")
    down, across = (
        F.interpolate(torch.eye(length, dtype=x.dtype, device=x.device)[None], scale_factor=factor, mode="linear")[0]
        for length in x.shape[2:]
    )
    return down.T @ x @ across


def find_device(name: str | None = None) -> str:
    """Return a device of PyTorch that can be used; without a name a GPU if this process sees one, else the CPU.

    `ConfigError` where there is no such device here.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"there is no device {name!r} here ({str(error).splitlines()[0]}): give another, such as cpu"
        ) from error
    return name


def memory_of(device: torch.device) -> int:
    """Return how many bytes of memory a device has."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    has_pages = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})  # not Windows
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if has_pages else 2**33


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
