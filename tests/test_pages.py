"""The pages and the README: short where promised, links that lead somewhere, and code that runs as it is printed."""

import json
import re
import runpy
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from pymdownx.slugs import slugify

import simgan
from simgan import cli, domains
from simgan.data.sources import ADAPTERS
from simgan.losses import REALISM_LOSSES, TRANSFORMS
from simgan.simulators import SIMULATORS
from simgan.training import held_out
from simgan.training.config import from_command_line

ROOT = Path(__file__).parents[1]
EXTEND = sorted((ROOT / "docs/extend").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *EXTEND]
QUICK = {"steps": 1, "evaluate_every": 1, "batch_size": 4, "discriminator_warm_up": 1, "limit": 24, "trackers": ()}
WRITTEN = {  # what the code of a page of Extend leaves in the settings of its run
    "domain": {"preset": "parts", "transform": "structure"},
    "psi": {"transform": "blurred"},
    "realism-loss": {"realism_loss": "least_squares"},
    "source": {"synthetic": ["npz:rendered"]},
    "simulator": {"synthetic": ["simulator:discs"]},
}


def without_code(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", without_code(page)))


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of each command of simgan on a page, or the options of `train_accelerate.py`.

    One in a sentence without arguments is a name, and "…" stands for arguments that are left out.
    """
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    named = [line.replace("\n", " ") for line in re.findall(r"`(simgan [^`]*[^`a-z ][^`]*)`", without_code(page))]
    for line in [*"".join(blocks).splitlines(), *named]:
        for command in re.split(r"\|\||&&", line if "…" not in line else ""):
            words = shlex.split(command, comments=True)
            for start in (k for k, word in enumerate(words) if word in ("simgan", "train_accelerate.py")):
                yield words[start:] if words[start] == "simgan" else words[start + 1 :]


def anchors(page: Path) -> set[str]:
    slug = slugify(case="lower")
    return {slug(heading, "-") for heading in re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in links(page):
        address = urlsplit(link)
        if address.scheme or address.netloc:
            fits = address.scheme == "https" and "." in address.netloc and not link.endswith("/")
        else:
            target = (page.parent / address.path).resolve() if address.path else page
            fits = target.exists() and (
                not address.fragment or target.name == "api.md" or address.fragment in anchors(target)
            )
        wrong += [] if fits else [link]
    assert not wrong


def test_every_command_of_the_pages_is_one_that_its_program_takes() -> None:
    lines = [words for page in PAGES for words in commands(page)]
    assert len(lines) > 50
    for words in lines:
        if words[0] == "simgan":
            found: Any = cli.load(words[1])
            idle = cli._idle(found) if callable(found) else {name: cli._idle(one) for name, one in found.items()}
            cli._parse(words[1], idle, words[2:])
        else:
            from_command_line(words)


def test_no_picture_lies_beside_the_pages_unused() -> None:
    used = {Path(link).name for page in PAGES for link in links(page)}
    pictures = {file.name for file in (ROOT / "docs").glob("*.png")}
    assert len(pictures) > 5
    assert pictures <= used


@pytest.mark.parametrize("page", EXTEND, ids=lambda page: page.stem)
def test_the_code_of_a_page_of_extend_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(domains, "_registered", dict(domains._registered))
    monkeypatch.setattr(held_out, "MEASURED", 8)  # for speed
    write = runpy.run_path(str(ROOT / "docs/parts.py"))["write"]
    write(Path("renders"), 24, 1, photograph=False)
    write(Path("photos"), 24, 2, photograph=True)
    train = simgan.train
    monkeypatch.setattr(simgan, "train", lambda *sides, **asked: train(*sides, **asked | QUICK), raising=False)
    code = ""
    for title, text in re.findall(r'```python(?: title="([^"]+)")?\n(.*?)```', page.read_text("utf-8"), re.DOTALL):
        if title:
            Path(title).write_text(text, encoding="utf-8")
        code += "" if title else text
    found: dict[str, object] = {}
    with ExitStack() as patched:
        for known in (ADAPTERS, REALISM_LOSSES, SIMULATORS, TRANSFORMS):  # what a page adds is gone after it
            patched.enter_context(mock.patch.dict(known))
        exec(compile(code, str(page), "exec"), found)
    (settings,) = Path("runs").glob("*/training.json")
    assert WRITTEN[page.stem].items() <= json.loads(settings.read_text()).items()
    refined = found["refiner"].refine(Image.open("renders/00000.png"))
    assert np.asarray(refined).shape == (64, 64, 3)
