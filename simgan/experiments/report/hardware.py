"""The machine that a report was written on: processor, memory, GPUs, and the versions of packages."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import torch

from simgan import __version__

INSTRUCTION_SETS = (  # that decide how fast convolutions are, by their names in Linux' /proc/cpuinfo (x86, Arm)
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "sve", "bf16", "i8mm"),
)
PACKAGES = (
    *("torch", "accelerate", "datasets", "huggingface_hub", "numpy", "scipy", "opencv-python-headless", "pillow"),
    "matplotlib",
)


def machine() -> dict[str, Any]:
    """Return the processor, the cores that may be used, instruction sets, memory in GiB and GPUs of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:  # on other systems than Linux
        lines = []
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((known.get("flags") or known.get("Features") or "").split())
    try:
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):  # on Windows
        memory = None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": known.get("model name") or platform.processor() or "unknown",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "memory_gib": memory,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, simgan, and the packages that figures depend on."""
    found = {"simgan": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # another build of OpenCV has another name
            continue
    return found
