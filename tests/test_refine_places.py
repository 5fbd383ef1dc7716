"""Folders of archives and tables, and places that are on no disk."""

import io
import shutil
import zipfile
from pathlib import Path

import fsspec
import pytest
from datasets import Dataset
from datasets import Image as ImageColumn
from huggingface_hub import HfApi, HfFileSystem
from PIL import Image
from upath import UPath

from simgan import ImageError, Refiner, SourceError
from simgan.refining import archives, data_sets
from simgan.refining.files import refine_path
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def refiner():
    return Refiner.from_pretrained("eyes-simulated")


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def shards(tmp_path):
    """A folder of two archives and a table of four images each, and labels."""
    images = [png(image) for image in eyes.render(range(12))[0]]
    place = tmp_path / "in"
    (place / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.zip", "deep/b.zip")):
        with zipfile.ZipFile(place / name, "w") as archive:
            for k in range(4):
                archive.writestr(f"{k}.png", images[4 * number + k])
                archive.writestr(f"{k}.json", "{}")
    cells = [{"bytes": data, "path": None} for data in images[8:]]
    rows = Dataset.from_dict({"image": cells, "row": [*range(4)]}).cast_column("image", ImageColumn())
    rows.to_parquet(str(place / "c.parquet"))
    (place / "labels.csv").write_text("row,gaze\n", encoding="utf-8")
    return place


@pytest.fixture
def remote():
    """An empty place in the memory of this process, which is reached as any remote store is."""
    yield UPath("memory://tests")
    fsspec.filesystem("memory").store.clear()


def images_of(place):
    """All images of a folder of shards, by the names of shard and image."""
    found = {}
    for path in sorted(place.rglob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            found |= {(path.name, name): archive.read(name) for name in archive.namelist()}
    for path in sorted(place.rglob("*.parquet")):
        rows = Dataset.from_parquet(str(path), cache_dir=str(place.parent / "cache"))
        cells = rows.cast_column("image", ImageColumn(decode=False))
        found |= {(path.name, row["row"]): row["image"]["bytes"] for row in cells}
    return found


def test_of_a_folder_of_archives_and_tables_each_is_refined(refiner, shards, tmp_path):
    done = refine_path(refiner, shards, tmp_path / "out")
    assert (done.images, done.copied, done.files) == (12, 1, 0)
    refined, before = images_of(tmp_path / "out"), images_of(shards)
    assert refined.keys() == before.keys()
    assert all((refined[key] == before[key]) == (str(key[1])[2:] == "json") for key in before)
    for name in ("a.zip", "c.parquet"):
        (tmp_path / "one").mkdir(exist_ok=True)
        refine_path(refiner, shards / name, tmp_path / "one" / name)
    alone = images_of(tmp_path / "one")
    assert all(refined[key] == value for key, value in alone.items())
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == sorted(
        path.name for path in shards.iterdir()
    )


def test_a_folder_of_archives_goes_on_and_one_that_changed_is_made_anew(refiner, shards, tmp_path):
    refine_path(refiner, shards, tmp_path / "out")
    first = images_of(tmp_path / "out")
    (tmp_path / "out" / "deep" / "b.zip").unlink()
    done = refine_path(refiner, shards, tmp_path / "out")
    assert (done.images, done.files) == (4, 2) and images_of(tmp_path / "out") == first
    shutil.copy(shards / "deep" / "b.zip", shards / "a.zip")
    assert refine_path(refiner, shards, tmp_path / "out").files == 2
    changed = images_of(tmp_path / "out")
    assert all(changed["a.zip", f"{k}.png"] == changed["b.zip", f"{k}.png"] for k in range(4))


def test_what_is_broken_in_an_archive_of_a_folder_is_told_with_its_name(refiner, shards, tmp_path):
    with zipfile.ZipFile(shards / "a.zip", "a") as archive:
        archive.writestr("9.png", b"no image")
    with pytest.raises(ImageError, match=r"a\.zip: 9\.png cannot be read"):
        refine_path(refiner, shards, tmp_path / "out")
    done = refine_path(refiner, shards, tmp_path / "out", skip_bad=True)
    assert done.images + done.already == 12 and done.broken[0].startswith("a.zip: 9.png")


def test_a_remote_folder_becomes_what_one_on_a_disk_becomes(refiner, tmp_path, remote):
    for number, image in enumerate(eyes.render(range(6))[0]):
        (remote / "in" / "deep" / f"{number}.png").write_bytes(png(image))
    (remote / "in" / "gaze.csv").write_text("0\n")
    done = refine_path(refiner, str(remote / "in"), str(remote / "out"))
    assert (done.images, done.copied) == (6, 1)
    refine_path(refiner, str(remote / "in"), tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.*g"):
        assert (remote / "out" / path.relative_to(tmp_path / "out").as_posix()).read_bytes() == path.read_bytes()
    (remote / "in" / "deep" / "3.png").write_bytes(png(eyes.render([7])[0][0]))
    done = refine_path(refiner, str(remote / "in"), str(remote / "out"))
    assert (done.images, done.already) == (1, 5)  # what changed is made anew
    with pytest.raises(SourceError, match="begun with another strength"):
        refine_path(refiner, str(remote / "in"), str(remote / "out"), strength=0.5)


def test_remote_archives_and_tables_are_brought_and_sent_as_a_whole(refiner, shards, tmp_path, remote):
    for path in shards.rglob("*.*"):
        (remote / "in" / path.relative_to(shards).as_posix()).write_bytes(path.read_bytes())
    assert refine_path(refiner, str(remote / "in"), str(remote / "out")).images == 12
    refine_path(refiner, str(remote / "in"), tmp_path / "out")
    (tmp_path / "fetched").mkdir()
    for name in ("a.zip", "c.parquet"):
        (tmp_path / "fetched" / name).write_bytes((remote / "out" / name).read_bytes())
    local = images_of(tmp_path / "out")
    assert all(local[key] == value for key, value in images_of(tmp_path / "fetched").items())
    assert refine_path(refiner, str(remote / "in" / "a.zip"), str(remote / "one.zip")).images == 4
    with pytest.raises(SourceError, match=r"one\.zip exists: give another output, or --overwrite"):
        refine_path(refiner, str(remote / "in" / "a.zip"), str(remote / "one.zip"))


def test_archives_and_tables_of_the_hub_are_refined_there(refiner, shards, tmp_path, hub, monkeypatch):
    source, output = "hf://datasets/org/renders", "hf://datasets/org/refined/all"
    api = HfApi(token="hf_anna")
    for name in ("org/renders", "org/refined"):
        api.create_repo(name, repo_type="dataset")
    api.upload_folder(folder_path=shards, repo_id="org/renders", repo_type="dataset")
    with pytest.raises(SourceError, match="could not be refined into hf://datasets/org/refined/all: "):  # not logged in
        refine_path(refiner, source, output)
    monkeypatch.setenv("HF_TOKEN", "hf_anna")
    HfFileSystem.clear_instance_cache()
    assert refine_path(refiner, source, output).images == 12
    shutil.copyfile(shards / "a.zip", shards / "deep" / "b.zip")
    api.upload_folder(folder_path=shards, repo_id="org/renders", repo_type="dataset")
    done = refine_path(refiner, source, output)
    assert (done.images, done.files) == (4, 2)  # what changed is made anew
    refine_path(refiner, shards, tmp_path / "here")
    there = api.snapshot_download("org/refined", repo_type="dataset", local_dir=tmp_path / "there")
    assert images_of(Path(there) / "all") == images_of(tmp_path / "here")


def test_a_hub_that_is_not_reached_is_not_called_empty(refiner, tmp_path, hub):
    with pytest.raises(SourceError, match="hf://datasets/org/none does not exist"):
        refine_path(refiner, "hf://datasets/org/none", tmp_path / "out")
    hub.fail("*", status=403)
    HfFileSystem.clear_instance_cache()
    with pytest.raises(SourceError, match=r"org/none could not be refined into .*403"):
        refine_path(refiner, "hf://datasets/org/none", tmp_path / "out")


def test_a_remote_place_that_cannot_be_reached_ends_in_a_sentence(refiner, tmp_path, remote, monkeypatch):
    with pytest.raises(SourceError, match="memory://tests/nothing does not exist"):
        refine_path(refiner, str(remote / "nothing"), tmp_path / "out")
    with pytest.raises(SourceError, match=r"nosuch://a cannot be reached: .*the package for such addresses"):
        refine_path(refiner, "nosuch://a", tmp_path / "out")
    (remote / "in" / "0.png").write_bytes(png(eyes.render([0])[0][0]))

    for error in (RuntimeError("no answer"), PermissionError("no answer")):

        def lost(folder, error=error):
            raise error

        monkeypatch.setattr(archives, "listed", lost)
        with pytest.raises(SourceError, match=r"memory://tests/in could not be refined into .*out: no answer; what is"):
            refine_path(refiner, str(remote / "in"), Path(tmp_path / "out"))


def test_archives_that_look_like_labels_are_asked_about_and_copied(refiner, shards, tmp_path):
    (shards / "masks.zip").write_bytes(b"labels")
    with pytest.raises(SourceError, match=r"1 images seem to be labels by their names, such as masks\.zip: --copy"):
        refine_path(refiner, shards, tmp_path / "out")
    done = refine_path(refiner, shards, tmp_path / "out", copy=["masks.zip"])
    assert (done.images, done.copied) == (12, 2) and (tmp_path / "out" / "masks.zip").read_bytes() == b"labels"


def test_a_table_from_elsewhere_goes_on_after_it_was_interrupted(refiner, shards, tmp_path, remote, monkeypatch):
    (remote / "c.parquet").write_bytes((shards / "c.parquet").read_bytes())
    monkeypatch.setattr(data_sets.Workers, "refine_all", lambda *_: 1 / 0)
    with pytest.raises(SourceError, match="call it again to go on"):
        refine_path(refiner, str(remote / "c.parquet"), tmp_path / "out.parquet")
    monkeypatch.undo()
    assert refine_path(refiner, str(remote / "c.parquet"), tmp_path / "out.parquet").images == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.parquet"]
