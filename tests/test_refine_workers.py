"""Refining in several processes: the same files as in one, whatever ends first."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from datasets import Dataset
from datasets import Image as ImageColumn
from PIL import Image

from simgan import ImageError, Refiner, SourceError
from simgan.images.files import read
from simgan.refining import processes, workers
from simgan.refining.files import refine_path
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def refiner():
    return Refiner.from_pretrained("eyes-simulated")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Forty images, of which two are broken, and chunks of four."""
    monkeypatch.setattr(workers, "FIRST", 2)
    monkeypatch.setattr(workers, "CHUNK", 1e-6)
    place = tmp_path / "in"
    for number, image in enumerate(eyes.render(range(40))[0]):
        (place / f"{number % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number % 2}" / f"{number:02}.png")
    for name in ("0/20.png", "1/31.png"):
        (place / name).write_bytes(b"no image")
    return place


def contents(place):
    return {p.relative_to(place): p.read_bytes() for p in place.rglob("*.png")}


def test_a_folder_becomes_the_same_files_in_two_processes(folder, tmp_path, refiner):
    done = [refine_path(refiner, folder, tmp_path / f"out{count}", skip_bad=True, workers=count) for count in (0, 2)]
    assert done[0] == done[1] and done[1].images == 38
    assert [line.split()[0] for line in done[1].broken] == ["0/20.png", "1/31.png"]
    assert contents(tmp_path / "out0") == contents(tmp_path / "out2")


def test_processes_that_are_no_forks_do_the_same(folder, tmp_path, refiner, monkeypatch):
    """As on a GPU, and where a fork is not safe."""
    spawned = multiprocessing.get_context("spawn")
    monkeypatch.setattr(processes.multiprocessing, "get_context", lambda kind: spawned)
    for count in (0, 2):
        refine_path(refiner, folder, tmp_path / f"out{count}", skip_bad=True, workers=count)
    assert contents(tmp_path / "out0") == contents(tmp_path / "out2")


def test_an_archive_and_a_data_set_become_the_same_in_two_processes(folder, tmp_path, refiner):
    shutil.make_archive(str(tmp_path / "in"), "zip", folder)
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in sorted(folder.rglob("*.png"))]
    Dataset.from_dict({"image": rows}).cast_column("image", ImageColumn()).to_parquet(str(tmp_path / "in.parquet"))
    for suffix in (".zip", ".parquet"):
        made = []
        for count in (0, 2):
            output = tmp_path / f"out{count}{suffix}"
            done = refine_path(refiner, tmp_path / f"in{suffix}", output, skip_bad=True, workers=count)
            assert done.images == 38 and len(done.broken) == 2
            made.append(output)
        if suffix == ".zip":
            for output in made:
                shutil.unpack_archive(output, output.with_suffix(""))
            assert contents(made[0].with_suffix("")) == contents(made[1].with_suffix(""))
        else:
            one, two = (Dataset.from_parquet(str(place), cache_dir=str(tmp_path / "cache")) for place in made)
            cells = [rows.cast_column("image", ImageColumn(decode=False))["image"] for rows in (one, two)]
            assert list(cells[0]) == list(cells[1])


def test_the_first_broken_image_is_named_and_what_came_before_it_is_kept(folder, tmp_path, refiner):
    with pytest.raises(ImageError, match=r"0/20\.png cannot be read"):
        refine_path(refiner, folder, tmp_path / "out", workers=2)
    before = [name for name in contents(folder) if str(name) < "0/20.png"]
    assert set(contents(tmp_path / "out")) <= {*before} and len(contents(tmp_path / "out")) >= len(before) - 4


def test_a_process_that_was_killed_is_told_and_the_next_call_goes_on(folder, tmp_path, refiner):
    first = os.getpid()

    def read_image(data, name):
        if name > "1" and os.getpid() != first:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(data, name)

    options = {"skip_bad": True, "workers": 2}
    with pytest.raises(SourceError, match=r"a process that refines was killed.*fewer --workers"):
        refine_path(refiner, folder, tmp_path / "out", read_image=read_image, **options)
    done = refine_path(refiner, folder, tmp_path / "out", **options)
    assert done.already and done.images + done.already == 38
    refine_path(refiner, folder, tmp_path / "alone", skip_bad=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


SLOWLY = """
import sys, time
from simgan import Refiner
from simgan.images.files import read
from simgan.refining.files import refine_path

def slowly(data, name):
    time.sleep(0.05)
    return read(data, name)

refine_path(Refiner.from_pretrained("eyes-simulated"), sys.argv[1], sys.argv[2], workers=2, read_image=slowly)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_was_killed(tmp_path, refiner):
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    for number, image in enumerate(eyes.render(range(160))[0]):
        Image.fromarray(image).save(place / f"{number:03}.png")
    run = subprocess.Popen([sys.executable, "-c", SLOWLY, str(place), str(out)], stderr=subprocess.DEVNULL)
    children, started = Path(f"/proc/{run.pid}/task/{run.pid}/children"), []
    until = time.monotonic() + 120
    while len(started) < 2 and run.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
        started = children.read_text(encoding="utf-8").split()
    run.kill()
    run.wait()
    assert len(started) == 2
    while any(Path(f"/proc/{number}").exists() for number in started):
        assert time.monotonic() < until
        time.sleep(0.05)
    before = contents(out)
    assert 2 * workers.FIRST <= len(before) < 160
    assert refine_path(refiner, place, out).already == len(before)
    assert len(contents(out)) == 160 and contents(out).items() >= before.items()
