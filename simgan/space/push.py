"""Push a Space of one's own: `app.py`, the source of the package, and its requirements with tested versions.

The source is pushed because the package is on no index; so the Space runs exactly what was pushed.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import SpaceCardData
from packaging.requirements import Requirement
from packaging.version import Version

from simgan.domains import find
from simgan.errors import SourceError
from simgan.hub.loading import CONFIG, SHIPPED
from simgan.hub.uploading import Pushed, upload

PACKAGE = Path(__file__).parents[1]
EXTRA = "demo"  # of the package: what the interface needs
APP = '''"""The Space: builds `simgan.space` and launches it."""

import sys

from simgan.space import serve

if __name__ == "__main__":
    try:
        import tyro

        tyro.cli(serve)
    except ModuleNotFoundError as error:
        sys.exit(f'error: the Space needs {error.name}, which is not installed: pip install "simgan[demo]"')
'''
README = """
Make labelled synthetic images ({}) look real without losing their labels: Simulated+Unsupervised learning (SimGAN,
[Shrivastava et al. 2017](https://arxiv.org/abs/1612.07828)).

Code: Apache-2.0. The weights have the terms of their training images: see `simgan/pretrained/*/README.md`.
Images that are sent here are deleted after a while, and go nowhere else.
"""


def push_space(
    repo_id: str, *, models: Sequence[str] = (), private: bool | None = None, token: str | bool | None = None
) -> Pushed:
    """Push a working Space, or what changed of it. `models` are the Hub ids that its card lists.

    `PublishError` where the Hub refuses it or is out of reach, `SourceError` where the package is not installed.
    """
    with TemporaryDirectory() as folder:
        write_space(Path(folder), models=models)
        return upload(
            Path(folder),
            repo_id,
            message=f"simgan {version('simgan')}",
            repo_type="space",
            private=private,
            token=token,
            owned=["simgan/"],
            replace_card=True,  # it holds the Space's settings, such as the version of Gradio
        )


def write_space(folder: Path, *, models: Sequence[str] = ()) -> None:
    """Write the files of a Space into a folder: README.md, requirements.txt, app.py and the package."""
    needed = list(requirements())
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n")
    (folder / "app.py").write_text(APP)
    shipped = [find(json.loads(file.read_text())["domain"]) for file in sorted(SHIPPED.glob(f"*/{CONFIG}"))]
    words = list({domain.name: domain.words for domain in shipped}.values())
    card = SpaceCardData(
        title="simgan: synthetic images look real",
        sdk="gradio",
        sdk_version=version("gradio"),
        app_file="app.py",
        license="other",
        models=list(models) or None,
        tags=["simgan", "simulated-unsupervised-learning", *(one.tag for one in words)],
        emoji="🖼",
        colorFrom="blue",
        colorTo="gray",
        pinned=False,
    )
    about = README.format(", ".join(one.images for one in words))
    (folder / "README.md").write_text(f"---\n{card.to_yaml()}\n---\n{about}")
    shutil.copytree(PACKAGE, folder / "simgan", ignore=shutil.ignore_patterns("__pycache__", "*.pyi", ".*"))


def requirements() -> Iterator[str]:
    """Return what the package and its interface need, from the lowest allowed version to the next major one.

    Gradio is pinned to the installed version, which the README of the Space names too.
    """
    try:
        for need in {need.name: need for need in _needs(EXTRA)}.values():
            here = version(need.name)
            least = next((spec.version for spec in need.specifier if spec.operator == ">="), here)
            bounds = f"=={here}" if need.name == "gradio" else f">={least},<{Version(here).major + 1}"
            yield f"{need.name}{bounds}"
    except PackageNotFoundError as error:
        missing = f"{error.name} is not installed, so its version is not known"
        raise SourceError(f"{missing}: pip install -e .[demo]") from error


def _needs(extra: str) -> Iterator[Requirement]:
    """Return what the package needs with one of its extras; an extra may name others."""
    for need in map(Requirement, requires("simgan") or []):
        if need.marker is None or need.marker.evaluate({"extra": extra}):
            if need.name == "simgan":
                for other in sorted(need.extras):
                    yield from _needs(other)
            else:
                yield need
