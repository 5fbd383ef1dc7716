"""`simgan space push`: what lies on the Hub afterwards is a Space that runs by itself."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from browser import ROOT, Server, connect, is_near
from gradio_client import handle_file
from huggingface_hub import HfApi, SpaceCard, snapshot_download
from packaging.requirements import Requirement
from PIL import Image

from simgan import Refiner
from simgan.cli import main
from simgan.errors import PublishError
from simgan.simulators.eyes import renders as eyes
from simgan.space.push import APP, push_space, requirements


def test_a_pushed_space_starts_from_what_lies_on_the_hub_refines_and_starts_again_after_a_kill(
    hub, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    main(["space", "push", "org/demo", "--models", "org/simgan-eyes"])
    assert "pushed: " in capsys.readouterr().out
    info = HfApi().space_info("org/demo")
    assert info.sdk == "gradio"
    place = tmp_path / "clone"
    snapshot_download("org/demo", repo_type="space", local_dir=place)
    assert not list(place.rglob("*.pyc"))
    card = SpaceCard.load(place / "README.md")
    assert card.data.app_file == "app.py"
    assert card.data.models == ["org/simgan-eyes"]
    assert card.data.thumbnail == f"{hub.url}/spaces/org/demo/resolve/main/preview.png"
    with Image.open(place / "preview.png") as picture:
        assert (picture.size, picture.format) == ((1200, 630), "PNG")
    needs = [Requirement(line) for line in (place / "requirements.txt").read_text().splitlines()]
    assert [str(need.specifier) for need in needs if need.name == "gradio"] == [f"=={card.data.sdk_version}"]
    assert all("<" in str(need.specifier) or need.name == "gradio" for need in needs)
    assert len(card.data.sdk_version.split(".")) == 3

    asked = [sys.executable, "-c", "import simgan; print(simgan.__file__)"]
    found = subprocess.run(asked, cwd=place, env=os.environ | {"PYTHONPATH": ""}, capture_output=True, text=True)
    assert found.stdout.startswith(str(place))
    image = eyes.render([5])[0][0]
    Image.fromarray(image).save(tmp_path / "eye.png")
    for _ in range(2):
        server = Server(tmp_path, place)
        folders = [path for path in server.temporary.glob("simgan-space-*") if path.is_dir()]
        assert len(folders) == 1  # the killed one's is gone
        client = connect(server.url)
        sent = [{"image": handle_file(tmp_path / "eye.png"), "caption": None}]
        refined = np.array(Image.open(client.predict(sent, "eyes", 1.0, api_name="/refine")[3][0]))
        assert is_near(refined, Refiner.from_pretrained("eyes").refine(image))
        assert list(folders[0].rglob("eye.png"))
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()

    capsys.readouterr()
    main(["space", "push", "org/demo", "--models", "org/simgan-eyes"])
    assert "nothing new to push" in capsys.readouterr().out


def test_the_spaces_app_is_the_one_that_lies_here():
    assert (ROOT / "app.py").read_text() == APP


def test_all_that_the_package_and_its_page_need_is_required_with_bounds():
    needs = {Requirement(line).name: Requirement(line).specifier for line in requirements()}
    assert {"torch", "numpy", "safetensors", "huggingface_hub", "gradio", "filelock"} <= needs.keys()
    assert not {"pytest", "playwright"} & needs.keys()
    assert not needs["torch"].contains("99.0")


def test_what_the_hub_refuses_is_a_sentence(hub):
    with pytest.raises(PublishError, match=r"nobody is logged in|took no token"):
        push_space("org/demo", token=False)
    with pytest.raises(PublishError, match="may not write"):
        push_space("org/demo", token="hf_bob")
