"""Networks for eyes are tested on three tasks: gaze in degrees, its order across a screen, pupils."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from test_data import centroid, dot

from simgan import ConfigError, SourceError
from simgan.cli import main
from simgan.data import load
from simgan.data.columns import image_cell
from simgan.data.crop import Crop
from simgan.domains.eyes import PUPIL_DISTANCE
from simgan.experiments.base import LabelledImages
from simgan.experiments.gaze.experiment import GazeExperiment, rank_correlation
from simgan.experiments.run import run_experiment
from simgan.experiments.sources import Sources
from simgan.experiments.tables import as_report, as_table

TINY = {"model": (), "seeds": 2, "steps": 2, "batch": 8, "width": 0.1, "limit": 24, "test_limit": 40}


def write_table(file, rows):
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file


@pytest.fixture(scope="module")
def webcam(tmp_path_factory):
    """Two recordings whose pupils go to the left of the photograph, and a photograph too small."""
    rows = [
        {"image": image_cell(dot(75 - 4 * block, 20, 42, 100)), "width": 100, "height": 42}
        | {"person": person, "distance": "normal", "block": block}
        for person in "ab"
        for block in range(1, 10)
    ]
    rows.append(rows[0] | {"image": image_cell(dot(9, 4, 10, 25)), "width": 25, "height": 10})
    return f"webcam:{write_table(tmp_path_factory.mktemp('webcam') / 'eyes.parquet', rows)}"


@pytest.fixture(scope="module")
def bioid(tmp_path_factory):
    """Pupils 4.5 px right of the middle and 3.5 below: of a left and a right eye, and of one too near to be cut."""
    rows = [
        {"image": image_cell(dot(52, 33, 60, 96)), "bioid_index": 7, "eye": eye, "pupil_x": 52, "pupil_y": 33}
        | {"inter_pupil_px": distance}
        for eye, distance in (("imgright", 60.0), ("imgleft", 60.0), ("imgleft", 190.0))
    ]
    return f"bioid:{write_table(tmp_path_factory.mktemp('bioid') / 'eyes.parquet', rows)}"


def test_webcam_eyes_are_mirrored_and_those_left_out_are_told(webcam):
    with pytest.warns(UserWarning, match="left out 1 of less than 27×17 px"):
        dataset = load(webcam)
    assert set(dataset["recording"]) == {"a normal", "b normal"}
    places = np.array([centroid(np.array(image))[0] for image in dataset["image"][:9]])
    assert np.all(np.diff(places) > 0)  # mirrored: they go to the right
    assert dataset["across"][:9] == [*range(-1, -10, -1)]  # as yaw does, which is > 0 to the left


def test_bioids_labels_lie_on_the_pupils_at_the_scale_of_other_crops(bioid):
    with pytest.warns(UserWarning, match="left out 1 whose crop is larger"):
        left, right = load(bioid)
    for row, side in ((left, 1), (right, -1)):
        assert np.abs(centroid(np.array(row["image"])) - row["pupil"]).max() < 0.2
        assert np.allclose(row["pupil"], [27 + side * 4.5, 17 + 3.5], atol=1e-4)


def test_a_table_without_its_columns_or_file_is_named(tmp_path):
    file = write_table(tmp_path / "a.parquet", [{"image": image_cell(dot(9, 9, 35, 55)), "block": 1}])
    with pytest.raises(SourceError, match="has no column width, height, person, distance"):
        load(f"webcam:{file}")
    with pytest.raises(SourceError, match="there is no file"):
        load(f"bioid:{tmp_path / 'b.parquet'}")


def test_a_crop_is_moved_into_its_photograph_and_made_smaller_only_if_it_must():
    assert Crop(-3, 4, 55, 35, (55, 35)).within((100, 36)) == Crop(0, 1, 55, 35, (55, 35))
    inside = Crop(0.3, 0.7, 55, 35, (55, 35))
    assert inside.within((96, 60)) == inside
    assert Crop(0, 0, 110, 70, (55, 35)).within((110, 35)) == Crop(27.5, 0, 55, 35, (55, 35))


def test_every_task_is_measured_on_its_own_images():
    experiment = GazeExperiment("simulator:eyes", "real", blocks="blocks", pupils="pupils", **TINY)
    angles = np.array([[0.1, 0.2], [0.0, -0.1]] + [[np.nan] * 2] * 8)
    across = np.array([np.nan] * 2 + [-1, -2, -3, -1, -2, -3] + [np.nan] * 2)
    pupil = np.array([[np.nan] * 2] * 8 + [[0.1, 0], [0, 0.1]])
    recording = np.array(["p"] * 2 + ["a"] * 3 + ["b"] * 3 + [""] * 2)
    labels = {"angles": angles, "across": across, "pupil": pupil, "recording": recording}
    estimates = np.zeros((10, 4))
    estimates[:2, :2] = angles[:2] + np.radians([0, 3])
    estimates[2:8, 1] = [0.9, 0.8, 0.7, 0.1, 0.2, 0.3]  # one recording in order, one the other way round
    estimates[8:, 2:] = pupil[8:] + np.array([0.03, 0.04])
    result = experiment.measure(estimates, labels)
    assert np.allclose(result.columns["error"], 3, atol=0.1)
    assert np.allclose(result.columns["error_without_offset"], 0, atol=1e-6)
    assert result.figures["orders"] == pytest.approx({"a": 1, "b": -1})
    assert result.images["order"].tolist() == [2, 5]
    assert result.figures["pupil_error"] == pytest.approx(0.05)
    assert result.images["pupil_error"].tolist() == [8, 9]
    assert rank_correlation(np.zeros(3), np.arange(3.0)) == 0


def test_labels_move_with_shifted_crops():
    experiment = GazeExperiment("a", "b", pupils="c", augment=("shift",), **TINY)
    images = np.stack([dot(27 + 2 * k, 17 - k, 35, 55) for k in range(4)])
    pupil = np.array([[2 * k, -k] for k in range(4)]) / PUPIL_DISTANCE
    data = LabelledImages(images, {"angles": np.zeros((4, 2)), "pupil": pupil})
    inputs, targets = experiment.feed(data, None)(torch.arange(4), torch.Generator().manual_seed(1))
    shown = np.array([centroid((one[0].numpy() + 1) * 127.5) for one in inputs])
    assert np.abs(shown - centroid(images[0])).max() > 1
    found = experiment.decode(targets)[:, 2:]
    assert np.abs(found * PUPIL_DISTANCE + [27, 17] - shown).max() < 0.15


def test_what_a_network_is_not_told_it_is_not_punished_for():
    outputs = torch.tensor([[1.0, 5.0]], requires_grad=True)
    loss = GazeExperiment.loss(outputs, torch.tensor([[0.0, torch.nan]]))
    loss.backward()
    assert loss.item() == 0.5
    assert outputs.grad.tolist() == [[1.0, 0.0]]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_run_tells_of_all_tasks_and_report_shows_them(webcam, bioid, tmp_path):
    experiment = GazeExperiment(
        "simulator:eyes", "camera:eyes", blocks=webcam, pupils=bioid, arms=("synthetic", "synthetic+blur"), **TINY
    )
    sources = Sources(experiment)
    report = as_report(sources, run_experiment(sources))
    table = as_table(report, experiment)
    assert report["test_images"] == 40 + 18 + 2
    assert all(np.isfinite(report["arms"][0][key]["value"]) for key in ("error", "order", "pupil_error"))
    assert len(report["arms"][0]["seeds"][0]["orders"]) == 2
    assert {"error", "order", "pupil_error"} <= set(report["differences"][0])
    assert "2 blocks of neighbouring images for order across, ρ" in table
    assert [one["real"] for one in report["alignment"]] == [webcam, bioid]
    assert f"{bioid} crops made" in table
    (tmp_path / "gaze.json").write_text(json.dumps(report))
    main(["report", str(tmp_path / "gaze.json"), "--output", str(tmp_path / "told")])
    text = (tmp_path / "told" / "report.md").read_text()
    assert "order across, ρ | pupil, %" in text
    assert str(tmp_path) not in text
    assert {"gaze-order.png", "gaze-pupil_error-differences.png"} <= {
        file.name for file in (tmp_path / "told" / "figures").iterdir()
    }


def test_one_source_may_serve_two_tasks_and_no_other_is_measured():
    both = Sources(GazeExperiment("simulator:eyes", "camera:eyes", pupils="camera:eyes", **TINY)).test
    assert len(both.images) == 40
    assert np.isfinite(both.labels["pupil"]).all()
    alone = Sources(GazeExperiment("simulator:eyes", "camera:eyes", **TINY)).test
    assert np.isnan(alone.labels["pupil"]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_task_lacks_is_named(webcam, bioid, tmp_path):
    rows = [{"image": image_cell(dot(20 + k, 17, 35, 55)), "pitch": 0.0, "yaw": 0.1} for k in range(4)]
    gaze_alone = str(write_table(tmp_path / "gaze.parquet", rows))
    for options, sentence in (
        ({"blocks": "camera:eyes"}, "camera:eyes lacks the label across"),
        ({"pupils": webcam}, "lacks the label pupil"),
        ({"real": webcam}, "has no gaze labels"),
        ({"days": tmp_path / "days.csv"}, "must be a CSV of file_name and day of all images of camera:eyes"),
    ):
        with pytest.raises(SourceError, match=sentence):
            _ = Sources(GazeExperiment(**{"synthetic": "simulator:eyes", "real": "camera:eyes"} | TINY | options)).test
    with pytest.raises(ConfigError, match="lacks the label pupil, which networks learn"):
        run_experiment(Sources(GazeExperiment(gaze_alone, "camera:eyes", pupils=bioid, arms=("synthetic",), **TINY)))


def test_intervals_of_one_person_are_over_days(tmp_path):
    main(["simulate", "camera:eyes", str(tmp_path / "real"), "--count", "40"])
    names = sorted(file.name for file in (tmp_path / "real").glob("*.png"))
    with (tmp_path / "days.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file_name", "day"), *((name, place % 12) for place, name in enumerate(names))])
    rows = [json.loads(line) | {"person": "p"} for line in (tmp_path / "real/metadata.jsonl").read_text().splitlines()]
    (tmp_path / "real/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    experiment = GazeExperiment(
        "simulator:eyes", str(tmp_path / "real"), days=tmp_path / "days.csv", arms=("synthetic",), **TINY
    )
    sources = Sources(experiment)
    assert as_report(sources, run_experiment(sources))["resampled"] == "12 recordings"
