"""`simgan refine IN OUT`: every kind of input, names and labels untouched, nothing done twice, no half file."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Image as ImageColumn
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo
from pyarrow.parquet import ParquetFile

from simgan import ImageError, Refiner, SourceError
from simgan.images.files import encode_png
from simgan.refining import data_sets
from simgan.refining import job as refining_job
from simgan.refining.files import refine_path
from simgan.refining.job import RECORD
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    refiner = Refiner.from_preset("eyes")
    torch.nn.init.normal_(refiner.head.weight, std=0.05)  # untrained, it would give its input back
    return refiner


@pytest.fixture
def folder(tmp_path):
    images = eyes.render(range(4))[0]
    place = tmp_path / "in"
    (place / "a" / "b").mkdir(parents=True)
    Image.fromarray(images[0]).save(place / "a" / "0.png")
    Image.fromarray(images[1]).convert("RGB").save(place / "a" / "b" / "1.jpg", exif=b"Exif\x00\x00")
    Image.fromarray(images[2].astype(np.uint16) * 257).save(place / "2.tiff")
    Image.fromarray(images[3]).save(place / "3.bmp")
    (place / "a" / "labels.json").write_text('{"gaze": [0, 0, -1]}')
    return place


def alike(image, other):
    """To a grey level, which rounding may take or give with the size of a batch."""
    return np.abs(np.array(image).astype(int) - np.array(other)).max() <= 1


def files(place):
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())


def test_a_folder_keeps_names_kinds_and_labels(folder, tmp_path, refiner):
    done = refine_path(refiner, folder, tmp_path / "out")
    assert (done.images, done.copied) == (4, 1)
    assert files(tmp_path / "out") == sorted([*files(folder), RECORD])
    assert (tmp_path / "out/a/labels.json").read_bytes() == (folder / "a/labels.json").read_bytes()
    for name in ("a/0.png", "a/b/1.jpg", "2.tiff", "3.bmp"):
        with Image.open(folder / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert (before.format, before.mode, before.size) == (after.format, after.mode, after.size)
            assert not np.array_equal(np.array(before), np.array(after))
    before = np.array(Image.open(folder / "a/0.png"))
    assert alike(Image.open(tmp_path / "out/a/0.png"), refiner.refine(before))


def test_images_that_are_labels_are_copied_where_told(folder, tmp_path, refiner):
    done = refine_path(refiner, folder, tmp_path / "out", copy=["a/*"])
    assert (done.images, done.copied) == (2, 3)
    assert (tmp_path / "out/a/b/1.jpg").read_bytes() == (folder / "a/b/1.jpg").read_bytes()
    done = refine_path(refiner, folder, tmp_path / "out", copy=["a/b/*"])
    assert (done.images, done.already, done.copied) == (1, 2, 0)
    with pytest.raises(SourceError, match=r"no file is called 'c/\*', .* such as 2\.tiff"):
        refine_path(refiner, folder, tmp_path / "out", copy=["c/*"])


def test_called_again_it_goes_on_in_the_precision_that_it_was_begun_with(folder, tmp_path, refiner, monkeypatch):
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "0")
    refine_path(refiner, folder, tmp_path / "out")
    record = (tmp_path / "out" / RECORD).read_text()
    monkeypatch.setenv("SIMGAN_FAST_BFLOAT16", "1")  # as another machine may answer
    refine_path(refiner, folder, tmp_path / "out")
    assert os.environ["SIMGAN_FAST_BFLOAT16"] == "0"
    assert (tmp_path / "out" / RECORD).read_text() == record


def test_called_again_it_does_the_rest_and_nothing_twice(folder, tmp_path, refiner):
    out = tmp_path / "out"
    refine_path(refiner, folder, out)
    (out / "3.bmp").unlink()
    stamp = (out / "a/0.png").stat().st_mtime_ns
    done = refine_path(refiner, folder, out)
    assert (done.images, done.already, done.copied) == (1, 3, 0)
    assert (out / "a/0.png").stat().st_mtime_ns == stamp
    with pytest.raises(SourceError, match=r"another strength, 1\.0: give another output, or --overwrite"):
        refine_path(refiner, folder, out, strength=0.5)


def test_a_killed_run_leaves_whole_files_and_goes_on(tmp_path, refiner):
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    images = eyes.render(range(800))[0]
    for number, image in enumerate(images):
        Image.fromarray(image).save(place / f"{number:04}.png")
    refiner.save_pretrained(tmp_path / "model")
    command = [sys.executable, "-m", "simgan", "refine", str(place), str(out), "--model", str(tmp_path / "model")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while len(list(out.glob("*.png"))) < 20 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
    assert 20 <= len(finished) < 800
    for path in finished:
        assert Image.open(path).size == (55, 35)
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"{800 - len(finished)} images refined" in result.stdout
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in finished.items())
    assert len(files(out)) == 801  # and the record: nothing half, nothing left over
    assert alike(Image.open(out / "0799.png"), refiner.refine(images[799]))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_becomes_an_archive_or_a_folder(folder, tmp_path, refiner, suffix):
    packed = tmp_path / f"in{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for name in files(folder):
                archive.write(folder / name, name)
    else:
        with tarfile.open(packed, "w:gz") as archive:
            for name in files(folder):
                archive.add(folder / name, name)
    refine_path(refiner, packed, tmp_path / "out")
    refine_path(refiner, packed, tmp_path / f"out{suffix}")
    assert files(tmp_path / "out") == sorted([*files(folder), RECORD])
    if suffix == ".zip":
        with zipfile.ZipFile(tmp_path / "out.zip") as archive:
            names, data = archive.namelist(), archive.read("a/0.png")
    else:
        with tarfile.open(tmp_path / "out.tar.gz") as archive:
            names = [member.name for member in archive.getmembers() if member.isfile()]
            data = archive.extractfile("a/0.png").read()
    assert names == files(folder)
    assert data == (tmp_path / "out/a/0.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", packed.name, "out", f"out{suffix}"])


def test_an_archive_goes_on_where_packing_was_interrupted(folder, tmp_path, refiner, monkeypatch):
    packed = Path(shutil.make_archive(str(tmp_path / "in"), "zip", folder))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipFile, "write", killed)
        refine_path(refiner, packed, tmp_path / "out.zip")
    done = refine_path(refiner, packed, tmp_path / "out.zip")
    assert (done.images, done.already) == (0, 4)
    assert zipfile.ZipFile(tmp_path / "out.zip").testzip() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "in.zip", "out.zip"]


def test_an_archive_whose_names_lead_out_is_refused(tmp_path, refiner):
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../escaped.png", b"")
    with pytest.raises(SourceError, match="leads out of it"):
        refine_path(refiner, tmp_path / "bad.zip", tmp_path / "out")


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_a_data_set_keeps_every_other_column(tmp_path, refiner, kind):
    images, labels = eyes.render(range(10))
    cells = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": None})
    columns = {"image": cells, "pitch": labels["pitch"].tolist(), "person": labels["person"].tolist()}
    types = Features({"image": ImageColumn(), "pitch": Value("float32"), "person": Value("string")})
    data = Dataset.from_dict(columns, features=types)
    suffix = ".parquet" if kind == "parquet" else ""
    if kind == "parquet":
        data.to_parquet(tmp_path / "in.parquet")
    else:
        data.save_to_disk(tmp_path / "in")
    refine_path(refiner, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    out = Dataset.from_parquet(str(tmp_path / "out.parquet")) if suffix else load_from_disk(str(tmp_path / "out"))
    assert out["pitch"] == data["pitch"]
    assert out["person"] == data["person"]
    assert all(map(alike, out["image"], refiner.refine(list(images))))
    assert out.column_names == data.column_names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f"in{suffix}", f"out{suffix}"])


def test_broken_images_stop_with_their_name_or_are_listed(folder, tmp_path, refiner):
    whole = (folder / "a/0.png").read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"truncated\.png cannot be read"):
        refine_path(refiner, folder, tmp_path / "out")
    Image.new("L", (8, 8)).save(folder / "u-tiny.png")
    done = refine_path(refiner, folder, tmp_path / "out", skip_bad=True)
    assert [line.split()[0] for line in done.broken] == ["truncated.png", "u-tiny.png"]
    assert not (tmp_path / "out/truncated.png").exists()


def test_bad_places_are_refused(folder, tmp_path, refiner):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no image")
    (tmp_path / "fake.zip").write_bytes(b"no archive")
    for source, output, sentence in (
        ("missing", "out", "does not exist"),
        ("in", "in", "is (in) the input"),
        ("in", "in/out", "is (in) the input"),
        ("empty", "out", "holds no images"),
        ("text", "out", "holds no images"),
        ("fake.zip", "out", "cannot be read as an archive"),
        ("in", "text", "was not begun by this command"),
        ("in/3.bmp", "out.xyz", "has no image's suffix"),
    ):
        with pytest.raises(SourceError) as caught:
            refine_path(refiner, tmp_path / source, tmp_path / output)
        assert sentence in str(caught.value)


def test_a_full_disk_ends_in_a_sentence(folder, tmp_path, refiner, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SourceError, match="the disk is full: free some space"):
        refine_path(refiner, folder, tmp_path / "out")
    assert not [name for name in files(tmp_path / "out") if name.endswith(".part")]


@pytest.mark.parametrize("suffix", ["gif", "jp2", "pgm", "tga", "webp", "jpeg"])
def test_other_formats_come_back(tmp_path, refiner, suffix):
    (tmp_path / "in").mkdir()
    Image.fromarray(eyes.render([0])[0][0]).save(tmp_path / "in" / f"0.{suffix}")
    refine_path(refiner, tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "in" / f"0.{suffix}") as before, Image.open(tmp_path / "out" / f"0.{suffix}") as after:
        assert (before.format, before.mode, before.size) == (after.format, after.mode, after.size)
        if suffix != "jpeg":
            grey = "RGB" if before.mode == "RGB" else "L"  # palettes may be sorted anew
            assert alike(after.convert(grey), refiner.refine(before).convert(grey))


def test_splits_of_a_data_set_stay(tmp_path, refiner):
    file = io.BytesIO()
    Image.fromarray(eyes.render([0])[0][0]).save(file, "PNG")
    types = Features({"image": ImageColumn(), "row": Value("int64")})
    splits = {
        name: Dataset.from_dict({"image": [{"bytes": file.getvalue(), "path": None}] * rows, "row": range(rows)}, types)
        for name, rows in (("train", 3), ("test", 2))
    }
    DatasetDict(splits).save_to_disk(tmp_path / "in")
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out").images == 5
    out = load_from_disk(str(tmp_path / "out"))
    assert {name: split["row"][:] for name, split in out.items()} == {"train": [0, 1, 2], "test": [0, 1]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_hidden_files_are_copied(folder, tmp_path, refiner):
    (folder / "a" / "._0.png").write_bytes(b"what a file system left")
    (folder / RECORD).write_text("of another run")
    assert refine_path(refiner, folder, tmp_path / "out").copied == 2
    assert (tmp_path / "out/a/._0.png").read_bytes() == b"what a file system left"
    assert (tmp_path / "out" / RECORD).read_text() != "of another run"


def test_what_a_format_holds_beside_pixels_stays(tmp_path, refiner):
    place = tmp_path / "in"
    place.mkdir()
    image = Image.fromarray(eyes.render([0])[0][0])
    image.getexif()[0x010E] = "an eye"
    text = PngInfo()
    text.add_text("simulator", "eyes")
    image.save(place / "0.png", icc_profile=b"profile", exif=image.getexif(), pnginfo=text, dpi=(72, 72))
    image.convert("RGB").save(place / "1.jpg", quality=40, subsampling=1, exif=image.getexif(), icc_profile=b"profile")
    image.save(place / "2.tiff", compression="tiff_lzw")
    refine_path(refiner, place, tmp_path / "out")
    with Image.open(tmp_path / "out/0.png") as out:
        assert out.info["icc_profile"] == b"profile"
        assert out.text == {"simulator": "eyes"}
        assert out.getexif()[0x010E] == "an eye"
    with Image.open(place / "1.jpg") as before, Image.open(tmp_path / "out/1.jpg") as out:
        assert (out.quantization, get_sampling(out)) == (before.quantization, 1)
        assert out.getexif()[0x010E] == "an eye"
        assert out.info["icc_profile"] == b"profile"
    with Image.open(tmp_path / "out/2.tiff") as out:
        assert out.info["compression"] == "tiff_lzw"


def test_an_image_may_go_into_a_folder_and_change_its_format(folder, tmp_path, refiner):
    (tmp_path / "out").mkdir()
    refine_path(refiner, folder / "3.bmp", tmp_path / "out")
    refine_path(refiner, folder / "3.bmp", tmp_path / "3.png")
    assert Image.open(tmp_path / "out/3.bmp").format == "BMP"
    assert Image.open(tmp_path / "3.png").format == "PNG"


def test_a_broken_member_of_an_archive_is_named(folder, tmp_path, refiner):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for name in files(folder):
            archive.write(folder / name, name)
        begin = archive.getinfo("3.bmp").header_offset
    data = bytearray((tmp_path / "in.zip").read_bytes())
    data[begin + 200] ^= 255
    (tmp_path / "in.zip").write_bytes(data)
    with pytest.raises(ImageError, match=r"3\.bmp in .*in\.zip cannot be read: Bad CRC"):
        refine_path(refiner, tmp_path / "in.zip", tmp_path / "out.zip")
    done = refine_path(refiner, tmp_path / "in.zip", tmp_path / "out.zip", skip_bad=True)
    assert (done.images + done.already, len(done.broken)) == (3, 1)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [name for name in files(folder) if name != "3.bmp"]


def test_a_data_set_goes_on_by_shards_and_still_lists_what_is_broken(tmp_path, refiner, monkeypatch):
    monkeypatch.setattr(data_sets, "SHARD", 4)
    file = io.BytesIO()
    Image.fromarray(eyes.render([0])[0][0]).save(file, "PNG")
    cells = [{"bytes": file.getvalue() if row != 1 else b"no image", "path": f"{row}.png"} for row in range(10)]
    Dataset.from_dict(
        {"eye": cells, "row": list(range(10))}, features=Features({"eye": ImageColumn(), "row": Value("int64")})
    ).save_to_disk(tmp_path / "in")
    place, out = tmp_path / "in", tmp_path / "out"
    with pytest.raises(ImageError, match=r"row 1 of .* cannot be read as an image"):
        refine_path(refiner, place, out)

    def killed(refiner, images, *_):
        refined.extend(images)
        if len(refined) > 7:
            raise KeyboardInterrupt
        return refiner.refine(images)

    refined = []
    monkeypatch.setattr(refining_job, "refine", killed)
    with pytest.raises(KeyboardInterrupt):
        refine_path(refiner, place, out, skip_bad=True)
    monkeypatch.undo()
    monkeypatch.setattr(data_sets, "SHARD", 4)
    done = refine_path(refiner, place, out, skip_bad=True)
    assert (done.images, done.already) == (2, 7)
    assert [line.split(" of ")[0] for line in done.broken] == ["row 1"]
    result = load_from_disk(str(out))
    assert result["row"] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert result.cast_column("eye", ImageColumn(decode=False))[0]["eye"]["path"] == "0.png"


def test_large_images_are_read_a_few_at_a_time(tmp_path, refiner, monkeypatch):
    monkeypatch.setattr(refining_job, "PIXELS", 3 * 55 * 35)
    place = tmp_path / "in"
    place.mkdir()
    for number, image in enumerate(eyes.render(range(8))[0]):
        Image.fromarray(image).save(place / f"{number}.png")
    together = []
    monkeypatch.setattr(refining_job, "refine", lambda _, images, *rest: together.append(len(images)) or images)
    refine_path(refiner, place, tmp_path / "out")
    assert together == [3, 3, 2]


@pytest.mark.parametrize("limit", [{"SHARD": 3}, {"BYTES": 1}])
def test_a_table_is_read_a_few_rows_at_a_time(tmp_path, refiner, monkeypatch, limit):
    cells = [{"bytes": encode_png(image), "path": f"{k}.png"} for k, image in enumerate(eyes.render(range(8))[0])]
    rows = Dataset.from_dict({"image": cells, "row": [*range(8)]}).cast_column("image", ImageColumn())
    rows.to_parquet(str(tmp_path / "in.parquet"), batch_size=5)  # groups of rows
    refine_path(refiner, tmp_path / "in.parquet", tmp_path / "whole.parquet")
    for name, value in limit.items():
        monkeypatch.setattr(data_sets, name, value)
    read = []
    monkeypatch.setattr(data_sets, "_shards_of", lambda rows: (read.append(len(s)) or s for s in rows.shards()))
    refine_path(refiner, tmp_path / "in.parquet", tmp_path / "parts.parquet")
    assert sum(read) == 8 and max(read) <= limit.get("SHARD", 1)
    whole, parts = (ParquetFile(tmp_path / f"{name}.parquet").read() for name in ("whole", "parts"))
    assert whole.schema.equals(parts.schema, check_metadata=True) and whole["row"].equals(parts["row"])
    for one, other in zip(whole["image"].to_pylist(), parts["image"].to_pylist(), strict=True):
        assert one["path"] == other["path"]
        assert alike(Image.open(io.BytesIO(one["bytes"])), Image.open(io.BytesIO(other["bytes"])))


def test_a_broken_data_set_is_refused(tmp_path, refiner):
    (tmp_path / "in.parquet").write_bytes(b"no parquet")
    with pytest.raises(SourceError, match=r"in\.parquet cannot be read as a data set"):
        refine_path(refiner, tmp_path / "in.parquet", tmp_path / "out.parquet")
    Dataset.from_dict({"label": [1]}).save_to_disk(tmp_path / "labels")
    with pytest.raises(SourceError, match="one column of images: it has label"):
        refine_path(refiner, tmp_path / "labels", tmp_path / "out")


def test_a_place_that_cannot_be_written_ends_in_a_sentence(folder, tmp_path, refiner):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="file/out cannot be written"):
        refine_path(refiner, folder, tmp_path / "file" / "out")


def test_a_shard_of_broken_rows_alone_is_left_out(tmp_path, refiner, monkeypatch):
    monkeypatch.setattr(data_sets, "SHARD", 2)
    file = io.BytesIO()
    Image.fromarray(eyes.render([0])[0][0]).save(file, "PNG")
    cells = [{"bytes": data, "path": None} for data in (b"no image", b"", file.getvalue())]
    Dataset.from_dict(
        {"image": cells, "row": [0, 1, 2]}, Features({"image": ImageColumn(), "row": Value("int64")})
    ).save_to_disk(tmp_path / "in")
    assert len(refine_path(refiner, tmp_path / "in", tmp_path / "out", skip_bad=True).broken) == 2
    assert load_from_disk(str(tmp_path / "out"))["row"][:] == [2]


@pytest.mark.parametrize("metadata", ["metadata.jsonl", "metadata.csv"])
def test_masks_that_metadata_name_are_labels_and_are_copied(metadata, tmp_path, refiner):
    place = tmp_path / "in" / "train"
    (place / "masks").mkdir(parents=True)
    image = eyes.render([0])[0][0]
    Image.fromarray(image).save(place / "0.png")
    Image.fromarray((image > 100).astype(np.uint8)).save(place / "masks" / "0.png")
    row = {"file_name": "0.png", "mask": "masks/0.png"}
    lines = (
        ["", json.dumps(row | {"note": "a\u2028b"}, ensure_ascii=False), ""]
        if metadata.endswith("l")
        else [",".join(row), ",".join(row.values())]
    )
    (place / metadata).write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    done = refine_path(refiner, tmp_path / "in", tmp_path / "out")
    assert (done.images, done.copied) == (1, 2)
    assert (tmp_path / "out/train/masks/0.png").read_bytes() == (place / "masks/0.png").read_bytes()
    (place / metadata).write_text("file_name\n{,", encoding="utf-8")
    with pytest.raises(SourceError, match=f"{metadata} is not laid out as metadata of images are"):  # of masks perhaps
        refine_path(refiner, tmp_path / "in", tmp_path / "other")


def test_the_masks_of_a_table_are_labels_and_stay(tmp_path, refiner):
    images = eyes.render(range(2))[0]
    masks = [{"bytes": encode_png((image > 100).astype(np.uint8)), "path": None} for image in images]
    rows = {"image": [{"bytes": encode_png(image), "path": None} for image in images], "mask": masks}
    Dataset.from_dict(rows, Features({"image": ImageColumn(), "mask": ImageColumn()})).to_parquet(
        tmp_path / "in.parquet"
    )
    refine_path(refiner, tmp_path / "in.parquet", tmp_path / "out.parquet")
    refined = Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path)).with_format("numpy")
    assert np.array_equal(refined["mask"][:], images > 100)
    assert not np.array_equal(refined["image"][:], images)
