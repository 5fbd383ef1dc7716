"""What is released: one version everywhere, and a small wheel and sdist that hold all that an installation needs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from email import message_from_string
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from PIL import Image

import simgan

ROOT = Path(__file__).parents[1]
LARGEST = 6_000_000  # bytes of the wheel, and of the sdist
ELSEWHERE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "runs", "shared")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel that is built from it; from a copy, as a build leaves files in the tree."""
    source, built = tmp_path_factory.mktemp("source") / "simgan", tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, source, ignore=ELSEWHERE)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return built


@pytest.fixture(scope="module")
def wheel(built):
    (wheel,) = built.glob("*.whl")
    with ZipFile(wheel) as opened:
        yield opened


def test_the_version_is_the_same_in_the_package_the_citation_the_changelog_and_the_wheel(wheel):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d\S*) - (\S+)$", changes, re.MULTILINE)
    assert citation["version"] == newest[1] == simgan.__version__
    assert str(citation["date-released"]) == newest[2]
    assert Path(wheel.filename).name == f"simgan-{simgan.__version__}-py3-none-any.whl"


def test_the_wheel_and_the_sdist_are_small_and_the_sdist_holds_no_tests_and_no_pictures_of_pages(built):
    files = list(built.iterdir())
    assert sorted(file.suffix for file in files) == [".gz", ".whl"]
    assert all(file.stat().st_size <= LARGEST for file in files), [(file.name, file.stat().st_size) for file in files]
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        held = {Path(name).parts[1] for name in sdist.getnames() if len(Path(name).parts) > 1}
    assert {"simgan", "pyproject.toml", "CHANGELOG.md", "CITATION.cff", "LICENSE", "README.md"} <= held
    assert not held & {"tests", "docs", "notebooks", "benchmarks"}


def test_the_wheel_holds_every_file_of_the_package(wheel):
    package = Path(simgan.__file__).parent
    files = {
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    assert {Path(file).suffix for file in files} >= {".py", ".safetensors", ".json", ".png", ".jinja", ".css", ".js"}
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == files | {"train_accelerate.py"}


def test_the_metadata_tell_what_an_index_shows(wheel):
    (file,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    told = message_from_string(wheel.read(file).decode("utf-8"))
    assert told["Summary"] and told["License-Expression"] == "Apache-2.0" and told["Requires-Python"] == ">=3.10"
    assert told.get_all("Project-URL") == ["Paper, https://arxiv.org/abs/1612.07828"]
    assert "Topic :: Scientific/Engineering :: Image Processing" in told.get_all("Classifier")
    assert set(told.get_all("Provides-Extra")) >= {"all", "cli", "demo", "onnx", "ray", "timm", "train"}
    assert told["Description-Content-Type"] == "text/markdown"
    assert told.get_payload().strip() == (ROOT / "README.md").read_text(encoding="utf-8").strip()


def test_the_wheel_alone_refines(wheel, tmp_path):
    wheel.extractall(tmp_path / "installed")
    Image.effect_noise((55, 35), 60).save(tmp_path / "eye.png")
    code = "import simgan, sys; print(simgan.__file__); from simgan.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "refine", "eye.png", "refined.png", "--model", "eyes"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "installed" / "simgan"))
    with Image.open(tmp_path / "refined.png") as refined:
        assert refined.size == (55, 35)
