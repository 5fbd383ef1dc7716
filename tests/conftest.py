"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["browser"]

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real and synthetic images that may not be distributed with the project; tests that need them skip without."""
    folder = Path(os.environ.get("SIMGAN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test images in {folder} (set SIMGAN_TEST_DATA)")
    return folder
