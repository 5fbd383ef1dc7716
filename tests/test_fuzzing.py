"""Broken files: mutated images and archives are read, or raise one of simgan's own errors, and nothing else."""

import io
import struct
import tarfile
import zipfile
import zlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from simgan.errors import ImageError, SourceError
from simgan.images.files import decode, read, read_kind
from simgan.refining.archives import listing
from simgan.space import uploads

# The same cases every time, so that a failure is a change of the code.
bounded = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
EXTREMES = (
    b"\x00",
    b"\xff",
    b"\x7f\xff",
    b"\xff\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x00\x00\x00",
    b"(",
    b"-9",
    b"9" * 30,
)


def save(kind, mode, **options):
    values = np.random.default_rng(0).integers(0, 256, (18, 20, 4), np.uint8)
    image = (
        Image.fromarray(values[..., 0].astype(np.uint16) * 200)
        if mode == "I;16"
        else Image.fromarray(values).convert(mode)
    )
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def array(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


FILES = {
    "png": save("PNG", "L"),
    "png-palette": save("PNG", "P"),
    "png-16": save("PNG", "I;16"),
    "png-rgba": save("PNG", "RGBA", dpi=(72, 72)),
    "jpeg": save("JPEG", "RGB", dpi=(72, 72), exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0"),
    "jpeg-progressive": save("JPEG", "L", progressive=True),
    "tiff": save("TIFF", "I;16"),
    "tiff-lzw": save("TIFF", "RGB", compression="tiff_lzw"),
    "tiff-deflate": save("TIFF", "L", compression="tiff_adobe_deflate"),
    "tiff-jpeg": save("TIFF", "RGB", compression="jpeg"),
    "tiff-2": save("TIFF", "L", save_all=True, append_images=[Image.new("L", (20, 18))]),
    "webp": save("WEBP", "RGB", lossless=True),
    "gif": save("GIF", "L"),
    "bmp": save("BMP", "RGB"),
    "tga": save("TGA", "L", compression="tga_rle"),
    "ppm": save("PPM", "RGB"),
    "pgm-text": b"P2\n20 18\n255\n" + b"12 " * 360,
    "jpeg2000": save("JPEG2000", "RGB"),
    "npy": array(np.zeros((18, 20), np.uint16)),
    "npy-2": b"\x93NUMPY\x02\x00" + struct.pack("<I", 118) + array(np.zeros((18, 20), np.uint8))[10:],
}

mutations = st.lists(
    st.tuples(
        st.sampled_from(["set", "extreme", "cut", "insert", "remove", "repeat"]),
        st.one_of(st.integers(0, 200), st.integers(0, 2000)),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def mutate(data, changes):
    data = bytearray(data)
    for kind, place, value in changes:
        place %= len(data) + 1
        if kind == "set":
            data[place : place + 1] = bytes([value])
        elif kind == "extreme":
            new = EXTREMES[value % len(EXTREMES)]
            data[place : place + len(new)] = new
        elif kind == "cut":
            del data[place:]
        elif kind == "insert":
            data[place:place] = bytes([value]) * (1 + value % 5)
        elif kind == "remove":
            del data[place : place + 1 + value % 20]
        else:
            data[place:place] = data[place : place + 1 + value % 50]
    return bytes(data)


def seal(data):
    """A PNG file whose checksums fit what was changed, so that more than the checksum is looked at."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        end = place + 8 + struct.unpack_from(">I", fixed, place)[0]
        if end + 4 > len(fixed):
            break
        struct.pack_into(">I", fixed, end, zlib.crc32(fixed[place + 4 : end]))
        place = end + 4
    return bytes(fixed)


def is_taken(function, *arguments, errors=ImageError):
    """Call a function that may refuse its arguments, in a sentence."""
    try:
        function(*arguments)
    except errors as error:
        assert str(error)
        return False
    return True


def pack_zip(method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name in ("a/1.png", "2.jpg", "labels.json"):
            archive.writestr(
                zipfile.ZipInfo(name), FILES.get(name[-3:], FILES["png" if "png" in name else "jpeg"]), method
            )
    return file.getvalue()


def pack_tar(mode):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name in ("a/1.png", "labels.json"):
            entry = tarfile.TarInfo(name)
            entry.size = len(FILES["png"])
            archive.addfile(entry, io.BytesIO(FILES["png"]))
    return file.getvalue()


ARCHIVES = {
    "a.zip": pack_zip(),
    "stored.zip": pack_zip(zipfile.ZIP_STORED),
    "a.tar": pack_tar("w"),
    "a.tar.gz": pack_tar("w:gz"),
}


def read_all(file):
    names, opened = listing(file)
    for name in names:
        opened(name)


def check_zip(file):
    uploads.check_archive(file, file.name)


@pytest.mark.filterwarnings("ignore")  # Pillow warns of strange metadata
@pytest.mark.parametrize("kind", FILES)
def test_a_mutated_image_is_read_or_raises_an_image_error(kind):
    outcomes = set()

    @settings(bounded, max_examples=50)
    @given(mutations)
    def check(changes):
        data = mutate(FILES[kind], changes)
        for changed in {data, seal(data)} if kind.startswith("png") else {data}:
            outcomes.add(is_taken(decode, changed))
            is_taken(read_kind, io.BytesIO(changed), "x")

    check()
    assert False in outcomes


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_mutated_archive_is_read_or_raises_an_error_of_ours(kind, tmp_path):
    outcomes = set()

    @settings(bounded, max_examples=80)
    @given(mutations, st.booleans())
    def check(changes, at_end):
        whole = ARCHIVES[kind]
        data = mutate(whole[::-1], changes)[::-1] if at_end else mutate(whole, changes)
        (tmp_path / kind).write_bytes(data)
        for function in (read_all, check_zip) if kind.endswith("zip") else (read_all,):
            outcomes.add(is_taken(function, tmp_path / kind, errors=(ImageError, SourceError)))

    check()
    assert False in outcomes


def chain(count):
    """A TIFF file with its directory repeated, each naming the next one."""
    tiff = FILES["tiff"]
    assert tiff[:4] == b"II*\0"
    start = struct.unpack_from("<L", tiff, 4)[0]
    length = 2 + 12 * struct.unpack_from("<H", tiff, start)[0]
    places = [start, *(len(tiff) + i * (length + 4) for i in range(count - 1)), 0]
    chained = bytearray(tiff + (tiff[start : start + length] + bytes(4)) * (count - 1))
    for here, following in pairwise(places):
        struct.pack_into("<L", chained, here + length, following)
    return bytes(chained)


def without_width(tiff):
    """A TIFF file of several directories, the last of which has no width."""
    place = tiff.rfind(struct.pack("<HHL", 256, 4, 1))
    return tiff[:place] + b"\xff\x7f" + tiff[place + 2 :]


def header(text):
    """A NumPy file of no values with that header."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    "data, sentence",
    [
        (without_width(chain(2)), "as an image: Missing dimensions"),
        (header("{'descr': '<u2', (\n"), "as a NumPy array: .*EOF"),
        (header(f"{{'descr': '<u2', 'fortran_order': False, 'shape': ({10**30}, 2)}}\n"), f"{2 * 10**30:,} values"),
        (header("{'descr': '<u2', 'fortran_order': False, 'shape': (-1, 20)}\n"), "no plain numbers"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (20, 20)}\n"), "no plain numbers"),
        (header(f"{{'descr': '<u8', 'fortran_order': False, 'shape': ({2**30}, 630)}}\n"), "values, more than"),
        (header("{'descr': '<u8', 'fortran_order': False, 'shape': (15000, 15000)}\n"), "the file is truncated"),
        (b"\x93NUMPY\x03\x00" + FILES["npy"][8:], "its version"),
    ],
)
def test_what_fuzzing_found_is_a_sentence(data, sentence):
    with pytest.raises(ImageError, match=f"x cannot be read.*{sentence}|x (has|ends).*{sentence}"):
        read(data, "x")


def test_a_chain_of_directories_or_of_scans_is_not_followed():
    """Both took seconds or minutes: 7 s for 32,000 directories, 28 s for 60,000 scans."""
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(ImageError, match=r"x has 8 or more pages: save"),
    ):
        patch.setattr(TiffImageFile, "n_frames", property(lambda _: pytest.fail("all directories were read")))
        read(chain(1000), "x")
    jpeg = FILES["jpeg-progressive"]
    scan = jpeg[jpeg.rfind(b"\xff\xda") : -2]
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(ImageError, match=r"x is a JPEG file of 1,0.. scans"),
    ):
        patch.setattr(ImageFile, "load", lambda _: pytest.fail("the scans were decoded"))
        read(jpeg[:-2] + 1000 * scan + jpeg[-2:], "x")


def test_what_a_command_refines_leaves_broken_files_out(tmp_path):
    from simgan import Refiner
    from simgan.refining.files import refine_path

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "whole.png").write_bytes(FILES["png"])
    (tmp_path / "in" / "broken.tif").write_bytes(without_width(chain(2)))
    done = refine_path(Refiner.from_pretrained("eyes"), tmp_path / "in", tmp_path / "out", skip_bad=True)
    assert done.images == 1
    assert done.broken == ["broken.tif cannot be read as an image: Missing dimensions"]
