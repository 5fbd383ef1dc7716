"""Files of visitors are read in processes of their own: limits of time, of memory and of all files of an event."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from browser import wait_until
from PIL import Image
from test_demo_archives import pack, png

from simgan import ImageError
from simgan.images.files import encode_like, open_image
from simgan.space import uploads
from simgan.space.uploads import Worker, open_uploads, read_bytes


@pytest.fixture
def paths(tmp_path):
    """Write files and give their paths."""

    def write(**files):
        for name, data in files.items():
            (tmp_path / name.replace("_", ".")).write_bytes(data)
        return [str(tmp_path / name.replace("_", ".")) for name in files]

    return write


def never(*_):
    while True:
        pass


def greedy(number, _):
    return len(bytearray(number))


def slow_jpeg(scans):
    """A progressive JPEG whose last scan is repeated: 28 s for 60,000 of them."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300), np.uint8)).save(
        file, "JPEG", progressive=True
    )
    data = file.getvalue()
    scan = data[data.rfind(b"\xff\xda") : -2]
    return data[:-2] + scans * scan + data[-2:]


def test_a_file_that_takes_too_long_ends_its_process_with_a_sentence_and_the_next_one_is_read(paths, monkeypatch):
    monkeypatch.setattr(uploads, "_open", never)
    monkeypatch.setattr(uploads, "SECONDS", 0.5)
    (path,) = paths(slow_png=png())
    assert uploads.call(uploads.count_pixels, [(Path(path), "slow.png")]) == [400]
    start = time.monotonic()
    (error,) = open_uploads([path])
    assert str(error).startswith("slow.png takes more than 0.5 seconds, or too much memory, to read")
    assert time.monotonic() - start < 5
    monkeypatch.setattr(uploads, "SECONDS", 10)
    assert read_bytes(png(), "next.png").size == (20, 20)


def test_a_file_that_takes_too_much_memory_is_a_sentence():
    with pytest.raises(ImageError, match=r"^b takes more than 10 seconds, or too much memory"):
        uploads.call(greedy, [(1000, "a"), (2 * uploads.MEMORY, "b")])
    assert uploads.call(greedy, [(1000, "a")]) == [1000]


def test_a_jpeg_of_many_scans_and_a_tiff_of_many_directories_end_at_once(paths):
    with Image.open(io.BytesIO(png())) as image:
        file = io.BytesIO()
        image.save(file, "TIFF")
    tiff = file.getvalue()
    start = struct.unpack_from("<L", tiff, 4)[0]
    directory = tiff[start : start + 2 + 12 * struct.unpack_from("<H", tiff, start)[0]]
    chain = bytearray(tiff)
    struct.pack_into("<L", chain, start + len(directory), len(tiff))
    for number in range(1, 32_000):
        chain += directory + struct.pack("<L", len(tiff) + number * (len(directory) + 4))
    for name, data, sentence in (
        ("slow_jpg", slow_jpeg(150), "slow.jpg is a JPEG file of 1[0-9]{2} scans"),
        ("chain_tif", bytes(chain), "chain.tif has 8 or more pages"),
    ):
        begin = time.monotonic()
        (error,) = open_uploads(paths(**{name: data}))
        assert re.match(sentence, str(error))
        assert time.monotonic() - begin < 3
    assert open_uploads(paths(fine_jpg=slow_jpeg(40)))[0].image.size == (300, 300)


def test_ordinary_images_are_read_in_parallel_each_its_own(paths):
    files = {f"i{number}_png": png(20 + number, 30) for number in range(8)}
    found = {}

    def read(path, name):
        found[name] = open_uploads([path])[0].image.size

    threads = [threading.Thread(target=read, args=pair) for pair in zip(paths(**files), files, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == {f"i{number}_png": (20 + number, 30) for number in range(8)}


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {"dpi": (72, 72)}),
        ("PNG", "I;16", {}),
        ("JPEG", "RGB", {"quality": 70, "subsampling": 2, "icc_profile": b"profile"}),
        ("TIFF", "L", {"compression": "tiff_lzw"}),
        ("WEBP", "RGB", {"lossless": True}),
        ("GIF", "L", {}),
    ],
)
def test_an_image_comes_from_the_process_with_all_that_its_file_is_written_with(kind, mode, options):
    values = np.random.default_rng(0).integers(0, 255, (20, 30, 4), np.uint8)
    deep = Image.fromarray(values[..., 0].astype(np.uint16) * 100)
    file = io.BytesIO()
    (deep if mode == "I;16" else Image.fromarray(values).convert(mode)).save(file, kind, **options)
    here, there = open_image(file.getvalue()), read_bytes(file.getvalue(), "x")
    assert (there.format, there.mode, there.size) == (kind, here.mode, here.size)
    assert (np.asarray(there) == np.asarray(here)).all()
    assert encode_like(there, there) == encode_like(here, here)


def test_arrays_come_back_too():
    file = io.BytesIO()
    np.save(file, np.arange(600, dtype=np.uint16).reshape(20, 30))
    assert (read_bytes(file.getvalue(), "x.npy") == np.arange(600).reshape(20, 30)).all()


def test_what_exceeds_a_limit_is_told_of_that_file_and_the_others_are_read(paths, monkeypatch):
    small = paths(a_png=png(), b_png=png())
    with monkeypatch.context() as patch, pytest.raises(ImageError, match="2 images are too many at once: at most 1"):
        patch.setattr(uploads, "COUNT", 1)
        open_uploads(small)
    for limit, value, sentence in (
        ("FILE_BYTES", 100, "a.png has 0 MB: at most 0 are taken"),
        ("EVENT_BYTES", 10, "The upload up to a.png has 0 MB: at most 0 are taken at once here"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(uploads, limit, value)
            assert sentence in str(open_uploads(small)[0])
    broken, gone, fine = open_uploads([*paths(x_png=b"no image"), "/nowhere/gone.png", small[0]])
    assert "x.png is no image that can be read here: send one of PNG, JPEG" in str(broken)
    assert "gone.png was deleted here, as uploads are after a while: send it again" in str(gone)
    assert fine.image.size == (20, 20)


def test_an_archive_is_looked_at_in_the_process(tmp_path):
    file = pack(tmp_path / "a.zip", {"1.png": png(), "2.png": png()[:20]})
    with pytest.raises(ImageError, match=r"2\.png in a\.zip is no image"):
        uploads.call(uploads.check_archive, [(file, "a.zip")])
    file = pack(tmp_path / "b.zip", {"1.png": png()})
    assert uploads.call(uploads.check_archive, [(file, "b.zip")]) == [{"1.png": 400}]


def test_a_process_is_small_and_ends_with_its_input():
    worker = Worker()
    (modules,) = worker.call(loaded_modules, [(None, "x")], 30)
    assert "numpy" in modules
    assert not {"torch", "gradio", "cv2"} & modules
    process = worker.process
    worker._pipe.close()
    process.join(30)
    assert process.exitcode == 0
    worker.process = None


def loaded_modules(*_):
    import sys

    return {name.partition(".")[0] for name in sys.modules}


ORPHAN = """
from simgan.space.uploads import Worker
from test_space_decoding import loaded_modules, never
worker = Worker()
worker.call(loaded_modules, [(None, "x")], 60)
print(worker.process.pid, flush=True)
worker.call(never, [(None, "x")], 60)
"""


def test_a_process_ends_with_the_one_that_started_it_whatever_it_is_at():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", ORPHAN], env=environment, stdout=subprocess.PIPE) as starter:
        file = Path(f"/proc/{int(starter.stdout.readline())}/stat")
        time.sleep(0.5)
        assert file.exists()
        starter.kill()
    assert wait_until(lambda: not file.exists() or file.read_text().rsplit(")")[-1].split()[0] == "Z")
