"""Files as people have them: what an output was made of, labels among images, links, names and formats of any kind."""

import io
import os
import tarfile
import warnings
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset, DatasetDict, Features, Value, load_from_disk
from datasets import Image as ImageColumn
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from simgan import ImageError, Refiner, RefinerConfig, SourceError
from simgan.images.files import decode, encode_png, read_kind
from simgan.images.names import is_stray
from simgan.refining import data_sets
from simgan.refining.archives import members
from simgan.refining.files import refine_path, stamps_of
from simgan.refining.job import LOCK, RECORD, record
from simgan.refining.places import alone


@pytest.fixture(scope="module")
def refiner():
    torch.manual_seed(0)
    return Refiner(RefinerConfig(width=4, blocks=1)).eval()


def noise(seed=0, *shape):
    return np.random.default_rng(seed).integers(0, 255, shape or (20, 24), dtype=np.uint8)


def alike(image, other):
    return np.abs(np.array(image).astype(int) - np.array(other)).max() <= 1


def put(place, contents):
    """Write images by their names, or bytes."""
    for name, content in contents.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encode_png(content))
    return place


def table(place, images, **columns):
    cells = [{"bytes": encode_png(image), "path": None} for image in images]
    types = {name: Value("string") for name in columns}
    Dataset.from_dict({"image": cells, **columns}, Features({"image": ImageColumn(), **types})).to_parquet(str(place))
    return place


def content(place):
    """Return all files below a folder, but the record."""
    return {name: member.read() for name, member in members(place).items()}


# What an output was made of


@pytest.mark.parametrize("kind", ["folder", "zip", "parquet"])
def test_an_output_that_was_begun_with_another_input_is_refused_and_begun_anew(refiner, tmp_path, kind):
    suffix = "" if kind == "folder" else f".{kind}"
    sources = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for seed, source in enumerate(sources):
        images = [noise(10 * seed + number) for number in range(2)]
        if kind == "parquet":
            table(source, images, set=["ab"[seed]] * 2)
        elif kind == "folder":
            put(source, {"0.png": images[0], "1.png": images[1], f"{seed}.txt": b"label"})
        else:
            with zipfile.ZipFile(source, "w") as archive:
                for number, image in enumerate(images):
                    archive.writestr(f"{number}.png", encode_png(image))
    output = tmp_path / f"out{suffix}"
    if kind == "folder":
        refine_path(refiner, sources[0], output)
    else:

        def stop(done=[]):  # noqa: B006
            done.append(1)
            if len(done) > 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            refine_path(refiner, sources[0], output, should_stop=stop)
    with pytest.raises(SourceError, match=r"was begun with another input, .*a.*: give another output, or --overwrite"):
        refine_path(refiner, sources[1], output)
    done = refine_path(refiner, sources[1], output, overwrite=True)
    assert (done.images, done.already) == (2, 0)
    expected = refiner.refine([noise(10), noise(11)])
    if kind == "parquet":
        rows = Dataset.from_parquet(str(output), cache_dir=str(tmp_path / "cache"))
        assert rows["set"][:] == ["b", "b"] and all(map(alike, rows["image"][:], expected))
    else:
        found = content(output)
        assert found.keys() - {"1.txt"} == {"0.png", "1.png"}
        assert all(alike(decode(found[f"{number}.png"]), expected[number]) for number in range(2))
    assert not [path for path in tmp_path.iterdir() if path.name.endswith((".parts", ".part", "lock"))]


def test_a_whole_archive_table_or_image_stays_unless_it_is_to_be_overwritten(refiner, tmp_path):
    put(tmp_path / "in", {"a.png": noise()})
    for source, output in (("in", "out.zip"), ("in/a.png", "b.png")):
        refine_path(refiner, tmp_path / source, tmp_path / output)
        with pytest.raises(SourceError, match="exists: give another output, or --overwrite"):
            refine_path(refiner, tmp_path / source, tmp_path / output, strength=0)
        assert refine_path(refiner, tmp_path / source, tmp_path / output, strength=0, overwrite=True).images == 1
    assert np.array_equal(decode(tmp_path / "b.png"), noise())


def test_what_changed_in_the_input_is_made_anew_and_nothing_else(refiner, tmp_path):
    source, output = put(tmp_path / "in", {"a.png": noise(0), "b.png": noise(1), "c.txt": b"1"}), tmp_path / "out"
    refine_path(refiner, source, output)
    stamp = (output / "a.png").stat().st_mtime_ns
    put(source, {"b.png": noise(2), "c.txt": b"23"})
    done = refine_path(refiner, source, output)
    assert (done.images, done.already, done.copied) == (1, 1, 1)
    assert alike(decode(output / "b.png"), refiner.refine(noise(2)))
    assert (output / "c.txt").read_bytes() == b"23" and (output / "a.png").stat().st_mtime_ns == stamp
    (source / "a.png").unlink()
    with pytest.warns(UserWarning, match=r"holds 1 files that the input no longer has, such as a\.png"):
        refine_path(refiner, source, output)
    put(output, {"d.png": noise()})
    put(source, {"d.png": noise(3)})
    for overwrite in (False, True):  # what others put there is never overwritten
        with pytest.raises(SourceError, match=r"d\.png was not written by this command"):
            refine_path(refiner, source, output, overwrite=overwrite)
    (output / "d.png").unlink()
    assert refine_path(refiner, source, output, overwrite=True).images == 2
    assert not (output / "a.png").exists()


def test_an_image_that_was_exchanged_for_one_of_its_size_and_time_is_made_anew(refiner, tmp_path):
    source, output = tmp_path / "in" / "a.bmp", tmp_path / "out"
    for seed in range(2):
        put(source.parent, {"a.bmp": saved(Image.fromarray(noise(seed)), "BMP")})
        os.utime(source, ns=(10**18, 10**18))
        assert refine_path(refiner, source.parent, output).images == 1
    assert alike(decode(output / "a.bmp"), refiner.refine(noise(1)))


def test_a_data_set_does_not_replace_the_folder_that_it_is_in(refiner, tmp_path):
    table(tmp_path / "a.parquet", [noise()])
    rows = Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    DatasetDict(train=rows).save_to_disk(str(tmp_path / "all"))
    with pytest.raises(SourceError, match=r"the input .*train is in the output .*all: give another output"):
        refine_path(refiner, tmp_path / "all" / "train", tmp_path / "all", overwrite=True)
    assert len(load_from_disk(str(tmp_path / "all"))["train"]) == 1


@pytest.mark.parametrize(
    ("source", "output", "sentence"),
    [
        ("in", "o.png", r"in cannot become one \.png: give a name such as .*o\.zip, or of a folder"),
        ("in", "o.parquet", r"cannot become one \.parquet"),
        ("A.PARQUET", "o.zip", r"A\.PARQUET cannot become one \.zip: give a name such as .*o\.parquet"),
        ("in", "A.PARQUET", "cannot become one"),
        ("in", "in/0.png/out", "is .in. the input"),
        ("in", "file", "file is a file: give the name of a folder or an archive"),
    ],
)
def test_an_output_of_another_kind_is_refused(refiner, tmp_path, source, output, sentence):
    put(tmp_path, {"in/0.png": noise(), "file": b"x"})
    table(tmp_path / "A.PARQUET", [noise()])
    with pytest.raises(SourceError, match=sentence):
        refine_path(refiner, tmp_path / source, tmp_path / output)


def test_another_model_is_refused_and_what_a_push_notes_knows_the_input(refiner, tmp_path):
    source, output = put(tmp_path / "in", {"a.png": noise()}), tmp_path / "out"
    refine_path(refiner, source, output)
    with pytest.raises(SourceError, match="another model: give another output"):
        refine_path(Refiner(RefinerConfig(width=4, blocks=1)), source, output)
    first = record(refiner, 1.0, source, stamps_of(source))
    assert first == record(refiner, 1.0, source, stamps_of(source))
    put(source, {"a.png": noise(1)})
    assert first["stamps"] != record(refiner, 1.0, source, stamps_of(source))["stamps"]


def test_two_runs_at_once_do_not_write_one_output(refiner, tmp_path):
    source, output = put(tmp_path / "in", {"a.png": noise()}), tmp_path / "out"
    with (
        alone(output / LOCK, output),
        pytest.raises(SourceError, match="out is being written by another run: wait for it"),
    ):
        refine_path(refiner, source, output)
    assert refine_path(refiner, source, output).images == 1
    assert {path.name for path in output.iterdir()} == {"a.png", RECORD}


# Labels among images

COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0]], np.uint8)


@pytest.mark.parametrize(
    ("name", "image", "why"),
    [
        ("masks/1.png", noise(1), "1 images seem to be labels by their names"),
        ("a/Labels/1.png", noise(1), "labels by their names"),
        ("1_seg.png", noise(1), "labels by their names"),
        ("gtFine/b/1.png", noise(1), "labels by their names"),
        ("train_masks/1.png", noise(1), "labels by their names"),
        ("SegmentationClassPNG/1.png", noise(1), "labels by their names"),
        ("z/mask_1.png", noise(1), r'labels by their names.*--copy "z/mask_\*\.png"'),
        ("z/1mask0.png", noise(1), "labels by their names"),
        ("z/1_labelTrainIds.png", noise(1), "labels by their names"),
        ("z/1.png", noise(1) % 3, "seems to be a label, as it has 3 values, 0, 1, 2"),
        ("z/1.png", COLOURS[noise(1) % 3], "seems to be a label, as it has 3 values"),
    ],
)
def test_images_that_look_like_labels_are_asked_about(refiner, tmp_path, name, image, why):
    source, output = put(tmp_path / "in", {"0.png": noise(), name: image}), tmp_path / "out"
    with pytest.raises(SourceError, match=f"(?=.*{why})(?=.*{name}).*--copy"):
        refine_path(refiner, source, output)
    pattern = str(Path(name).parent / "*") if "/" in name else "*_seg.png"
    done = refine_path(refiner, source, output, copy=[f"./{pattern}"])
    assert (done.images + done.already, done.copied) == (1, 1)
    assert np.array_equal(decode(output / name), image)
    done = refine_path(refiner, source, output, copy=[f"not:{pattern}"])
    assert (done.images, done.already) == (1, 1)
    assert not np.array_equal(decode(output / name), image)


@pytest.mark.parametrize("levels", [3, 100])
def test_images_with_a_palette_are_asked_about(refiner, tmp_path, levels):
    coded = Image.fromarray(noise() % levels).convert("P")
    coded.putpalette([number * channel % 256 for number in range(256) for channel in (1, 7, 30)])
    put(tmp_path / "in", {"0.png": noise(), "s/1.png": saved(coded, "PNG")})
    with pytest.raises(
        ImageError, match=r'1\.png has mode P: .* convert it to RGB, or, .* copy it by --copy "s/\*\.png"'
    ):
        refine_path(refiner, tmp_path / "in", tmp_path / "out")
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out", copy=["s/*"]).copied == 1


@pytest.mark.parametrize("name", ["unlabeled/1.png", "with_mask/1.png", "seguro.png", "label.png/1.png", "gt3/1.png"])
def test_other_names_and_black_frames_are_images(refiner, tmp_path, name):
    put(tmp_path / "in", {name: noise(), "black.png": np.zeros((20, 20), np.uint8)})
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out").images == 2


# Links and names


def test_links_are_followed_within_a_tar_and_below_a_folder(refiner, tmp_path):
    source = put(tmp_path / "in", {"p/a.png": noise()})
    os.link(source / "p/a.png", source / "p/b.png")
    (source / "p/c.png").symlink_to("a.png")
    (source / "p/gone.png").symlink_to("nothing.png")
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(source, ".")
    (source / "q").symlink_to("p")
    (source / "p/back").symlink_to(source)
    with pytest.warns(UserWarning, match="links lead to no file in it, such as .*; they are left out"):
        assert refine_path(refiner, source, tmp_path / "folder").images == 6
        assert refine_path(refiner, tmp_path / "in.tar", tmp_path / "out.tar").images == 3
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == ["./p/a.png", "./p/b.png", "./p/c.png"]
    assert content(tmp_path / "folder")["q/c.png"] == content(tmp_path / "out.tar")["p/b.png"]


def zipped(place, raw, flag=0):
    """Write a ZIP whose one image has a name of these bytes, with this flag."""
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("A" * len(raw), encode_png(noise()))
    data = place.read_bytes().replace(b"A" * len(raw), raw)
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(magic) + offset
        data = data[:at] + flag.to_bytes(2, "little") + data[at + 2 :]
    place.write_bytes(data)
    return place


@pytest.mark.parametrize(
    ("raw", "flag", "written", "name"),
    [
        ("眼睛.png".encode("gbk"), 0, None, None),
        (b"p\x8f\\\xbe\x8f.png", 0, None, None),  # Shift JIS, where the second byte of a character may be "\"
        ("é.png".encode("cp437"), 0, None, "é.png"),
        ("ü.png".encode(), 0, None, "ü.png"),  # as macOS writes it
        ("ü.png".encode(), 0x800, None, "ü.png"),
        (b"p\\1.png", 0, b"p/1.png", "p/1.png"),
        ("é\\1.png".encode(), 0x800, "é/1.png".encode(), "é/1.png"),
    ],
)
def test_the_bytes_and_flags_of_a_name_in_a_zip_stay(refiner, tmp_path, raw, flag, written, name):
    source = zipped(tmp_path / "in.zip", raw, flag)
    refine_path(refiner, source, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        (entry,) = archive.infolist()
        assert archive.testzip() is None
    assert entry.orig_filename.encode("utf-8" if flag else "cp437") == (written or raw)
    assert entry.flag_bits & 0x800 == flag
    assert name in (None, *content(source))


@pytest.mark.parametrize(
    "name", [b"caf\xe9.png", "眼.png".encode("gbk"), b"a" * 251 + b".png", "目".encode() * 83 + b".png"]
)
@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.xz", ".tar.bz2"])
def test_names_that_a_file_system_takes_come_back(refiner, tmp_path, name, suffix):
    source = put(tmp_path / "in", {os.fsdecode(name): noise()})
    output = tmp_path / f"out{suffix}"
    assert refine_path(refiner, source, output).images == 1
    if suffix == ".zip":
        assert name in output.read_bytes()
    else:
        assert [*content(output)] == [os.fsdecode(name)]


def test_an_output_with_a_long_name_is_written(refiner, tmp_path):
    source = put(tmp_path / "in", {"a.png": noise()})
    for output, made in (("z" * 251 + ".zip", source), ("z" * 251 + ".png", source / "a.png")):
        assert refine_path(refiner, made, tmp_path / output).images == 1
    assert sorted(path.name[:2] for path in tmp_path.iterdir()) == ["in", "zz", "zz"]


# Formats


@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a/1.png", "a\\1.png"), ("a.png", "./a.png")])
def test_an_archive_that_holds_a_name_twice_is_refused(refiner, tmp_path, names):
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive, warnings.catch_warnings(action="ignore"):
        for seed, name in enumerate(names):
            info = zipfile.ZipInfo("0")
            info.filename = name
            archive.writestr(info, encode_png(noise(seed)))
    with pytest.raises(SourceError, match=r"in\.zip holds 1 names twice, such as .*: unpack it, and give the folder"):
        refine_path(refiner, tmp_path / "in.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["b.zip", "c/d.parquet"])
def test_archives_and_tables_beside_images_are_told_and_broken_ones_named(refiner, tmp_path, name):
    source = put(tmp_path / "in", {name: b"x"})
    with pytest.raises(SourceError, match=f"in/{name} cannot be read"):
        refine_path(refiner, source, tmp_path / "broken")
    put(source, {"0.png": noise()})
    with pytest.warns(UserWarning, match=f"such as {name}, by itself, as they are copied"):
        assert refine_path(refiner, source, tmp_path / "out").images == 1


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("in/a.pbm", "which is PBM"),
        ("a.7z", r"a\.7z is no archive that can be read or written: use a folder, or one of \.zip"),
        ("a.rar", "no archive"),
        ("a.tar.zst", "no archive"),
        ("a.heic", "is HEIF?C?, which is not read: save it as PNG"),
        (
            "in/a.heic",
            r"1 images are of kinds that are not read, such as a\.heic, which is HEIC: .*--copy \"\*\.heic\"",
        ),
        ("in/a.avif", "which is AVIF"),
        ("in/a.exr", "which is OpenEXR"),
        ("in/a.jpg_large", r"which is an image with the suffix \.jpg_large"),
    ],
)
def test_kinds_that_are_not_read_are_named(refiner, tmp_path, name, sentence):
    put(tmp_path, {name: b"x", "in/0.png": noise()})
    source = tmp_path / "in" if name.startswith("in/") else tmp_path / name
    with pytest.raises(SourceError, match=sentence):
        refine_path(refiner, source, tmp_path / "out")


def saved(image, kind, **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def test_the_photograph_of_a_camera_with_a_preview_is_refined_and_pages_are_named(refiner, tmp_path):
    photo = Image.fromarray(noise(0, 60, 80, 3))
    pages = [Image.fromarray(noise())]
    put(tmp_path / "in", {"P1.JPG": saved(photo, "MPO", save_all=True, append_images=[photo.resize((40, 30))])})
    put(tmp_path, {"pages.tif": saved(pages[0], "TIFF", save_all=True, append_images=pages)})
    refine_path(refiner, tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out/P1.JPG") as out, Image.open(tmp_path / "in/P1.JPG") as before:
        assert (out.format, out.size) == ("JPEG", photo.size)
        assert out.quantization == before.quantization and not alike(out, before)
    with pytest.raises(ImageError, match=r"pages\.tif has 2 pages: save the page"):
        refine_path(refiner, tmp_path / "pages.tif", tmp_path / "page.tif")


@pytest.mark.parametrize("maxval", [1023, 4095, 65535])
def test_pgm_keeps_the_millimetres_of_depth_and_the_brightness_of_photographs(refiner, tmp_path, maxval):
    values = np.random.default_rng(0).integers(400, 1000, (32, 40)).astype(np.uint16)
    data = b"P5\n40 32\n%d\n" % maxval + values.astype(">u2").tobytes()
    put(tmp_path / "in", {"a.pgm": data})
    hands = Refiner(RefinerConfig(domain="hands", width=4, blocks=1, equalize=False)).eval()
    refine_path(hands, tmp_path / "in", tmp_path / "same", strength=0)
    refine_path(hands, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "same/a.pgm").read_bytes() == data
    assert np.array_equal(decode(data), values)
    assert np.array_equal(decode(tmp_path / "out/a.pgm"), hands.refine(values))
    bright = np.rint(values * (65535 / maxval)).astype(np.uint16)
    assert np.array_equal(refiner.refine(tmp_path / "in/a.pgm"), refiner.refine(bright))


def test_sixteen_bits_of_colour_are_refused_where_eight_would_be_read(tmp_path):
    import cv2

    deep = np.random.default_rng(0).integers(0, 65535, (64, 64, 3)).astype(np.uint16)
    ppm = b"P6\n64 64\n65535\n" + deep.astype(">u2").tobytes()
    for data in (ppm, cv2.imencode(".jp2", deep)[1].tobytes()):
        with pytest.raises(ImageError, match="has 16 bits a channel, of which Pillow keeps 8"):
            decode(data)
    assert decode(cv2.imencode(".jp2", noise(0, 64, 64, 3))[1].tobytes()).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("image", "suffix", "fits"),
    [
        (noise(0, 20, 20, 4), ".jpg", False),
        (noise(0, 20, 20, 4), ".bmp", False),
        (noise(0, 20, 20, 4), ".webp", True),
        (noise().astype(np.uint16), ".jpg", False),
        (noise().astype(np.uint16), ".webp", False),
        (noise().astype(np.uint16) * 257, ".tif", True),
        (noise(0, 20, 20, 3), ".gif", False),
        (noise(), ".gif", True),
    ],
)
def test_an_image_changes_its_format_without_a_loss_or_not_at_all(refiner, tmp_path, image, suffix, fits):
    put(tmp_path, {"in.png": image})
    output = tmp_path / f"out{suffix}"
    if fits:
        refine_path(refiner, tmp_path / "in.png", output)
        assert alike(decode(output), refiner.refine(image))
    else:
        with pytest.raises(ImageError, match=rf"out\{suffix} cannot hold an image of mode .*: name it \.png or \.tiff"):
            refine_path(refiner, tmp_path / "in.png", output)
        assert not output.exists()


@pytest.mark.parametrize(
    ("image", "key"), [(noise(0, 20, 20, 3), (1, 2, 3)), (noise(), 7), (noise() * np.uint16(3), 9)]
)
def test_the_colour_that_is_transparent_marks_the_same_pixels(refiner, tmp_path, image, key):
    image[3:6, 4:9] = key
    put(tmp_path / "in", {"a.png": saved(Image.fromarray(image), "PNG", transparency=key)})
    refine_path(refiner, tmp_path / "in", tmp_path / "out")
    with Image.open(tmp_path / "out/a.png") as out:
        assert out.info["transparency"] == key
        after = np.array(out)
    clear = [np.atleast_3d(pixels == np.array(key)).all(-1) for pixels in (image, after)]
    assert clear[0][3:6, 4:9].all() and np.array_equal(*clear)
    assert not np.array_equal(after, image)


@pytest.mark.parametrize("turn", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_sources_read_images_as_every_viewer_shows_them_and_refining_keeps_the_tag(refiner, tmp_path, kind, turn):
    shown = np.zeros((60, 40), np.uint8)
    shown[:10] = 255
    shown[:, :7] = np.arange(60)[:, None] * 4
    ways = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # of Pillow: the way back
    tag = Image.Exif()
    tag[ExifTags.Base.Orientation] = turn
    lying = Image.fromarray(shown).transpose(Image.Transpose(ways[turn]))
    data = saved(lying, kind, exif=tag, **({"lossless": True} if kind == "WEBP" else {}))
    put(tmp_path / "in", {f"a.{kind.lower()}": data})
    grey = decode(data) if kind != "WEBP" else decode(data)[..., 0]
    assert grey.shape == shown.shape and np.abs(grey.astype(int) - shown).mean() < 8
    assert read_kind(data)[:2] == (40, 60)
    if turn == 6:
        assert refiner.refine(data).size == (40, 60)
        refine_path(refiner, tmp_path / "in", tmp_path / "out", strength=0)
        after = Image.open(tmp_path / f"out/a.{kind.lower()}")
        assert np.abs(np.array(ImageOps.exif_transpose(after).convert("L")).astype(int) - shown).mean() < 8


def turned(image, orientation):
    tag = Image.Exif()
    tag[ExifTags.Base.Orientation] = orientation
    return saved(Image.fromarray(image), "PNG", exif=tag)


KINDS = {
    ".png": (encode_png(noise()), encode_png(noise(0, 20, 24, 3)), encode_png(noise(0, 20, 24, 4)), turned(noise(), 6)),
    ".PNG": (encode_png(noise() * np.uint16(257)), encode_png(noise() % 3)),
    ".jpg": (saved(Image.fromarray(noise()), "JPEG"), b"broken"),
    ".tif": (saved(Image.fromarray(noise() * np.uint16(3)), "TIFF"),),
    ".json": (b"{}",),
    ".zip": (b"an archive in an archive",),
    ".heic": (b"",),
}
NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12)
PATHS = st.tuples(st.lists(st.sampled_from(["a", "b c", "ü", ".d", "masks", "\n"]), max_size=2), NAMES).map(
    lambda found: "/".join([*found[0], found[1]])
)
TREES = st.dictionaries(
    PATHS,
    st.sampled_from(sorted(KINDS)).flatmap(lambda k: st.tuples(st.just(k), st.sampled_from(KINDS[k]))),
    max_size=4,
)


@pytest.mark.parametrize("packed", ["", ".zip", ".tar"])
def test_any_tree_comes_back_with_its_names_kinds_and_labels_or_one_sentence(refiner, tmp_path_factory, packed):
    outcomes = set()

    @settings(max_examples=12, deadline=None, derandomize=True, database=None)
    @given(TREES)
    def check(tree):
        place = tmp_path_factory.mktemp("tree")
        given = {name + suffix: data for name, (suffix, data) in tree.items()}
        source = put(place / "in", {"0.png": encode_png(noise(1)), **given})
        if packed:
            with (
                zipfile.ZipFile(place / "in.zip", "w")
                if packed == ".zip"
                else tarfile.open(place / "in.tar", "w") as archive
            ):
                for name in members(source):
                    (archive.write if packed == ".zip" else archive.add)(source / name, name)
            source = place / f"in{packed}"
        kept = set(place.rglob("*"))
        output = place / f"out{packed}"
        try:
            refine_path(refiner, source, output)
        except (SourceError, ImageError) as error:
            outcomes.add(False)
            assert str(error)
            return
        outcomes.add(True)
        assert {path for path in place.rglob("*") if output not in (path, *path.parents)} == kept
        before, after = content(source), content(output)
        assert before.keys() == after.keys()
        for name, data in before.items():
            if PurePosixPath(name).suffix.lower() not in (".png", ".jpg", ".tif") or is_stray(name):
                assert after[name] == data
            else:
                first, second = (Image.open(io.BytesIO(found)) for found in (data, after[name]))
                assert (first.format, first.mode, first.size) == (second.format, second.mode, second.size)
                assert first.getexif().get(274) == second.getexif().get(274)

    check()
    assert outcomes == {True, False}


# Data sets


def test_a_data_set_of_images_alone_keeps_its_order_of_columns_and_its_kinds_of_files(refiner, tmp_path):
    photo = saved(Image.fromarray(noise(0, 20, 24, 3)), "JPEG")
    cells = [{"bytes": photo, "path": "p0/a.jpg"}, {"bytes": encode_png(noise()), "path": None}]
    rows = Dataset.from_dict({"image": cells}, Features({"image": ImageColumn()}))
    DatasetDict(train=rows, test=rows).save_to_disk(tmp_path / "in")
    rows.to_parquet(tmp_path / "in.parquet")
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out").images == 4
    assert refine_path(refiner, tmp_path / "in.parquet", tmp_path / "out.parquet").images == 2
    for out in (
        load_from_disk(str(tmp_path / "out"))["test"],
        Dataset.from_parquet(str(tmp_path / "out.parquet"), cache_dir=str(tmp_path / "cache")),
    ):
        assert out.features == rows.features and alike(out[1]["image"], refiner.refine(noise()))
    first = out.cast_column("image", ImageColumn(decode=False))[0]["image"]
    assert first["path"] == "p0/a.jpg" and Image.open(io.BytesIO(first["bytes"])).format == "JPEG"
    put(tmp_path / "own", {"kept.txt": b""})
    with pytest.raises(SourceError, match="other things than a data set"):
        refine_path(refiner, tmp_path / "in", tmp_path / "own", overwrite=True)
    assert refine_path(refiner, tmp_path / "in", tmp_path / "out", overwrite=True).images == 4
    with pytest.raises(SourceError, match="has no files to copy"):
        refine_path(refiner, tmp_path / "in", tmp_path / "other", copy=["masks/*"])


def table_of_paths(place, **columns):
    """Write a table whose columns of images name files, by paths relative to its folder."""
    cells = {name: [{"bytes": None, "path": path} for path in paths] for name, paths in columns.items()}
    plain = {"bytes": Value("binary"), "path": Value("string")}
    rows = Dataset.from_dict(cells, Features(dict.fromkeys(cells, plain)))
    kinds = Features(dict.fromkeys(cells, ImageColumn())).arrow_schema.metadata
    pq.write_table(rows.data.table.replace_schema_metadata(kinds), place)
    return place


def test_one_of_several_columns_of_images_is_chosen_and_paths_are_of_the_tables_folder(refiner, tmp_path):
    put(tmp_path / "set", {"i/a.png": noise(), "i/b.png": noise(1)})
    source = table_of_paths(tmp_path / "set/in.parquet", png=["i/a.png"], other=["i/b.png"])
    output = tmp_path / "out.parquet"
    with pytest.raises(SourceError, match="one column of images: it has png, other; --image chooses one"):
        refine_path(refiner, source, output)
    with pytest.raises(SourceError, match="a column none"):
        refine_path(refiner, source, output, image="none")
    assert refine_path(refiner, source, output, image="png").images == 1
    out = Dataset.from_parquet(str(output), cache_dir=str(tmp_path / "cache"))
    assert out.column_names == ["png", "other"]
    assert alike(out[0]["png"], refiner.refine(noise()))
    assert np.array_equal(out[0]["other"], noise(1))
    (tmp_path / "set/i/a.png").unlink()
    with pytest.raises(ImageError, match=r"i/a\.png, named in .*in\.parquet, cannot be read"):
        refine_path(refiner, source, tmp_path / "again.parquet", image="png")


def test_a_table_is_continued_but_for_rows_whose_files_changed_or_another_column(refiner, tmp_path, monkeypatch):
    monkeypatch.setattr(data_sets, "SHARD", 1)
    put(tmp_path, {"a.png": noise(0), "b.png": noise(1), "c.png": b"broken"})
    names = ["a.png", "b.png", "c.png"]
    source, output = table_of_paths(tmp_path / "in.parquet", png=names, other=names[::-1]), tmp_path / "out.parquet"
    with pytest.raises(ImageError, match="row 2 of"):
        refine_path(refiner, source, output, image="png")
    put(tmp_path, {"b.png": noise(2)})
    with pytest.raises(ImageError, match="row 2 of"):
        refine_path(refiner, source, output, image="png")
    with pytest.raises(ImageError, match="row 0 of"):
        refine_path(refiner, source, output, image="other")
    put(tmp_path, {"c.png": noise(3)})
    done = refine_path(refiner, source, output, image="png")
    assert done.images + done.already == 3
    rows = Dataset.from_parquet(str(output), cache_dir=str(tmp_path / "cache"))
    assert all(map(alike, rows["png"][:], refiner.refine([noise(0), noise(2), noise(3)])))
