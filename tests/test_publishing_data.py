"""Refined data sets on the Hub: the bytes, labels and splits that were written come back from `load_dataset`."""

import io
import json
import shutil

import numpy as np
import pytest
from datasets import Dataset, DatasetDict, Features, Value, load_dataset
from datasets import Image as ImageColumn
from huggingface_hub import DatasetCard, HfApi
from PIL import Image
from publishing_runs import make_run

from simgan import Refiner, SourceError
from simgan.cli import main
from simgan.hub.push import push_model
from simgan.hub.push_data import describe, push_data
from simgan.images.files import encode_png
from simgan.refining.job import record
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands

LABELS = [
    {"pitch": 0.1 + 0.2, "gaze": [1 / 3, -0.25, -1.0], "person": "p01"},
    {"pitch": -1e-17, "gaze": None, "person": "p2"},
]


@pytest.fixture(autouse=True)
def logged_in(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_anna")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def images():
    grey = eyes.render(range(2))[0]
    return [grey[0], grey[1].astype(np.uint16) * 257 + 3]  # 8 and 16 bits


def by(refiner, strength):
    return describe(refiner, record(refiner, strength))


def as_files(folder, images):
    """Two images with labels in metadata.jsonl, one in each split."""
    rows = []
    for name, image, labels in zip(("train/a.png", "test/b.png"), images, LABELS, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_png(image))
        rows.append({"file_name": name, **labels})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def loaded(repo="org/data", **where):
    data = load_dataset(repo, **where)
    return {
        split: [dict(row) for row in rows.cast_column("image", ImageColumn(decode=False))]
        for split, rows in data.items()
    }


def pushes(hub):
    return [path for method, path in hub.requests if method == "PUT" or "/commit/" in path]


def test_a_folder_with_metadata_comes_back_byte_by_byte_and_once(hub, model, images, tmp_path, capsys, monkeypatch):
    source, output = as_files(tmp_path / "in", images), tmp_path / "out"
    command = ["refine", str(source), str(output), "--model", str(model), "--push-to-hub", "org/data", "--private"]
    main(command)
    assert "2 images refined" in capsys.readouterr().out
    api = HfApi(token="hf_anna")
    assert api.dataset_info("org/data").private
    assert len(api.list_repo_commits("org/data", repo_type="dataset")) == 2
    back = loaded()
    for split, name, labels in zip(("train", "test"), ("train/a.png", "test/b.png"), LABELS, strict=True):
        (row,) = back[split]
        assert row.pop("image")["bytes"] == (output / name).read_bytes()
        assert row == {"file_name": name, **labels}
    assert load_dataset("org/data", split="test")[0]["image"].mode == "I;16"
    hub.requests.clear()
    with (
        pytest.raises(SystemExit, match="out is whole, and the same command pushes it later"),
        monkeypatch.context() as m,
    ):
        m.setenv("HF_TOKEN", "hf_expired")
        main(command)
    assert "warning: a push to org/data would fail now: the Hub took no token" in capsys.readouterr().err
    main(command)
    told = capsys.readouterr().out
    assert "0 images refined" in told
    assert "nothing new to push" in told
    assert pushes(hub) == []


def test_an_archive_with_json_files_beside_its_images_is_pushed_and_can_be_again(hub, model, images, tmp_path, capsys):
    source = tmp_path / "unity"
    (source / "masks").mkdir(parents=True)
    for number in (1, 2):
        (source / f"{number}.png").write_bytes(encode_png(images[0]))
        (source / f"{number}.json").write_text(f'{{"look_vec": "({number}.0, 0.5)"}}\n')
        (source / "masks" / f"{number}.png").write_bytes(encode_png(images[0]))
    output = tmp_path / "out.zip"
    shutil.make_archive(str(tmp_path / "in"), "zip", source)
    command = ["refine", str(tmp_path / "in.zip"), str(output), "--model", str(model), "--copy", "./masks/*"]
    command += ["--push-to-hub", "org/data"]
    main(command)
    rows = sorted(loaded()["train"], key=lambda row: row["file_name"])  # it keeps the archive's order
    assert [row["file_name"] for row in rows] == ["1.png", "2.png"]
    assert [row["json"] for row in rows] == [f'{{"look_vec": "({number}.0, 0.5)"}}\n' for number in (1, 2)]
    hub.requests.clear()
    main(command)
    told = capsys.readouterr().out
    assert f"{output} was refined before" in told
    assert "nothing new to push" in told
    assert pushes(hub) == []


def test_a_folder_of_numpy_depth_comes_back_to_the_last_millimetre_with_its_labels(hub, tmp_path):
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, depth in zip("ab", hands.render(range(2))[0], strict=True):
        np.save(source / f"{name}.npy", depth)
    (source / "metadata.jsonl").write_text('{"file_name": "a.npy", "person": "p1"}\n')
    main(["refine", str(source), str(output), "--model", "hands-simulated", "--push-to-hub", "org/data"])
    rows = load_dataset("org/data", split="train")
    assert [(row["file_name"], row["person"]) for row in rows] == [("a.npy", "p1"), ("b.npy", None)]
    for row in rows:
        depth = np.load(output / row["file_name"])
        assert depth.dtype == np.uint16 and depth.max() > 255
        assert row["image"].mode == "I;16" and np.array_equal(row["image"], depth)


@pytest.mark.parametrize("kind", ["folder", "splits", "parquet"])
def test_a_data_set_comes_back_with_its_columns_and_splits(hub, model, images, tmp_path, kind):
    features = Features({"id": Value("int32"), "image": ImageColumn(), "pitch": Value("float64")})
    rows = [
        {"id": i, "image": {"bytes": encode_png(image), "path": None}, "pitch": i / 3} for i, image in enumerate(images)
    ]
    data = Dataset.from_list(rows, features=features)
    source, output = (tmp_path / f"{name}{'.parquet' if kind == 'parquet' else ''}" for name in ("in", "out"))
    if kind == "parquet":
        data.to_parquet(source)
    elif kind == "folder":
        data.save_to_disk(source)
    else:
        DatasetDict({"train": data.select([0]), "check": data.select([1])}).save_to_disk(source)
    command = ["refine", str(source), str(output), "--model", str(model), "--push-to-hub", "org/data"]
    main(command)
    back = loaded()
    assert list(back) == (["train", "check"] if kind == "splits" else ["train"])
    assert load_dataset("org/data", split="train").features == features
    found = [row for split in back.values() for row in split]
    expected = Refiner.from_pretrained(model).refine(images)
    for row, image, labels in zip(found, expected, rows, strict=True):
        assert (row["id"], row["pitch"]) == (labels["id"], labels["pitch"])
        written = np.array(Image.open(io.BytesIO(row["image"]["bytes"]))).astype(int)
        assert np.abs(written - image).max() <= (1 if image.dtype == np.uint8 else 300)  # batches round differently
    if output.is_dir():
        (output / "cache-0.arrow").touch()  # as `datasets` writes into a folder that it maps
    hub.requests.clear()
    main(command)
    assert pushes(hub) == []


def test_a_folder_of_tables_comes_back_with_its_splits(hub, model, images, tmp_path):
    (tmp_path / "in").mkdir()
    for name, count in (("train-00000-of-00002", 1), ("train-00001-of-00002", 2), ("test-00000-of-00001", 1)):
        cells = [{"bytes": encode_png(images[0]), "path": None}] * count
        rows = Dataset.from_dict({"image": cells, "row": [*range(count)]}).cast_column("image", ImageColumn())
        rows.to_parquet(str(tmp_path / "in" / f"{name}.parquet"))
    Dataset.from_dict({"gaze": [0.0]}).to_parquet(str(tmp_path / "in" / "gaze.parquet"))
    command = ["refine", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(model), "--copy", "gaze.parquet"]
    main([*command, "--push-to-hub", "org/tables"])
    assert {split: len(rows) for split, rows in loaded("org/tables").items()} == {"train": 3, "test": 1}
    refined = encode_png(Refiner.from_pretrained(str(model)).refine(images[0]))
    assert loaded("org/tables")["test"][0]["image"]["bytes"] == refined


def test_the_card_tells_what_refined_it_and_stays_until_it_is_to_be_replaced(hub, model, images, tmp_path):
    commit = push_model(model, "org/model").url.rsplit("/", 1)[-1]
    refiner = Refiner.from_pretrained("org/model")
    output = as_files(tmp_path / "out", images)
    push_data(output, "org/data", by(refiner, 0.5))
    card = DatasetCard.load("org/data")
    card.validate()
    assert card.data["refined_by"]["refiner"] == "org/model"
    assert card.data["refined_by"]["revision"] == commit
    assert card.data["refined_by"]["strength"] == 0.5
    assert f"| revision | {commit} |" in card.text
    assert "| gaze | List(float64) |" in card.text
    assert by(Refiner.from_pretrained(model), 1.0)["refiner"] == "run"
    assert by(Refiner.from_pretrained(model), 1.0)["revision"] == "simgan 0.1.0, commit abc1234, step 20"
    edited = card.content.replace("## Terms", "## My terms")
    api = HfApi(token="hf_anna")
    api.upload_file(repo_id="org/data", repo_type="dataset", path_in_repo="README.md", path_or_fileobj=edited.encode())
    assert push_data(output, "org/data", by(refiner, 1.0)).card_kept
    assert DatasetCard.load("org/data").content == edited
    assert not push_data(output, "org/data", by(refiner, 1.0), replace_card=True).card_kept
    assert "## My terms" not in DatasetCard.load("org/data").content


def test_fewer_shards_leave_none_of_the_old_ones(hub, model, images, tmp_path, monkeypatch):
    made = by(Refiner.from_pretrained(model), 1.0)
    output = as_files(tmp_path / "out", images)
    (output / "test" / "b.png").rename(output / "train" / "b.png")
    (output / "metadata.jsonl").unlink()
    monkeypatch.setattr("simgan.hub.push_data.SHARD", 1)
    push_data(output, "org/data", made)
    names = {f"data/train-0000{number}-of-00002.parquet" for number in (0, 1)}
    api = HfApi(token="hf_anna")
    assert names <= set(api.list_repo_files("org/data", repo_type="dataset"))
    assert [row["file_name"] for row in loaded()["train"]] == ["train/a.png", "train/b.png"]
    monkeypatch.undo()
    push_data(output, "org/data", made, token="hf_anna")
    files = [name for name in api.list_repo_files("org/data", repo_type="dataset") if name.startswith("data/")]
    assert files == ["data/train-00000-of-00001.parquet"]


def test_of_several_columns_of_images_the_refined_one_is_named(hub, model, images, tmp_path):
    cells = [{"bytes": encode_png(image), "path": None} for image in images]
    rows = Dataset.from_dict(
        {"left": cells, "right": cells[::-1]}, Features({"left": ImageColumn(), "right": ImageColumn()})
    )
    rows.to_parquet(tmp_path / "out.parquet")
    made = by(Refiner.from_pretrained(model), 1.0)
    with pytest.raises(SourceError, match="--image chooses one"):
        push_data(tmp_path / "out.parquet", "org/data", made)
    push_data(tmp_path / "out.parquet", "org/data", made, image="right")
    assert load_dataset("org/data")["train"].column_names == ["left", "right"]


def test_what_is_no_data_set_is_refused(hub, model, images, tmp_path):
    made = by(Refiner.from_pretrained(model), 1.0)
    (tmp_path / "one.png").write_bytes(encode_png(images[0]))
    with pytest.raises(SourceError, match="is one image: push a folder"):
        push_data(tmp_path / "one.png", "org/data", made)
    np.save(tmp_path / "one.npy", images[0])
    with pytest.raises(SourceError, match="is one image: push a folder"):
        push_data(tmp_path / "one.npy", "org/data", made)
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "deep" / "a.npy", np.zeros((20, 30, 3), np.uint16))
    with pytest.raises(SourceError, match=r"a\.npy is uint16 of shape \(20, 30, 3\), which PNG cannot hold"):
        push_data(tmp_path / "deep", "org/data", made)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no images to push"):
        push_data(tmp_path / "empty", "org/data", made)
    output = as_files(tmp_path / "out", images)
    (output / "metadata.jsonl").write_text('{"pitch": 1}\n')
    with pytest.raises(SourceError, match=r"metadata\.jsonl has no column file_name"):
        push_data(output, "org/data", made)
    assert pushes(hub) == []
