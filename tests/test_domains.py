"""A domain is one file: one of our own in `third_domain/plates.py`, registered by an entry point, goes all the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from browser import Server, connect
from gradio_client import handle_file
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub
from PIL import Image

from simgan import ConfigError, Domain, Refiner, domains, register
from simgan.cli import main
from simgan.domains import Label
from simgan.measures.two_sample import measure_two_sample

HERE = Path(__file__).parent
ENTRY_POINT = "[simgan.domains]\nplates = plates:PLATES\n"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory):
    """A package with a domain of its own, as pip installs it, here and in processes that tests start."""
    site = tmp_path_factory.mktemp("site")
    info = site / "plates-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plates\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    paths = [str(site), str(HERE / "third_domain")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, *paths])
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE.parent), *paths]))
        patch.setattr(domains, "_registered", dict(domains._registered))
        domains._load_entry_points.cache_clear()
        yield
    domains._load_entry_points.cache_clear()


def write_plates(folder: Path, count: int, seed: int, *, real: bool) -> None:
    """Plates with two screws at random places: flat where they are rendered, brushed and dark where they are real."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    rows = []
    for number in range(count):
        image = np.full((72, 96, 3), rng.integers(120, 200, 3), float)
        screws = rng.uniform((20, 20), ((44, 52), (76, 52)), (2, 2))
        screws[1, 0] = rng.uniform(52, 76)
        across, down = np.meshgrid(np.arange(96), np.arange(72))
        for x, y in screws:
            image[np.hypot(across - x, down - y) < 5] = (40, 40, 60)
        if real:
            image = image * 0.7 + rng.normal(0, 12, (1, 96, 1)) + rng.normal(0, 5, image.shape)
        name = f"{number:03}.png"
        Image.fromarray(image.clip(0, 255).round().astype(np.uint8)).save(folder / name)
        rows.append({"file_name": name} | ({} if real else {"screws": screws.tolist()}))
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def run(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on plates, by the script that users start."""
    folder = tmp_path_factory.mktemp("plates")
    write_plates(folder / "renders", 24, 0, real=False)
    write_plates(folder / "photos", 24, 1, real=True)
    settings = "--steps 4 --evaluate-every 2 --batch-size 4 --history-size 8 --discriminator-warm-up 1"
    command = [sys.executable, "train_accelerate.py", "--preset", "plates", *settings.split()]
    command += ["--synthetic", str(folder / "renders"), "--real", str(folder / "photos"), "--mixed-precision", "no"]
    command += ["--output", str(folder / "run"), "--trackers"]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "screws moved" in done.stdout
    return folder / "run"


def test_it_trains_and_its_shift_is_measured_at_its_own_labels(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if "realism_raw" in row]
    assert [row["step"] for row in measured] == [0, 2, 4]
    assert measured[0]["shift"] == pytest.approx(0, abs=0.05)  # an untrained residual changes nothing
    assert measured[0]["shift_failed"] == 0
    assert measured[0]["edges_left"] == pytest.approx(1, abs=0.02)


def test_it_is_refined_in_its_colours_and_size(run: Path) -> None:
    refiner = Refiner.from_pretrained(run)
    assert (refiner.config.domain, refiner.config.channels) == ("plates", 3)
    image = Image.open(run.parent / "renders/000.png")
    refined = refiner.refine(image)
    assert (refined.mode, refined.size) == ("RGB", (96, 72))


def test_it_is_measured_by_the_command_line(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast(Any, measure_two_sample).__kwdefaults__, "steps", 5)  # for speed
    renders, photos = str(run.parent / "renders"), str(run.parent / "photos")
    main(["evaluate", "realism", renders, photos, "--model", str(run), "--limit", "16"])
    assert "patch" in capsys.readouterr().out
    main(["evaluate", "shift", renders, "--model", str(run), "--limit", "16"])
    out = capsys.readouterr().out
    assert "px" in out and "% of the width" in out
    assert float(re.search(r"edges left +([\d.]+) %", out)[1]) > 80


def test_its_card_is_pushed_and_loaded_and_the_space_refines_with_it(
    run: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    main(["push", str(run), "org/plates"])
    card = ModelCard.load("org/plates")
    assert "pictures of plates" in card.text
    assert "screws" in card.text
    assert re.search(r"\| edges left .* \| \d+ % \| at least 70 % \|", card.text)
    assert "object-detection" in card.data.tags
    assert not re.search(r"\b(eyes?|iris|hands?|gaze|joints?)\b", card.text, re.IGNORECASE)
    refiner = Refiner.from_pretrained("org/plates")
    image = Image.open(run.parent / "renders/001.png")
    expected = refiner.refine(image)
    server = Server(tmp_path, HF_HUB_OFFLINE="0")
    try:
        client = connect(server.url)
        sent = [{"image": handle_file(run.parent / "renders/001.png")}]
        _, _, note, files, *_ = client.predict(sent, "org/plates", 1.0, api_name="/refine")
        _, patches = client.predict(sent, "org/plates", api_name="/inspect")
        client.close()
    finally:
        server.stop()
    assert "96×72" in note and "colour" in note
    assert np.abs(np.asarray(Image.open(files[0])).astype(int) - np.asarray(expected)).max() <= 1
    assert 0 <= np.min(patches["refined"]["map"]) <= np.max(patches["refined"]["map"]) <= 1


def test_a_name_that_is_taken_is_refused(installed: None) -> None:
    plates = domains.find("plates")
    with pytest.raises(ConfigError, match="there is a domain 'plates' already"):
        register(Domain(**{**vars(plates), "recipes": {}}))
    with pytest.raises(ConfigError, match="the preset 'plates' belongs to the domain 'plates'"):
        register(Domain(**{**vars(plates), "name": "tiles"}))
    with pytest.raises(ConfigError, match="the domain 'plates' has another label 'screws'"):
        register(Domain(**{**vars(plates), "name": "tiles", "recipes": {}, "labels": {"screws": Label((3, 2))}}))
    assert register(plates) is plates


def test_a_model_of_a_domain_that_is_not_registered_here_is_one_of_images() -> None:
    assert domains.find("nobody's").name == "images"
    with pytest.raises(ConfigError, match="unknown preset 'tiles'"):
        domains.of_preset("tiles")
