"""Fixtures that several test files share.

The clients of the Hub read their settings when they are imported, so these are made here, before anything else: they
know no Hub but one on a port of 127.0.0.1 (where nothing listens until a test asks for `hub`), keep cache and token in
a temporary folder, and upload through Git LFS. Processes that a test starts inherit it all.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub, url_of

pytest_plugins = ["browser"]

if "PYTEST_XDIST_WORKER" in os.environ:  # before PyTorch is imported: a thread for each core, in each process, waits
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_HOME = tempfile.TemporaryDirectory(prefix="simgan-tests-")
_LISTENER = LoopbackHub.bind()
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING"))]:
    del os.environ[_name]
os.environ |= {
    "HF_ENDPOINT": url_of(_LISTENER),
    "HF_HOME": _HOME.name,
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}


# Files of tests that take longest, of which each worker begins with one, so that none is left for the end.
LONG = (
    *("export", "processes", "training", "static_site", "domains", "gaze_experiment", "notebooks", "space_browser"),
    *("train_script", "two_sample", "core", "publishing", "ablation", "space_tabs_browser", "space_hands", "prepare"),
    *("reproduce", "shipped", "refine_cluster", "release", "space_push"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    places = {f"test_{name}": place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def _hub_of_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackHub]:
    with LoopbackHub(tmp_path_factory.mktemp("hub"), _LISTENER) as hub:
        yield hub


@pytest.fixture
def hub(_hub_of_the_session: LoopbackHub) -> LoopbackHub:
    """A Hub without repositories that the real clients talk to, and a machine that has seen no Hub before.

    It knows anna, who may write in org (token hf_anna), and bob, a stranger (hf_bob). Nobody is logged in.
    """
    hub = _hub_of_the_session
    hub.clear()
    hub.add_user("anna", organizations=("org",))
    hub.add_user("bob")
    from huggingface_hub import HfFileSystem

    HfFileSystem.clear_instance_cache()  # it remembers what it has listed
    for place in Path(_HOME.name).iterdir():
        shutil.rmtree(place) if place.is_dir() else place.unlink()
    return hub


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real and synthetic images that may not be distributed with the project; tests that need them skip without."""
    folder = Path(os.environ.get("SIMGAN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test images in {folder} (set SIMGAN_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return a function of a shipped name: the refiner as ONNX, exported once for all processes, as that takes long."""
    from filelock import FileLock

    from simgan import Refiner

    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    export = Refiner.export  # what a test may replace

    def read(name: str) -> bytes:
        file = folder / f"{name}.onnx"
        with FileLock(f"{file}.lock"):
            if not file.exists():
                file.write_bytes(export(Refiner.from_pretrained(name), "onnx"))
        return file.read_bytes()

    return functools.cache(read)


@pytest.fixture
def fresh_accelerate() -> Iterator[None]:
    """Accelerate keeps one state a process, its precision among it."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    yield
    AcceleratorState._reset_state(True)
