"""Labels of another shape, or that are no numbers, are told by file and name; they never reach training."""

import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import test_data
import test_mpiigaze
import test_unityeyes
from datasets import DatasetDict
from PIL import Image
from scipy.io import savemat

from simgan import ConfigError, ImageError, SourceError
from simgan.data import load
from simgan.data.prepare import prepare
from simgan.data.simulated import write_images

NAN = float("nan")


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("iris_2d", ["(nan, nan, 1)"] * 16),
        ("interior_margin_2d", ["(1e300, 5, 1)"] * 16),
        ("head_pose", None),
        ("look_vec", "(0, 0, 0, 0)"),
        ("look_vec", "(inf, 0, 1, 0)"),
        ("iris_size", "nan"),
        ("iris_size", "1e-9"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_labels_of_unityeyes(tmp_path, label, value):
    test_unityeyes.write(tmp_path)
    labels = json.loads((tmp_path / "1.json").read_text())
    (labels if label in labels else labels["eye_details"])[label] = value
    (tmp_path / "1.json").write_text(json.dumps(labels))
    with pytest.raises(SourceError, match=r"1\.(json is not laid out as UnityEyes' labels|jpg has a label gaze)"):
        load(f"unityeyes:{tmp_path}")


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("ldmks_pupil_2d", [1, 2, 3]),
        ("ldmks_pupil_2d", [(NAN, 0.0)] * 8),
        ("ldmks_iris_2d", None),
        ("ldmks_lids_2d", [(1e300, 1.0)] * 12),
        ("ldmks_lids_2d", "none"),
        ("look_vec", [0, 0, 0]),
        ("look_vec", []),
        ("head_pose", [1, 2]),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_labels_of_syntheseyes(tmp_path, label, value):
    test_data.write(tmp_path / "f01/a.png", test_data.dot(55, 38))
    labels = test_data.syntheseyes_labels(55, 38)
    (labels["ldmks"] if label in labels["ldmks"] else labels)[label] = value
    (tmp_path / "f01/a.pkl").write_bytes(pickle.dumps(labels))
    with pytest.raises(SourceError, match=r"a\.(pkl is not laid out as SynthesEyes' labels|png has a label \w+ that)"):
        load(f"syntheseyes:{tmp_path}")


def test_pickles_of_broken_bytes(tmp_path):
    test_data.write(tmp_path / "f01/a.png", test_data.dot(55, 38))
    whole = pickle.dumps(test_data.syntheseyes_labels(55, 38))
    draw = np.random.default_rng(0)
    for turn in range(40):
        data = bytearray(whole)
        for where in draw.integers(0, len(data), 5):
            data[where] = draw.integers(256)
        (tmp_path / "f01/a.pkl").write_bytes(data[: len(data) // 2] if turn % 2 else data)
        try:
            load(f"syntheseyes:{tmp_path}")
        except SourceError as error:
            assert "f01/a." in str(error)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_matrices_that_were_cut(tmp_path, share):
    test_mpiigaze.write_mpiigaze(tmp_path, count=1)
    day = tmp_path / "Data/Normalized/p00/day01.mat"
    day.write_bytes(day.read_bytes()[: int(share * day.stat().st_size)])
    with pytest.raises(SourceError, match=r"day01\.mat is not laid out"):
        load(f"mpiigaze:{tmp_path}")


@pytest.mark.parametrize(("name", "value"), [("gaze", np.full((2, 3), np.nan)), ("pose", np.zeros((2, 4)))])
def test_mpiigaze_that_is_not_laid_out_as_such(tmp_path, name, value):
    eyes = {"image": np.zeros((2, 36, 60), np.uint8), "gaze": np.ones((2, 3)), "pose": np.zeros((2, 3))}
    place = tmp_path / "Data" / "Normalized" / "p00"
    place.mkdir(parents=True)
    names = np.array(["0.jpg", "1.jpg"], dtype=object)[:, None]
    savemat(place / "day01.mat", {"data": {"left": {**eyes, name: value}, "right": eyes}, "filenames": names})
    with pytest.raises(SourceError, match=r"day01(\.mat is not laid out|/0_left\.png has a label gaze)"):
        load(f"mpiigaze:{tmp_path}")


@pytest.mark.parametrize(
    "metadata",
    [
        {"pitch": "up", "yaw": 0.1},
        {"pupil": [1, 2, 3]},
        {"pupil": "here"},
        {"iris": [[1, 2], [3]]},
        {"gaze": [0, 1]},
        {"gaze": 7},
        {"head_rotation": [1, 0, 0]},
        {"lids": {"left": 3}},
    ],
)
def test_metadata_of_folders(tmp_path, metadata):
    test_data.write(tmp_path / "a.png", test_data.noise())
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", **metadata}))
    with pytest.raises(SourceError, match=r"a\.png (is not laid out as labels of images|has a label \w+ that is not)"):
        load(f"folder:{tmp_path}")
    with pytest.raises(SourceError, match="not one image could be read"):
        load(f"folder:{tmp_path}", skip_bad=True)


def test_metadata_that_are_none_or_numbers_instead_of_names_are_taken(tmp_path):
    test_data.write(tmp_path / "7.png", test_data.noise())
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "7.png", "person": 5, "pupil": [], "gaze": null}')
    row = load(f"folder:{tmp_path}")[0]
    assert (row["person"], row["gaze"]) == ("5", None)


def parquet(path, *cells):
    images = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": images, "scene": range(len(cells))}), path)


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (None, "holds no image"),
        ({"bytes": b"", "path": None}, "it is empty"),
        ({"bytes": b"text", "path": None}, "of no known format"),
        ({"bytes": None, "path": "/no/such.png"}, r"/no/such\.png .*row 1 of .* does not exist"),
    ],
)
def test_prepare_reads_every_row_of_a_table(tmp_path, cell, sentence):
    parquet(tmp_path / "in.parquet", png(test_data.noise()), cell)
    with pytest.raises(ImageError, match=rf"row 1 of .*in\.parquet.* {sentence}|^{sentence}"):
        prepare(str(tmp_path / "in.parquet"), tmp_path / "out", processes=1)
    done = prepare(str(tmp_path / "in.parquet"), tmp_path / "out", processes=1, skip_bad=True)
    assert (done.count, len(done.broken)) == (1, 1)
    assert load(str(tmp_path / "out"))["scene"][:] == [0]


def test_an_imagefolder_with_metadata_and_splits_of_a_saved_data_set_are_read_from_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    write_images("simulator:eyes", tmp_path / "images", count=6, seed=0)
    from_hub, from_folder = load(f"hub:{tmp_path / 'images'}"), load(f"folder:{tmp_path / 'images'}")
    assert from_hub["file_name"][:] == from_folder["file_name"][:]
    assert np.allclose(from_hub["pupil"], from_folder["pupil"])
    assert all(np.array_equal(a, b) for a, b in zip(from_hub["image"], from_folder["image"], strict=True))
    DatasetDict(one=from_hub, two=from_hub.select([1])).save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match=r"saved has splits one, two: name one as .*saved@SPLIT"):
        load(f"hub:{tmp_path / 'saved'}")
    assert len(load(f"hub:{tmp_path / 'saved'}@two")) == 1


@pytest.mark.parametrize("source", ["", "folder:", "hub:", "unityeyes:", "syntheseyes:", "mpiigaze:", "simulator:"])
def test_a_source_without_a_place_is_refused(source):
    with pytest.raises(SourceError, match=r"no folder|neither|does not exist|cannot be opened|no simulator"):
        load(source)


def test_settings_that_leave_nothing_are_refused(tmp_path):
    for settings, sentence in (
        ({"limit": 0}, "limit of 0"),
        ({"seed": -1}, "a seed is a whole number"),
        ({"size": (55, 8)}, "too small"),
        ({"channels": 2}, "1 .grey. or 3"),
        ({"processes": 0}, "0 processes"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            prepare("simulator:eyes", tmp_path / "out", **settings)
    with pytest.raises(ConfigError, match="0 images cannot be written"):
        write_images("simulator:eyes", tmp_path / "out", count=0, seed=0)
    assert not list(tmp_path.iterdir())
