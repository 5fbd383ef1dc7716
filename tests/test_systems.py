"""Windows and macOS: what they lack is taken away here, and code pages that lack letters are put in place."""

import io
import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

from simgan import runtime
from simgan.cli import main
from simgan.experiments.report import write
from simgan.space import batch_tab

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("code_page", ["cp1252", "cp932", "gbk", "ascii"])
@pytest.mark.parametrize("arguments", [["train_accelerate.py", "--help"], ["simgan", "ablate", "--help"]])
def test_a_console_prints_what_its_code_page_has(monkeypatch, code_page, arguments):
    console = io.TextIOWrapper(io.BytesIO(), code_page)
    monkeypatch.setattr(sys, "stdout", console)
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as caught:
        main(arguments[1:]) if arguments[0] == "simgan" else runpy.run_path(
            str(ROOT / arguments[0]), run_name="__main__"
        )
    assert caught.value.code == 0
    print("λ − ψ ☃")
    console.flush()
    assert b"?" in console.buffer.getvalue()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_what_other_systems_lack_is_done_without(monkeypatch, system):
    lacking = {"darwin": [], "win32": ["sysconf", "sysconf_names", "register_at_fork", "fork", "getuid", "killpg"]}
    for name in ("sched_getaffinity", *lacking[system]):
        monkeypatch.delattr(os, name)
    monkeypatch.setattr(sys, "platform", system)
    again = runpy.run_path(runtime.__file__)
    assert again["count_cores"]() >= 1
    assert again["memory_of"](torch.device("cpu")) > 2**28
    assert again["keep_freed_pages"]() is False
    assert write._facts()["machine"]["cores"] >= 1


def test_an_upload_needs_no_link(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "symlink_to", None)
    (tmp_path / "sent").write_bytes(b"PK")
    assert batch_tab._archive([(str(tmp_path / "sent"), "my.zip")], tmp_path).read_bytes() == b"PK"
