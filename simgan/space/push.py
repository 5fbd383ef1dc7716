"""Push a Space of one's own: `app.py`, the source of the package (on no index), and what it needs; or a static one."""

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import SpaceCardData, constants
from packaging.requirements import Requirement
from packaging.version import Version

from simgan.domains import find
from simgan.errors import SourceError
from simgan.hub.loading import CONFIG, SHIPPED, local_folder
from simgan.hub.uploading import Pushed, upload
from simgan.space.events import TEXTS
from simgan.space.models import Models
from simgan.space.preview import PICTURE, draw_picture
from simgan.space.static_site import HEADERS, VENDOR, build_site

PACKAGE = Path(__file__).parents[1]
APP = '''"""The Space: builds `simgan.space` and launches it."""

import sys

from simgan.errors import check_arguments, command_line
from simgan.space import serve

if __name__ == "__main__":
    with command_line():
        try:
            import tyro

            check_arguments(sys.argv[1:])
            tyro.cli(serve)
        except ModuleNotFoundError as error:
            sys.exit(f'error: the Space needs {error.name}, which is not installed: pip install "simgan[demo]"')
'''
README = """
Make labelled synthetic images ({}) look real without losing their labels: Simulated+Unsupervised learning (SimGAN,
[Shrivastava et al. 2017](https://arxiv.org/abs/1612.07828)).

Code: Apache-2.0{}. The weights have the terms of their training images: see `{}/*/README.md`.
{}
"""
APP_WORDS = "", "simgan/pretrained", "Images that are sent here are deleted after a while, and go nowhere else."
STATIC = (
    f", and that of others in `{VENDOR}/` as `NOTICES.md` says",
    "models",
    "The page refines in your browser: images stay on your machine.",
)


def push_space(repo_id: str, *, models: Sequence[str] = (), static: bool = False, **access: Any) -> Pushed:
    """Push a Space, or what changed of it; `access`: `private`, `token`. `PublishError` where the Hub refuses it.

    `static`: one whose page refines in the visitor's browser, see `static_site`; `models` are then those that it has.
    """
    with TemporaryDirectory() as place:
        folder = Path(place)
        (build_site if static else _write_app)(folder, models)
        _write_card(folder, repo_id, models, static)
        # The card is replaced, as it holds the Space's settings, such as the version of Gradio.
        owned = ["models/", f"{VENDOR}/"] if static else ["simgan/"]
        settings: dict[str, Any] = access | {"repo_type": "space", "owned": owned, "replace_card": True}
        settings["space_sdk"] = "static" if static else "gradio"
        return upload(folder, repo_id, message=f"simgan {version('simgan')}", **settings)


def _write_app(folder: Path, _: Sequence[str]) -> None:
    (folder / "requirements.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")
    (folder / "app.py").write_text(APP, encoding="utf-8")
    shutil.copytree(PACKAGE, folder / "simgan", ignore=shutil.ignore_patterns("__pycache__", "*.pyi", ".*"))


def _write_card(folder: Path, repo_id: str, models: Sequence[str], static: bool) -> None:
    domains = dict.fromkeys(
        json.loads(file.read_text(encoding="utf-8"))["domain"] for file in sorted(SHIPPED.glob(f"*/{CONFIG}"))
    )
    words = [find(name).words for name in domains]
    served: dict[str, Any] = {"sdk": "gradio", "sdk_version": version("gradio"), "app_file": "app.py"}
    if static:
        served = {"sdk": "static", "app_file": "index.html", "custom_headers": HEADERS}
    card = SpaceCardData(
        title="simgan: synthetic images look real",
        license="other",
        models=[name for name in models if local_folder(name) is None] or None,
        tags=["simgan", "simulated-unsupervised-learning", *(one.tag for one in words)],
        emoji="🖼",
        colorFrom="blue",
        colorTo="gray",
        short_description="A refiner makes labelled synthetic images look real",
        thumbnail=f"{constants.ENDPOINT}/spaces/{repo_id}/resolve/main/{PICTURE}",
        **served,
    )
    shipped = Models().domains()
    (folder / PICTURE).write_bytes(draw_picture(TEXTS.title(shipped).strip(), shipped))
    about = README.format(", ".join(one.images for one in words), *(STATIC if static else APP_WORDS))
    (folder / "README.md").write_text(f"---\n{card.to_yaml()}\n---\n{about}", encoding="utf-8")


def requirements() -> list[str]:
    """Return what package and interface need, up to the next major version; Gradio as installed, as the card says."""
    extras, needs, lines = ["demo"], {}, []  # what the interface needs; an extra may name others
    try:
        for extra in extras:
            for need in map(Requirement, requires("simgan") or []):
                if need.marker is None or need.marker.evaluate({"extra": extra}):
                    needs[need.name] = need
            extras += sorted(needs.pop("simgan").extras) if "simgan" in needs else []
        for name, need in needs.items():
            here = version(name)
            least = next((spec.version for spec in need.specifier if spec.operator == ">="), here)
            lines.append(f"{name}=={here}" if name == "gradio" else f"{name}>={least},<{Version(here).major + 1}")
    except PackageNotFoundError as error:
        raise SourceError(f"{error.name} is not installed, no version of it known: pip install -e .[demo]") from error
    return lines
