"""The machine that a report was written on: processor, memory, GPUs, and the versions of packages."""

import importlib.metadata
import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from simgan import __version__
from simgan.runtime import count_cores

# That decide how fast convolutions are, by their names in Linux' /proc/cpuinfo (x86, Arm).
INSTRUCTION_SETS = "avx2 avx512f avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_bf16 amx_int8 asimd sve bf16 i8mm"
PACKAGES = "torch accelerate datasets huggingface_hub numpy scipy opencv-python-headless pillow matplotlib"


def machine() -> dict[str, Any]:
    """Return the processor, the cores that may be used, instruction sets, memory in GiB and GPUs of this machine."""
    file = Path("/proc/cpuinfo")  # not on other systems than Linux
    lines = file.read_text().split("\n\n")[0].splitlines() if file.is_file() else []
    known = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (known.get("flags") or known.get("Features") or "").split()
    memory = None
    with suppress(AttributeError, ValueError, OSError):  # on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": known.get("model name") or platform.processor() or "unknown",
        "cores": count_cores(),
        "instruction_sets": [name for name in INSTRUCTION_SETS.split() if name in flags],
        "memory_gib": memory,
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
    }


def versions() -> dict[str, str]:
    """Return the versions of Python, simgan, and the packages that figures depend on."""
    found = {"simgan": __version__, "python": platform.python_version()}
    for name in PACKAGES.split():
        with suppress(importlib.metadata.PackageNotFoundError):  # another build of OpenCV has another name
            found[name] = importlib.metadata.version(name)
    return found
