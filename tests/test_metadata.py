"""Folders, lists and tables as people have them: read alike by all that reads them, or refused by a sentence."""

import json
import logging
import os
import re
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import test_data
import test_mpiigaze
import test_unityeyes
from datasets import Dataset, Features, Image, Value, load_from_disk

from simgan import SourceError
from simgan.data import load
from simgan.data.tables import remember
from simgan.hub import push_data
from simgan.images.files import encode_png
from simgan.images.metadata import find_masks

PERSONS = ["01", "1", "01_2"]


def folder(place, names=("train/0.png", "train/1.png", "train/2.png")):
    for number, name in enumerate(names):
        test_data.write(place / name, test_data.noise(seed=number))
    return place


def rows_of(names):
    return [
        {"file_name": name, "pitch": 0.25 * number, "yaw": 0.5, "person": PERSONS[number], "scene": f"00{number}"}
        for number, name in enumerate(names)
    ]


def write(place, rows, kind="csv", separator=",", encoding="utf-8", end="\n"):
    file = place / f"metadata.{kind}"
    if kind == "parquet":
        pd.DataFrame(rows).to_parquet(file)
        return
    lines = [separator.join(rows[0]), *(separator.join(map(str, row.values())) for row in rows)]
    if kind == "jsonl":
        lines = [json.dumps(row) for row in rows]
    if separator == ";":
        lines = [re.sub(r"(?<=\d)\.(?=\d)", ",", line) for line in lines]  # of a country with decimal commas
    file.write_bytes(end.join([*lines, ""]).encode(encoding))


def pushed(place, **options):
    """The rows that a push would write."""
    ((_, shard),) = push_data._shards(place, place, (), options.get("skip_bad", False))
    return shard.cast_column("image", Image(decode=False)).to_list()


WRITTEN = {
    "as it is": lambda name, place: name,
    "backslash": lambda name, place: name.replace("/", "\\"),
    "dots": lambda name, place: f"./train/../{name}",
    "case": lambda name, place: name.replace("png", "PNG").replace("t", "T"),
    "suffix": lambda name, place: name.replace("png", "jpeg"),
    "no suffix": lambda name, place: name[:-4],
    "absolute": lambda name, place: str((place / name).resolve()),
}
KINDS = [
    *({"kind": kind, "encoding": code} for kind in ("csv", "tsv", "jsonl") for code in ("utf-8-sig", "utf-16")),
    *({"separator": separator} for separator in ";\t|"),
    {"end": "\r\n"},
    {"encoding": "utf-16-le"},
    {"kind": "parquet"},
]


@pytest.mark.parametrize(
    ("written", "kind"), [*((name, {}) for name in WRITTEN), *(("as it is", kind) for kind in KINDS)]
)
def test_metadata_are_read_and_pushed_as_they_are_written(written, kind, tmp_path):
    place = folder(tmp_path / "in")
    names = sorted(path.relative_to(place).as_posix() for path in place.rglob("*.png"))
    write(place, rows_of([WRITTEN[written](name, place) for name in names]), **kind)
    found = load(str(place))
    for rows in (found, pushed(place)):
        assert [(row["file_name"], row["pitch"], row["person"], row["scene"]) for row in rows] == [
            (name, 0.25 * number, PERSONS[number], f"00{number}") for number, name in enumerate(names)
        ]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (rows_of(["train/0.png", "train/gone.png"]), r"labels of 1 images that are not there, such as train/gone\.png"),
        (rows_of(["train/a.png", "b.png"]), r"labels of 2 images that are not there, such as train/a\.png"),
        (rows_of(["train/0.PNG", "train/0.png"]), r"metadata\.csv has a second row of train/0\.png"),
        (rows_of(["/elsewhere/train/0.png"]), r"such as /elsewhere/train/0\.png"),
        (rows_of(["train/3.jpg"]), r"such as train/3\.jpg"),  # which fits two
        ([{"filename": "train/0.png"}], "has no column file_name"),
        ([{}], r"metadata\.csv has no rows: write those of the images, or remove it"),
        ([{"file_name": "train/0.png", "a,b": 1}], "its row 1 has 2 fields, and its header 3"),
    ],
)
def test_rows_that_are_of_no_image_or_of_another_rows_are_refused(rows, sentence, tmp_path):
    place = folder(tmp_path, ["train/0.png", "train/1.png", "train/3.png", "train/3.bmp"])
    write(place, rows)
    for read in (load, pushed):
        with pytest.raises(SourceError, match=sentence):
            read(Path(place) if read is pushed else str(place))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("b.heic", r"1 images are left out, such as b\.heic, which is HEIC: save them as PNG"),
        (
            "a_mask.png",
            r"1 images seem to be labels by their names, such as a_mask\.png, and are taken as images",
        ),
    ],
)
def test_a_folder_tells_of_images_that_are_not_read_and_of_labels(name, sentence, tmp_path):
    (folder(tmp_path, ["a.png"]) / name).write_bytes((tmp_path / "a.png").read_bytes())
    with pytest.warns(UserWarning, match=sentence):
        load(str(tmp_path))


def test_rows_of_broken_images_that_were_left_out_are_not_pushed(tmp_path, caplog):
    place = folder(tmp_path)
    write(place, [*rows_of(["train/0.png"]), rows_of(["", "train/gone.png"])[1]])
    with caplog.at_level(logging.WARNING):
        assert [row["person"] for row in pushed(place, skip_bad=True)] == ["01", None, None]
    assert "labels of 1 images that are not there, such as train/gone.png" in caplog.text


def test_exponents_without_a_sign_or_point_are_texts_and_excels_first_line_is_none(tmp_path):
    put = "sep=;\r\nfile_name;key;exact\r\na.png;1234e56;1e-05\r\n"
    (folder(tmp_path, ["a.png"]) / "metadata.csv").write_bytes(put.encode())
    assert [load(str(tmp_path))[0][name] for name in ("key", "exact")] == ["1234e56", 1e-05]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_texts_that_look_like_numbers_or_dates_stay_texts(kind, tmp_path):
    values = {"day": "2017-01-02", "key": 12345678901234567890123, "version": "1_2", "time": 1500000000, "exact": 0.1}
    write(folder(tmp_path, ["a.png"]), [{"file_name": "a.png", **values}], kind)
    for row in (load(str(tmp_path))[0], pushed(tmp_path)[0]):
        assert {name: row[name] for name in values} == values | {"key": "12345678901234567890123"}


def test_a_column_of_several_files_has_one_type(tmp_path):
    for part, scene in (("train", "01"), ("test", "10")):
        write(folder(tmp_path, [f"{part}/a.png"]) / part, [{"file_name": "a.png", "scene": scene}])
    assert load(str(tmp_path))["scene"] == ["10", "01"]


def test_masks_are_found_as_images_are_and_pushed_beside_them(tmp_path):
    place = folder(tmp_path, ["a.png", "masks/a.png"])
    write(place, [{"file_name": "A.png", "mask": "masks\\A.PNG"}])
    read = lambda name: (place / name).read_bytes()  # noqa: E731
    assert find_masks(["a.png", "masks/a.png", "metadata.csv"], read) == {"masks/a.png"}
    (row,) = load(str(place))
    assert np.array_equal(np.array(row["mask"]) > 0, test_data.noise(seed=1) > 0)
    (row,) = pushed(place)
    assert row["mask"]["bytes"] == (place / "masks/a.png").read_bytes()
    write(place, [{"file_name": "a.png", "mask": "a.bmp"}])
    with pytest.raises(SourceError, match=r"names 1 masks that are not there, such as a\.bmp"):
        load(str(place))


def clutter(place):
    """Leave what systems leave in all folders."""
    for part in [place, *(path for path in place.rglob("*") if path.is_dir())]:
        for file in [path for path in part.iterdir() if path.is_file()]:
            for stray in (f"._{file.name}", f".ipynb_checkpoints/{file.name}", f"__MACOSX/{file.name}"):
                (part / stray).parent.mkdir(exist_ok=True)
                (part / stray).write_bytes(b"\0\5\x16\7")
        (part / "Thumbs.db").write_bytes(b"thumbs")


def upper(place, *suffixes):
    for file in [path for path in place.rglob("*") if path.suffix in suffixes]:
        file.rename(file.with_suffix(file.suffix.upper()))


def as_linked(place):
    """Move what is in a folder elsewhere, and link it; the link back to the folder itself is not followed."""
    shutil.move(place, place.with_name("elsewhere"))
    place.mkdir()
    (place / "linked").symlink_to(place.with_name("elsewhere"), target_is_directory=True)
    (place / "linked/back").symlink_to(place, target_is_directory=True)


def change_json(change):
    def changed(place):
        (place / "1.json").write_bytes(change((place / "1.json").read_text()))

    return changed


@pytest.mark.parametrize(
    "change",
    [
        clutter,
        as_linked,
        lambda place: upper(place, ".jpg"),
        lambda place: upper(place, ".json"),
        change_json(lambda text: text.encode("utf-8-sig")),
        change_json(lambda text: text.encode("utf-16")),
        change_json(lambda text: re.sub(r"(?<=\d)\.(?=\d)", ",", text).encode()),
    ],
    ids=["stray", "linked", "JPG", "JSON", "mark", "UTF-16", "commas"],
)
def test_unityeyes_is_read_as_systems_leave_it(change, tmp_path):
    place = tmp_path / "eyes"
    place.mkdir()
    test_unityeyes.write(place, (0.2, -0.2, 1))
    before = load(f"unityeyes:{place}")[0]
    change(place)
    (after,) = load(f"unityeyes:{place}")
    assert all(after[name] == before[name] for name in ("gaze", "iris", "lids", "pupil", "head_rotation"))


def test_files_of_systems_are_no_images_of_a_folder_nor_days_of_mpiigaze(tmp_path):
    place = folder(tmp_path / "in")
    write(place, rows_of(["train/0.png"]))
    test_mpiigaze.write_mpiigaze(tmp_path / "mpii")
    before = load(f"mpiigaze:{tmp_path / 'mpii'}")["file_name"]
    for one in (place, tmp_path / "mpii"):
        clutter(one)
    upper(tmp_path / "mpii", ".mat")
    assert load(f"mpiigaze:{tmp_path / 'mpii'}")["file_name"] == before
    assert load(str(place))["file_name"] == [row["file_name"] for row in pushed(place)]
    assert load(str(place))["file_name"] == ["train/0.png", "train/1.png", "train/2.png"]


def test_lists_of_mpiigaze_name_only_what_is_there(tmp_path):
    test_mpiigaze.write_mpiigaze(tmp_path)
    lists = tmp_path / "Evaluation Subset" / "sample list for eye image"
    lists.mkdir(parents=True)
    (lists / "p00.txt").write_text("\ufeffday01/0001.jpg left\nday01/0009.jpg left\nday02/0001.jpg right\n", "utf-8")
    (lists / "p01.txt").write_text("day01/0001.jpg left\n")
    with pytest.raises(SourceError, match=r"lacks 3 of the 4 images that .* names, such as p00/day01/0009_left\.png"):
        load(f"mpiigaze:{tmp_path}@evaluation", skip_bad=True)


def test_names_that_are_no_utf_8_are_read_and_told(tmp_path):
    for name in (b"caf\xe9.png", "眼.png".encode("gbk")):
        (tmp_path / os.fsdecode(name)).write_bytes(encode_png(test_data.noise()))
    assert load(str(tmp_path))["file_name"] == ["caf\\xe9.png", "\\xd1\\xdb.png"]
    assert [row["file_name"] for row in pushed(tmp_path)] == ["caf\\xe9.png", "\\xd1\\xdb.png"]


CELL = {"bytes": encode_png(test_data.noise()), "path": None}


def table(*columns, cell=CELL, kind=None):
    kinds = {name: kind or Image() for name in columns}
    return Dataset.from_dict({name: [cell] for name in columns} | {"y": [3]}, Features(kinds | {"y": Value("int64")}))


def is_read(source, **options):
    row = load(str(source), **options)[0]
    return np.array_equal(np.array(row["image"]), test_data.noise()) and row.get("y", 3) == 3


def test_a_column_of_images_of_any_name_is_taken_and_one_of_several_is_named(tmp_path):
    table("img").to_parquet(tmp_path / "one.PARQUET")
    table("image", "right").to_parquet(tmp_path / "image.parquet")
    table("left", "right").to_parquet(tmp_path / "two.parquet")
    table("left", "right").save_to_disk(tmp_path / "saved")
    table("img", cell=CELL["bytes"], kind=Value("binary")).to_parquet(tmp_path / "bytes.parquet")
    for name in ("one.PARQUET", "image.parquet", "two.parquet#right", "saved#left", "bytes.parquet"):
        assert is_read(tmp_path / name)
    for name in ("two.parquet", "two.parquet#up"):
        with pytest.raises(SourceError, match=r"two\.parquet#COLUMN name that of the images among left, right, y"):
            load(str(tmp_path / name))
    with pytest.raises(SourceError, match=r"has no images in its column y, but Value\('int64'\)"):
        load(str(tmp_path / "two.parquet#y"))
    with pytest.raises(SourceError, match="memory:two has no column image: rename that of the images"):
        load(remember(load_from_disk(str(tmp_path / "saved")), "two"))


def test_paths_in_a_table_are_relative_to_it(tmp_path):
    folder(tmp_path, ["sub/a.png"])
    for number, path in enumerate(("sub/a.png", "sub\\a.png", str(tmp_path / "sub/a.png"))):
        table("image", cell=path, kind=Value("string")).to_parquet(tmp_path / f"{number}.parquet")
        assert is_read(tmp_path / f"{number}.parquet")


def test_configurations_and_shards_of_a_folder_are_read(tmp_path, monkeypatch):
    for name in ("a", "b"):
        table("image").to_parquet(tmp_path / f"set/{name}/0.parquet")
    configs = "".join(f"- config_name: {name}\n  data_files: {name}/*.parquet\n" for name in "ab")
    (tmp_path / "set/README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    for source in ("set", "set/c"):
        with pytest.raises(SourceError, match=r"set has configurations a, b: name one as .*set/CONFIG"):
            load(f"hub:{tmp_path / source}")
    (tmp_path / "set/a").rename(tmp_path / "set/one")
    (tmp_path / "set/README.md").write_text(f"---\nconfigs:\n{configs.replace(' a/', ' one/')}---\n")
    assert is_read(f"hub:{tmp_path}/set/a") and is_read(f"hub:{tmp_path}/set/a@train")
    assert is_read(tmp_path / "set/one")
    (tmp_path / "shards").mkdir()
    (tmp_path / "0.png").write_bytes(CELL["bytes"])
    with tarfile.open(tmp_path / "shards/000.tar", "w") as shard:
        shard.add(tmp_path / "0.png", "0.png")
    assert is_read(tmp_path / "shards")
