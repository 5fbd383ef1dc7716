"""Cards: every figure is the run's own, a missing one is said to be, no path of the machine, and the snippet works."""

import json
import re

import pytest
from huggingface_hub import ModelCard
from PIL import Image
from publishing_runs import SECRET, make_run, measure

from simgan import ModelError, Refiner
from simgan.hub.cards.curves import draw_curves
from simgan.hub.cards.model import render_model_card
from simgan.hub.cards.records import licence as licence_of
from simgan.hub.cards.records import name_source, read_records
from simgan.hub.push import push_model
from simgan.simulators.eyes import renders as eyes


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_the_metadata_are_the_records_and_valid_for_the_hub(run, hub):
    gaze = {"raw": [{"error": 9.0, "guessing": 8.1}], "refined": [{"error": 7.0}, {"error": 8.5}]}
    (run / "gaze.json").write_text(json.dumps(gaze | {"real": f"mpiigaze:{SECRET}/p00"}))
    card = ModelCard(render_model_card(read_records(run), "org/simgan-eyes"))
    card.validate()
    found = {result.metric_type: result.metric_value for result in card.data.eval_results}
    row = measure(20)
    assert found == {
        "patch-distance": row["realism"],
        "patch-distance-raw": row["realism_raw"],
        "patch-distance-floor": row["realism_floor"],
        "annotation-shift-mean": row["shift"],
        "annotation-shift-median": row["shift_median"],
        "gaze-error-raw": 9.0,
        "gaze-error-refined": 7.75,
    }
    assert (card.data.library_name, card.data.pipeline_tag) == ("simgan", "image-to-image")
    assert (card.data.license, card.data.license_name) == ("other", "cc-by-nc-sa-4.0-and-research")
    assert card.data.datasets == ["syntheseyes", "mpiigaze"]
    assert {result.dataset_name for result in card.data.eval_results} == {
        "held out of mpiigaze:MPIIGaze@evaluation",
        "mpiigaze:p00",
    }
    assert "| 70.0 | 90.0 | 30.0 |" in card.text
    assert "Share of the gap closed: 33 %" in card.text
    assert "| refined images | 7.75° (2 seeds) |" in card.text
    assert "| seed | 0 |" in card.text
    assert "| 30 | 60.0 | not in this model's records | 0.15 | 0.4 |" in card.text  # its shift is not a number
    assert SECRET not in card.content


def test_a_card_of_hands_speaks_of_depth_and_millimetres_alone(tmp_path, hub):
    run = make_run(tmp_path / "run", "hands")
    rows = [{"error": 6.0, "share_within_5px": share} for share in (0.6, 0.65)]
    joints = {"raw": rows[:1], "refined": rows, "real": f"nyu:{SECRET}/NYU"}
    (run / "hands.json").write_text(json.dumps(joints))
    card = ModelCard(render_model_card(read_records(run), "org/simgan-hands"))
    card.validate()
    assert card.data.license == "apache-2.0"
    assert "hand-pose-estimation" in card.data.tags
    found = {result.metric_type: (result.metric_name, result.metric_value) for result in card.data.eval_results}
    assert found["annotation-shift-median"] == ("Annotation shift: median, mm", measure(20)["shift_median"])
    assert found["joints-within-5px-refined"] == ("Joints within 5 px of networks trained on refined images, %", 62.5)
    assert "how far the surface moved | mm |" in card.text
    assert "| refined images | 62.50 % (2 seeds) |" in card.text
    assert 'refiner.refine("hand.png")' in card.text
    assert not re.search(
        r"iris|pupil|gaze|eye\b|eyes|\blids?\b", card.content.replace("iris_weight", ""), re.IGNORECASE
    )
    assert SECRET not in card.content


def test_a_model_without_records_says_of_each_figure_that_it_is_missing(tmp_path, hub):
    Refiner.from_preset("eyes").save_pretrained(tmp_path)
    records = read_records(tmp_path)
    card = ModelCard(render_model_card(records, "org/model"))
    card.validate()
    assert card.data.eval_results is None
    assert card.data.license == "unknown"
    for told in (
        "| realism: patch distance to real × 1000 | not in this model's records | not in this model's records |",
        "| median of the iris | not in this model's records |",
        "Share of the gap closed: not in this model's records",
        "Gaze error: not measured",
        "There is no sample sheet",
        "What it was trained on is not in this model's records",
        "The settings of the training are not in this model's records",
    ):
        assert told in card.text
    assert draw_curves(records) is None


def test_the_snippet_of_a_pushed_card_runs_as_it_is_printed(run, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    push_model(run, "org/simgan-eyes", token="hf_anna")
    Image.fromarray(eyes.render(range(1))[0][0]).save("eye.png")
    (snippet,) = re.findall(r"```python\n(.*?)```", ModelCard.load("org/simgan-eyes").text, re.DOTALL)
    exec(snippet, {})
    assert Image.open("refined.png").size == (55, 35)


def test_curves_are_the_same_bytes_every_time(run):
    curves = draw_curves(read_records(run))
    assert curves == draw_curves(read_records(run))
    assert curves.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("source", "shown", "licence"),
    [
        ("simulator:eyes", "simulator:eyes", "apache-2.0"),
        (f"mpiigaze:{SECRET}/MPIIGaze/", "mpiigaze:MPIIGaze", "cc-by-nc-sa-4.0"),
        (f"mpiigaze:{SECRET}/MPIIGaze@evaluation", "mpiigaze:MPIIGaze@evaluation", "cc-by-nc-sa-4.0"),
        ("unityeyes:~/UnityEyes", "unityeyes:UnityEyes", "other"),
        ("hub:org/name@test", "hub:org/name@test", "unknown"),
        (f"hub:{SECRET}/saved", "hub:saved", "unknown"),
        (f"folder:{SECRET}", "folder:secret place", "unknown"),
        (f"{SECRET}/eyes.parquet", "eyes.parquet", "unknown"),
        (r"C:\Users\me\eyes", "eyes", "unknown"),
        ("folder:..", "folder:folder", "unknown"),
        (f"first-half:mpiigaze:{SECRET}/MPIIGaze/", "first-half:mpiigaze:MPIIGaze", "cc-by-nc-sa-4.0"),
        (f"second-half:{SECRET}/photos.parquet", "second-half:photos.parquet", "unknown"),
    ],
)
def test_a_source_is_named_without_its_place_and_with_its_licence(source, shown, licence):
    assert name_source(source) == shown
    assert name_source(shown) == shown
    assert licence_of([source])["license"] == licence
    assert licence_of([source, "camera:eyes"])["license"] == licence
    assert licence_of([source, "folder:x"])["license"] == "unknown"


@pytest.mark.parametrize("file", ["config.json", "training.json", "model.safetensors"])
def test_broken_records_are_named(run, file):
    (run / file).write_text("{")
    with pytest.raises(ModelError, match=r"records in .*run cannot be read"):
        read_records(run)
