"""What the Space takes: every limit is a sentence, nothing is unpacked before it was measured."""

import io
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from simgan.errors import ImageError, SourceError
from simgan.images.files import open_image
from simgan.space import uploads


def png(width: int = 20, height: int = 20) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width), np.uint8)).save(file, "PNG")
    return file.getvalue()


def pack(file: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file


def test_an_archive_of_images_with_labels_and_an_inner_archive_is_taken(tmp_path):
    inner = pack(tmp_path / "inner.zip", {"x.png": png()}).read_bytes()
    entries = {"a/1.png": png(), "a/1.json": b"{}", "inner.zip": inner, "__MACOSX/a/._1.png": b"fork", "Ä/ö.PNG": png()}
    assert uploads.check_archive(pack(tmp_path / "eyes.zip", entries), "eyes.zip") == {"a/1.png": 400, "Ä/ö.PNG": 400}


def test_arrays_are_images_where_there_are_no_others_and_measured_by_their_header(tmp_path):
    file = io.BytesIO()
    np.save(file, np.zeros((30, 20), np.uint16))
    array = file.getvalue()
    packed = pack(tmp_path / "depth.zip", {"a.npy": array, "joints.csv": b""})
    assert uploads.check_archive(packed, "depth.zip") == {"a.npy": 600}
    assert uploads.check_archive(pack(tmp_path / "b.zip", {"a.npy": array, "b.png": png()}), "b.zip") == {"b.png": 400}
    with pytest.raises(ImageError, match=r"a\.npy in c\.zip is no image that can be read"):
        uploads.check_archive(pack(tmp_path / "c.zip", {"a.npy": array[:40]}), "c.zip")
    np.save(tmp_path / "large.npy", np.zeros((3000, 1400), np.uint8))
    with pytest.raises(ImageError, match="large has 1400×3000 pixels"):
        uploads.count_pixels(tmp_path / "large.npy", "large")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x.png", "a/../../x.png", "a\\..\\x.png", "\\x.png", "C:x.png", "a\nb.png", "x" * 300]
)
def test_a_name_that_leads_out_or_cannot_be_a_files_is_refused(tmp_path, name):
    with pytest.raises(SourceError, match=r"out of it|no folder takes"):
        uploads.check_archive(pack(tmp_path / "z.zip", {"1.png": png(), name: b"x"}), "z.zip")


def test_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match=r"z\.zip holds a link, link\.png"):
        uploads.check_archive(tmp_path / "z.zip", "z.zip")


@pytest.mark.parametrize("zeros, told", [(30_000_000, "times its size"), (uploads.UNPACKED + 1, "unpacks to 256 MB")])
def test_a_bomb_is_refused_unopened(tmp_path, zeros, told):
    with (
        zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("1.png", "w") as member,
    ):
        for _ in range(zeros // 2**20):
            member.write(bytes(2**20))
        member.write(bytes(zeros % 2**20))
    with pytest.raises(SourceError, match=told):
        uploads.check_archive(tmp_path / "z.zip", "z.zip")


def test_a_bomb_that_lies_about_its_size_is_read_no_further_than_it_said(tmp_path):
    zeros = zipfile.ZipFile(pack(tmp_path / "z.zip", {"1.png": png(), "2.json": bytes(10_000_000)})).infolist()[1]
    data = bytearray((tmp_path / "z.zip").read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = data.rfind(signature)
        assert struct.unpack_from("<L", data, place + offset) == (zeros.file_size,)
        struct.pack_into("<L", data, place + offset, 1000)
    (tmp_path / "z.zip").write_bytes(data)
    assert uploads.check_archive(tmp_path / "z.zip", "z.zip") == {"1.png": 400}
    with zipfile.ZipFile(tmp_path / "z.zip") as archive, pytest.raises(zipfile.BadZipFile):
        archive.read("2.json")


def test_more_files_than_allowed_are_refused(tmp_path):
    many = pack(tmp_path / "z.zip", {f"{i}.txt": b"" for i in range(uploads.FILES + 1)})
    with pytest.raises(SourceError, match="2,001 files: send at most 2,000"):
        uploads.check_archive(many, "z.zip")


def test_archives_that_are_broken_encrypted_doubled_oddly_packed_or_empty_are_refused_by_name(tmp_path):
    cases = {
        "cannot be read as a ZIP archive: File is not a zip file; pack": b"PK but no archive",
        "rare method": pack(tmp_path / "a.zip", {"1.png": png()}, zipfile.ZIP_BZIP2).read_bytes(),
        "holds no images": pack(tmp_path / "b.zip", {"1.txt": b""}).read_bytes(),
    }
    whole = bytearray(pack(tmp_path / "c.zip", {"1.png": png(), "2.png": png()}).read_bytes())
    encrypted = bytearray(whole)
    encrypted[encrypted.find(b"PK\x01\x02") + 8] |= 1
    cases["is encrypted"] = bytes(encrypted)
    cases["more than once"] = bytes(whole.replace(b"2.png", b"1.png"))
    cases["cannot be read as a ZIP archive: Bad magic"] = bytes(whole.replace(b"PK\x01\x02", b"PK\x01\x03"))
    for told, data in cases.items():
        (tmp_path / "z.zip").write_bytes(data)
        with pytest.raises(SourceError, match=told) as caught:
            uploads.check_archive(tmp_path / "z.zip", "z.zip")
        assert "z.zip" in str(caught.value)


def test_an_image_is_measured_by_its_header_alone(tmp_path, monkeypatch):
    small, whole = png(), png(3000, 1400)
    packed = pack(tmp_path / "z.zip", {"big.png": whole})
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("pixels were read"))
    assert uploads.count_pixels(io.BytesIO(small), "eye.png") == 400
    with pytest.raises(ImageError, match=r"eye\.png has 3000×1400 pixels: at most 4,000,000"):
        uploads.count_pixels(io.BytesIO(whole), "eye.png")
    with pytest.raises(ImageError, match=r"big\.png in z\.zip has 3000×1400"):
        uploads.check_archive(packed, "z.zip")


def test_what_another_program_would_decode_is_no_image_here(tmp_path):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 55 35\n%%EndComments\n"
    (tmp_path / "eye.png").write_bytes(eps)
    assert Image.open(tmp_path / "eye.png").format == "EPS"
    (error,) = uploads.open_uploads([str(tmp_path / "eye.png")])
    assert str(error).startswith("eye.png is no image")
    with pytest.raises(ImageError, match=r"^eye\.png in z\.zip is no image"):
        uploads.check_archive(pack(tmp_path / "z.zip", {"eye.png": eps}), "z.zip")
    with pytest.raises(ImageError, match="cannot be read as an image"):
        open_image(eps)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(b"x")
    monkeypatch.setattr(uploads, "FILE_BYTES", 0)
    monkeypatch.setattr(uploads, "UPLOAD_BYTES", 0)
    (error,) = uploads.open_uploads([str(tmp_path / "f")])
    assert str(error).startswith("f has 0 MB: at most 0 are taken")
    with pytest.raises(ImageError, match="f has 0 MB: at most 0 are taken"):
        uploads.check_archive(tmp_path / "f", "f")
