"""`RefineBatch`: rows of `datasets`, of a DataLoader and of Ray are refined in other processes, and keep their kind."""

import io
import pickle

import numpy as np
import pytest
from datasets import Dataset, Image
from datasets.fingerprint import Hasher
from PIL import Image as Pillow
from torch.utils.data import DataLoader

from simgan import ConfigError, ModelError, RefineBatch, Refiner, SourceError
from simgan.cli import main
from simgan.simulators import SIMULATORS

CROPS = SIMULATORS["simulator:eyes"].render(np.arange(6))[0]
REFINE = RefineBatch("eyes", strength=0.8)


@pytest.fixture(scope="module")
def told():
    return np.stack(Refiner.from_pretrained("eyes").refine(list(CROPS), 0.8))


def png(array):
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, "PNG")
    return file.getvalue()


def pixels(cell):
    cell = cell["bytes"] if isinstance(cell, dict) else cell
    return np.asarray(Pillow.open(io.BytesIO(cell)) if isinstance(cell, bytes) else cell)


KINDS = {
    "arrays": CROPS,
    "a list of arrays": list(CROPS),
    "pictures": [Pillow.fromarray(crop) for crop in CROPS],
    "bytes": [png(crop) for crop in CROPS],
    "cells": np.array([{"bytes": png(crop), "path": f"{k}.png"} for k, crop in enumerate(CROPS)], object),
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_come_back_as_what_they_were_and_other_columns_stay(told, kind):
    images = KINDS[kind]
    batch = pickle.loads(pickle.dumps(REFINE))({"image": images, "label": [*range(6)]})
    assert type(batch["image"]) is type(images) and type(batch["image"][0]) is type(images[0])
    assert batch["label"] == [*range(6)]
    assert np.array_equal(np.stack([pixels(cell) for cell in batch["image"]]), told)
    if kind == "cells":
        assert [cell["path"] for cell in batch["image"]] == [f"{k}.png" for k in range(6)]


def test_a_data_set_is_refined_in_two_processes(told):
    cells = [{"bytes": png(crop), "path": None} for crop in CROPS]
    data = Dataset.from_dict({"image": cells, "label": [*range(6)]}).cast_column("image", Image())
    refined = data.map(REFINE, batched=True, batch_size=2, num_proc=2)
    assert refined.features == data.features and refined["label"] == data["label"]
    assert np.array_equal(np.stack([np.asarray(row["image"]) for row in refined]), told)


def test_workers_of_a_loader_refine_what_they_collate(told):
    rows = [{"image": crop, "label": number} for number, crop in enumerate(CROPS)]
    loader = DataLoader(rows, batch_size=3, num_workers=2, collate_fn=REFINE)
    found = [row for batch in loader for row in batch]
    assert [row["label"] for row in found] == [*range(6)]
    assert np.array_equal(np.stack([row["image"] for row in found]), told)


def test_ray_refines_a_parquet_file(tmp_path, told):
    ray = pytest.importorskip("ray")
    from ray.data import read_parquet

    rows = {"image": [{"bytes": png(crop), "path": None} for crop in CROPS], "label": [*range(6)]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "eyes.parquet")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        data = read_parquet(str(tmp_path / "eyes.parquet")).map_batches(REFINE, batch_size=4)
        found = sorted(data.take_all(), key=lambda row: row["label"])
    finally:
        ray.shutdown()
    assert np.array_equal(np.stack([pixels(row["image"]) for row in found]), told)


def test_other_weights_of_the_same_name_are_not_taken_for_the_first_ones(tmp_path):
    Refiner.from_pretrained("eyes").save_pretrained(tmp_path)
    first = RefineBatch(tmp_path)
    Refiner.from_pretrained("eyes-simulated").save_pretrained(tmp_path)
    assert Hasher.hash(first) != Hasher.hash(RefineBatch(tmp_path))
    with pytest.raises(ModelError, match="has other weights than when RefineBatch was made: make it again"):
        first({"image": CROPS})
    assert REFINE({"image": CROPS[:0]})["image"].shape == (0, 35, 55)


@pytest.mark.parametrize("device", ["cuda:77", "meta", "nothing"])
def test_a_device_that_is_not_there_is_told(tmp_path, device):
    sentence = f"there is no device '{device}' here .*: give another, such as cpu"
    with pytest.raises(ConfigError, match=sentence):
        RefineBatch("eyes", device=device)({"image": CROPS})
    Pillow.fromarray(CROPS[0]).save(tmp_path / "eye.png")
    with pytest.raises(SystemExit, match=sentence):
        main(["refine", str(tmp_path / "eye.png"), str(tmp_path / "refined.png"), "--device", device])
    assert not (tmp_path / "refined.png").exists()


def test_a_column_that_is_not_there_is_told():
    with pytest.raises(SourceError, match="no column 'image': RefineBatch takes one of picture, label"):
        REFINE({"picture": [], "label": []})
