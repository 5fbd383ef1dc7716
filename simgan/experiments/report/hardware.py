"""What a report was written on: the processor, its memory and instruction sets, GPUs, and the versions of packages."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from simgan import __version__

INSTRUCTION_SETS = (  # that decide how fast convolutions are, by their names in Linux' /proc/cpuinfo (x86, Arm)
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "sve", "bf16", "i8mm"),
)
PACKAGES = (
    "torch",
    "accelerate",
    "datasets",
    "huggingface_hub",
    "numpy",
    "scipy",
    "opencv-python-headless",
    "pillow",
    "matplotlib",
)


def machine() -> dict[str, Any]:
    """Describe this machine: processor, cores that may be used, instruction sets, memory in GiB, GPUs."""
    import torch

    known = _cpuinfo()
    flags = set((known.get("flags") or known.get("Features") or "").split())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": known.get("model name") or platform.processor() or "unknown",
        "cores": usable,
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "memory_gib": _memory(),
        "gpus": gpus,
    }


def versions() -> dict[str, str]:
    """Give the versions of Python, simgan, and the packages that decide on figures."""
    found = {"simgan": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # as another build of OpenCV brings the same module
            continue
    return found


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; nothing where there is no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None
