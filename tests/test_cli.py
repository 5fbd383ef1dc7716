"""The command `simgan` as a user calls it: what it prints, what it leaves, and how it ends."""

import json
import shutil
import subprocess
import sys
import time

import pytest

from simgan import Discriminator, Refiner
from simgan.cli import main
from simgan.measures.two_sample import measure_two_sample


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    Refiner.from_preset("eyes").save_pretrained(folder)
    Discriminator.from_preset("eyes").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worlds")
    main(["simulate", "simulator:eyes", str(folder / "simulator"), "--count", "60"])
    main(["simulate", "camera:eyes", str(folder / "camera"), "--count", "60"])
    return folder


def test_simulated_images_can_be_refined_with_their_labels(simulated, model, tmp_path, capsys):
    main(["refine", "--copy", "*_000001?.png", str(simulated / "simulator"), str(tmp_path / "out"), "--model", model])
    assert "50 images refined" in capsys.readouterr().out
    labels = (tmp_path / "out" / "metadata.jsonl").read_text()
    assert labels == (simulated / "simulator" / "metadata.jsonl").read_text()
    assert len(json.loads(labels.splitlines()[0])["gaze"]) == 3


def test_a_source_is_prepared_and_measured(simulated, model, tmp_path, capsys):
    main(["prepare", f"folder:{simulated / 'simulator'}", str(tmp_path / "crops"), "--limit", "20", "--processes", "1"])
    main(["evaluate", "shift", str(tmp_path / "crops"), "--model", model])
    told = capsys.readouterr().out
    assert "20 crops in" in told
    assert "over 20 pairs" in told


def test_broken_images_are_listed_or_end_with_their_name(simulated, model, tmp_path, capsys):
    place = tmp_path / "in"
    place.mkdir()
    shutil.copy(simulated / "simulator" / "simulator_0000000.png", place)
    (place / "broken.png").write_bytes(b"")
    with pytest.raises(SystemExit, match=r"error: broken\.png cannot be read as an image"):
        main(["refine", str(place), str(tmp_path / "out"), "--model", model])
    main(["refine", str(place), str(tmp_path / "out"), "--model", model, "--skip-bad"])
    told = capsys.readouterr()
    assert "1 images refined" in told.out
    assert "left out: broken.png cannot be read" in told.err


def test_measures_are_printed_and_written(simulated, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(measure_two_sample.__kwdefaults__, "steps", 80)  # for speed
    synthetic, real = (f"folder:{simulated / world}" for world in ("simulator", "camera"))
    main(["evaluate", "realism", synthetic, real, "--model", model, "--output", str(tmp_path / "realism.json")])
    main(["evaluate", "shift", synthetic, "--model", model, "--output", str(tmp_path / "shift.json")])
    main(["evaluate", "gaze", synthetic, real, "--model", model, "--seeds", "1", "--steps", "2", "--width", "0.1"])
    told = capsys.readouterr().out
    assert "share of the gap closed, of the patch distance" in told
    assert all(name in told for name in ("patch distance", "classifier accuracy"))
    assert all(name in told for name in ("the measure alone", "The paper reports a mean of 1.1 px", "by gaze"))
    assert "| refined − synthetic" in told
    realism = json.loads((tmp_path / "realism.json").read_text())
    patches, told_apart = realism["rows"]
    refined, raw, floor = (patches[kind]["value"] for kind in ("refined", "raw", "floor"))
    assert refined == pytest.approx(raw, rel=1e-3)  # untrained, it returns its input
    assert raw > floor
    assert told_apart["raw"]["low"] > 0.5 > told_apart["floor"]["low"]
    shift = json.loads((tmp_path / "shift.json").read_text())
    assert shift["count"] == 60
    assert shift["median"]["value"] < 0.05
    assert sum(one["count"] for one in shift["groups"]["gaze"].values()) == 60
    on = {"synthetic": synthetic, "real": real, "model": model, "limit": 500, "seed": 0}
    assert on.items() <= realism["measured_on"].items()
    assert (on | {"real": None, "limit": 1000}).items() <= shift["measured_on"].items()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["refine", "missing", "out"], "error: no model 'eyes'|error: missing does not exist"),
        (["evaluate", "shift", "unknown:place", "--model", "MODEL"], "error: 'unknown:place' is neither"),
        (["simulate", "simulator:eyes", "."], "error: . exists"),
    ],
)
def test_what_goes_wrong_ends_in_one_sentence(arguments, sentence, model):
    with pytest.raises(SystemExit, match=sentence):
        main([model if argument == "MODEL" else argument for argument in arguments])


def test_an_unknown_option_ends_with_status_2():
    with pytest.raises(SystemExit) as caught:
        main(["refine", "a", "b", "--colour", "red"])
    assert caught.value.code == 2


def test_help_and_import_are_quick_and_pull_in_nothing_heavy():
    told = subprocess.run([sys.executable, "-m", "simgan", "--help"], capture_output=True, text=True).stdout
    assert all(command in told for command in ("refine", "prepare", "simulate", "evaluate", "push"))
    heavy = ("torch", "gradio", "datasets", "matplotlib")
    code = f"import sys, simgan.cli; print([m for m in {heavy} if m in sys.modules])"
    start = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    assert time.perf_counter() - start < 30  # a warm import takes about 2 s; this only catches something absurd
