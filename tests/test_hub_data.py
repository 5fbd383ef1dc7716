"""Data sets come back from the Hub bit for bit, through `datasets` and as a source. Real clients, a real server."""

import io

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, Image, List, Value, load_dataset
from huggingface_hub import HfApi
from PIL import Image as Pillow

from simgan import SourceError
from simgan.data import load, tables

NAME = "org/eyes"
FEATURES = Features({"image": Image(), "gaze": List(Value("float32"), 3), "file_name": Value("string")})


def png(array):
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, "png")
    return buffer.getvalue()


def images(count, dtype=np.uint8, seed=0):
    """Noise of all values that the type has: the first is 8-bit, uint16 stays 16-bit."""
    generator = np.random.default_rng(seed)
    return [generator.integers(0, np.iinfo(dtype).max, (35, 55), dtype, endpoint=True) for _ in range(count)]


def table(arrays):
    rows = {
        "image": [{"bytes": png(array), "path": None} for array in arrays],
        "gaze": [[0.1 * number, -0.2, -0.9] for number in range(len(arrays))],
        "file_name": [f"{number}.png" for number in range(len(arrays))],
    }
    return Dataset.from_dict(rows, features=FEATURES)


@pytest.fixture
def login(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    return HfApi()


def stored(dataset):
    return dataset.cast_column("image", Image(decode=False))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_data_set_comes_back_bit_for_bit(login, dtype):
    made = table(images(5, dtype))
    made.push_to_hub(NAME)
    back = load_dataset(NAME, split="train")
    assert back.features == made.features
    for ours, theirs in zip(stored(made), stored(back), strict=True):
        assert ours["image"]["bytes"] == theirs["image"]["bytes"]
        assert (ours["gaze"], ours["file_name"]) == (theirs["gaze"], theirs["file_name"])
    source = load(f"hub:{NAME}")
    assert len(source) == 5
    for number, array in enumerate(images(5, dtype)):
        assert np.array_equal(np.array(source[number]["image"]), array)
    assert source["gaze"] == made["gaze"]
    assert source["file_name"] == made["file_name"]


def test_a_split_is_named_after_an_at_sign_and_train_is_taken_without(login):
    parts = {"train": images(3, seed=1), "test": images(2, seed=2)}
    DatasetDict({name: table(arrays) for name, arrays in parts.items()}).push_to_hub(NAME, private=True)
    for source, part in ((f"hub:{NAME}", "train"), (f"hub:{NAME}@train", "train"), (f"hub:{NAME}@test", "test")):
        found = [np.array(row["image"]) for row in load(source)]
        assert np.array_equal(found, parts[part]), source


def test_a_configuration_is_named_after_the_data_set(login, monkeypatch):
    for seed, config in enumerate(("near", "far")):
        table(images(2, seed=seed)).push_to_hub(NAME, config_name=config)
    refused(f"{NAME} has configurations far, near: name one as {NAME}/CONFIG")
    for source in (f"hub:{NAME}/far", f"hub:{NAME}/far@train"):
        assert np.array_equal([np.array(row["image"]) for row in load(source)], images(2, seed=1))
    monkeypatch.setattr(tables, "get_dataset_config_names", lambda place: 1 / 0)  # the connection ends
    refused(f"{NAME} cannot be opened, neither as a folder or file nor on the Hub: Config name is missing")


def refused(sentence, source=f"hub:{NAME}"):
    with pytest.raises(SourceError) as caught:
        load(source)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_cannot_be_had_is_refused_in_a_sentence(login, monkeypatch):
    for name in (NAME, "org/private", "org/gated"):
        table(images(2)).push_to_hub(name, private=name == "org/private")
    login.update_repo_settings("org/gated", repo_type="dataset", gated="auto")
    refused(f"{NAME} has splits train: name one as {NAME}@SPLIT", f"hub:{NAME}@dev")
    monkeypatch.setenv("HF_TOKEN", "hf_bob")
    for name in ("org/noses", "org/private", "org/gated"):
        refused(f"{name} is no folder or file here, and no data set of the Hub that you may read", f"hub:{name}")


def test_a_download_that_is_cut_is_taken_up_again_or_refused(hub, login):
    table(images(40)).push_to_hub(NAME)
    hub.fail("*.parquet", method="GET", times=1, cut_after=20_000)
    gone = hub.fail("*.parquet", method="GET", times=1, status=500)
    refused("500 Internal Server Error")
    assert gone.hits == 1
    cut = hub.fail("*.parquet", method="GET", times=1, cut_after=20_000)
    assert np.array_equal([np.array(row["image"]) for row in load(f"hub:{NAME}")], images(40))
    assert cut.hits == 1
