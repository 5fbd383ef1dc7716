"""The core needs PyTorch, NumPy, Pillow, safetensors and huggingface_hub alone; a command says which extra it lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
# Only the core's distributions and what these need themselves can be imported: all else is as if not installed.
CORE_ONLY = """
import os, re, sys
from importlib.metadata import distribution, packages_distributions

allowed, waiting = set(), ["torch", "numpy", "pillow", "safetensors", "huggingface_hub"]
waiting += os.environ.get("ALSO_INSTALLED", "").split()
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


def run(code, *arguments, also=""):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ALSO_INSTALLED": also}
    command = [sys.executable, "-c", CORE_ONLY + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def simgan(*arguments, also=""):
    return run("from simgan.cli import main\nmain()", *arguments, also=also)


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
    [
        (("refine", "in", "out"), "cli"),
        (("prepare", "in", "out"), "train"),
        (("space", "push", "org/name"), "demo"),
        (("space", "serve"), "demo"),
    ],
)
def test_a_command_whose_extra_is_missing_says_which(arguments, extra):
    done = simgan(*arguments)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith(f'pip install "simgan[{extra}]"')
    assert "Traceback" not in done.stderr


def test_with_the_extra_cli_files_are_refined_and_a_data_set_needs_the_extra_train(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.arange(35 * 55, dtype=np.uint16).reshape(35, 55).astype(np.uint8)).save(
        tmp_path / "in" / "a.png"
    )
    done = simgan("refine", str(tmp_path / "in"), str(tmp_path / "out"), also="tyro tqdm")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 images refined into")
    assert Image.open(tmp_path / "out" / "a.png").size == (55, 35)
    (tmp_path / "in.parquet").touch()
    done = simgan("refine", str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), also="tyro tqdm")
    assert done.stderr.strip() == (
        'error: simgan refine needs datasets, which is not installed: pip install "simgan[train]"'
    )


@pytest.mark.parametrize(("script", "extra"), [("train_accelerate.py", "train"), ("app.py", "demo")])
def test_a_script_whose_extra_is_missing_says_which(script, extra):
    done = run(f"import runpy\nrunpy.run_path({str(ROOT / script)!r}, run_name='__main__')")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.strip().endswith(f'which is not installed: pip install "simgan[{extra}]"')
