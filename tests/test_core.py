"""The core needs PyTorch, NumPy, Pillow, safetensors and huggingface_hub alone; a command says which extra it lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Only the core's distributions and what these need themselves can be imported: all else is as if not installed.
CORE_ONLY = """
import re, sys
from importlib.metadata import distribution, packages_distributions

allowed, waiting = set(), ["torch", "numpy", "pillow", "safetensors", "huggingface_hub"]
while waiting:
    name = re.sub("[-_.]+", "-", waiting.pop()).lower()
    if name not in allowed:
        allowed.add(name)
        try:
            needs = distribution(name).requires or []
        except Exception:  # for another platform
            continue
        waiting += [re.match(r"[\\w.-]+", need)[0] for need in needs if "extra ==" not in need]
owners = packages_distributions()

class CoreOnly:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        found = {re.sub("[-_.]+", "-", owner).lower() for owner in owners.get(top, ())}
        if found and not found & (allowed | {"simgan"}):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, CoreOnly())
"""


def run(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CORE_ONLY + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def simgan(*arguments):
    return run("from simgan.cli import main\nmain()", *arguments)


def test_all_shipped_models_refine_where_the_core_alone_is_installed():
    done = run("""
import json
import numpy as np
from PIL import Image
for name in ("cv2", "scipy", "datasets", "pandas", "tyro", "matplotlib", "accelerate", "gradio"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
from simgan import Refiner
changed = {}
for name in ("eyes", "eyes-simulated", "hands", "hands-simulated"):
    rows, columns = np.mgrid[:64, :80]
    image = (700 + rows + columns // 2).astype(np.uint16) if "hands" in name else (rows + columns).astype(np.uint8)
    out = Refiner.from_pretrained(name).refine(image)
    assert out.shape == image.shape and out.dtype == image.dtype
    changed[name] = bool((out != image).any())
colour = np.stack([image] * 3, -1).astype(np.uint8)
assert Refiner.from_pretrained("eyes").refine(Image.fromarray(colour)).mode == "RGB"
print(json.dumps(changed))
""")
    assert done.returncode == 0, done.stderr
    changed = json.loads(done.stdout)
    assert len(changed) == 4 and all(changed.values())


def test_help_works_and_names_all_commands():
    done = simgan("--help")
    assert done.returncode == 0, done.stderr
    for command in ("refine", "prepare", "simulate", "evaluate", "ablate", "report", "push", "space"):
        assert f"{command} " in done.stdout
    assert simgan("--version").stdout.startswith("simgan ")


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(("refine", "in", "out"), "cli"), (("prepare", "in", "out"), "train"), (("space", "push", "org/name"), "demo")],
)
def test_a_command_whose_extra_is_missing_says_which(arguments, extra):
    done = simgan(*arguments)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith(f'pip install "simgan[{extra}]"')
    assert "Traceback" not in done.stderr
