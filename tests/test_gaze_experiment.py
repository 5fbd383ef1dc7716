"""The gaze experiment: arms that are what they are called, paired differences, resuming."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from simgan import ConfigError, Refiner
from simgan.experiments.gaze.experiment import GazeExperiment
from simgan.experiments.run import run_experiment
from simgan.experiments.sources import Sources, parse_arms
from simgan.experiments.tables import ArmResult, as_report, as_table, pairs
from simgan.hub.cards.records import read_records

AUGMENTATIONS = GazeExperiment.augmentations


def sources_of(synthetic="simulator:eyes", real="camera:eyes", **options):
    """Return the sources of an experiment whose networks see next to nothing."""
    tiny = {"model": (), "seeds": 2, "steps": 2, "batch": 8, "width": 0.1, "limit": 24, "test_limit": 20}
    return Sources(GazeExperiment(synthetic, real, **tiny | options))


def test_an_arm_is_what_it_is_called():
    (arm,) = parse_arms(["4x-synthetic+noise+blur"], (), AUGMENTATIONS)
    assert (arm.kind, arm.times, arm.augment, arm.model) == ("synthetic", 4, ("blur", "noise"), None)
    assert [a.name for a in parse_arms(["refined"], ("runs/a", "eyes"), AUGMENTATIONS)] == [
        "refined by a",
        "refined by eyes",
    ]
    for wrong in ("fake", "0x-real", "synthetic+mirror", "synthetic noise"):
        with pytest.raises(ConfigError, match="there is no arm"):
            parse_arms([wrong], ("eyes",), AUGMENTATIONS)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "mine"
    Refiner.from_preset("eyes").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def persons(tmp_path_factory):
    """A source on disk of 4 known persons, 6 images each."""
    from simgan.cli import main

    folder = tmp_path_factory.mktemp("real") / "camera"
    main(["simulate", "camera:eyes", str(folder), "--count", "24"])
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["person"] = f"p{number // 6}"
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def test_nobody_of_the_test_is_trained_on(persons):
    for chosen, there in (((), 2), (("p1",), 1)):
        sources = sources_of(real=persons, train_real=persons, test_persons=chosen, test_limit=2000)
        assert not set(sources.test.persons) & set(sources.train.persons)
        assert len(set(sources.test.persons)) == there
        assert len(set(sources.train.persons)) == 4 - there
    camera = sources_of(train_real="camera:eyes")
    seen = {image.tobytes() for image in camera.train.images}
    assert not any(image.tobytes() in seen for image in camera.test.images)


def test_what_cannot_be_trained_is_refused_before_anything_is(persons, model):
    for arms, options, sentence in (
        (("synthetic", "real"), {}, "--train-real"),
        (("synthetic", "4x-refined"), {}, "has 24 images, too few for 4 × 10: give a limit of at most 6"),
        (("synthetic", "synthetic"), {}, "different names"),
        (("synthetic",), {"seeds": 0}, "seeds 0 must be positive"),
        (("synthetic",), {"finetune": (100,)}, "--train-real"),
        (("synthetic",), {"real": persons, "test_persons": ("p9",)}, "has no person p9: there are p0, p1, p2, p3"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            run_experiment(sources_of(persons, **{"arms": arms, "model": (model,), "limit": 10} | options))


def test_the_first_model_meets_its_rivals_and_controls_only_the_first_arm():
    names = ["synthetic", "refined", "synthetic+blur", "4x-synthetic", "4x-refined", "real"]
    arms = [
        ArmResult(arm, tuned, 1, [])
        for tuned in (0, 100)
        for name in names
        for arm in parse_arms([name], ("ours", "control"), AUGMENTATIONS)
        if not (tuned and name == "real")
    ]
    told = [(one.name, other.name) for one, other in pairs(arms)]
    plain = [pair for pair in told if "then" not in pair[0]]
    assert [one for one, other in plain if other == "synthetic"] == [
        *("refined by ours", "refined by control", "synthetic+blur", "4x-synthetic"),
        *("4x-refined by ours", "4x-refined by control", "real"),
    ]
    for times in ("", "4x-"):
        rivals = {other for one, other in plain if one == f"{times}refined by ours"}
        assert rivals == {*names} - {"refined", "4x-refined"} | {f"{times}refined by control"}
        assert [other for one, other in plain if one == f"{times}refined by control"] == ["synthetic"]
    assert ("refined by ours, then 100 real", "synthetic, then 100 real") in told
    assert len(told) == len(set(told)) == 15 + 12


def test_a_refiner_that_changes_nothing_makes_the_same_arm(tmp_path):
    Refiner.from_preset("eyes").save_pretrained(tmp_path / "identity")  # predicts a residual of zero
    sources = sources_of(model=(str(tmp_path / "identity"),))
    (difference,) = as_report(sources, run_experiment(sources))["differences"]
    assert (difference["first"], difference["second"]) == ("refined", "synthetic")
    assert difference["error"] == {"value": 0, "low": 0, "high": 0}


def test_rivals_get_statistics_of_photographs_and_not_their_labels():
    arms = ("synthetic", "fda", "matched", "synthetic+colour", "synthetic+randaugment")
    sources = sources_of(arms=arms, unlabelled="camera:eyes", seeds=1)
    rows = run_experiment(sources)
    assert [row.name for row in rows] == [*arms]
    assert len({row.errors.tobytes() for row in rows}) == len(arms)
    raw, matched = (sources.of(rows[place].arm) for place in (0, 2))
    assert np.array_equal(raw.labels["angles"], matched.labels["angles"])
    light = [images.mean((1, 2)).std() for images in (raw.images, matched.images, sources.test.images)]
    assert light[0] > 3 * light[1]  # renders differ in light, equalized photographs do not
    assert light[0] > 3 * light[2]


def test_a_finetuned_copy_leaves_its_network_alone(tmp_path):
    options = {"train_real": "camera:eyes", "arms": ("synthetic", "real"), "seeds": 1}
    sources = sources_of(**options, finetune=(8, 16))
    alone, both = run_experiment(sources_of(**options)), run_experiment(sources)
    assert [row.name for row in both] == ["synthetic", "real", "synthetic, then 8 real", "synthetic, then 16 real"]
    assert np.array_equal(alone[0].errors, both[0].errors)
    assert not np.array_equal(both[0].errors, both[2].errors)
    table = as_table(as_report(sources, both), sources.experiment)
    assert "then 16 real − synthetic, then 16 real" not in table


def test_an_interrupted_experiment_goes_on_and_its_report_is_what_a_card_reads(model, tmp_path):
    command = [sys.executable, "-m", "simgan", "evaluate", "gaze", "simulator:eyes", "camera:eyes", "--model", model]
    command += ["--arms", "synthetic", "refined", "synthetic+blur+noise", "--seeds", "2", "--width", "0.1"]
    command += ["--steps", "3", "--limit", "64", "--test-limit", "48", "--output", model]
    folder, environment = Path(model), os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
    limit = time.monotonic() + 300
    while len(list((folder / "gaze").glob("[!.]*.json"))) < 2 and time.monotonic() < limit:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    process.communicate()
    first = {file: file.stat().st_mtime_ns for file in (folder / "gaze").glob("[!.]*.json")}
    assert 2 <= len(first) <= 6
    done = subprocess.run(command, capture_output=True, env=environment, text=True)
    assert done.returncode == 0, done.stderr
    assert all(file.stat().st_mtime_ns == changed for file, changed in first.items())  # none was trained again
    assert len(list((folder / "gaze").iterdir())) == 6
    assert "| refined − synthetic+blur+noise" in done.stdout
    assert (folder / "gaze.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((folder / "gaze.json").read_text())
    assert [row["seed"] for row in report["raw"]] == [0, 1]
    assert [arm["trained_on"] for arm in report["arms"]] == ["synthetic", "refined", "synthetic+blur+noise"]
    records = read_records(folder)
    assert records.reached("refined") == pytest.approx(report["arms"][1]["error"]["value"])
    assert records.experiment["models"] == ["mine"]  # not where it lies
