"""`prepare`: shards that are mapped from disk, crops brought to real ones without labels, nothing half-written."""

import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pyarrow as pa
import pytest
from datasets import load_from_disk
from PIL import Image

from simgan import ConfigError, ImageError, SourceError
from simgan.cli import main
from simgan.data import Crops, load
from simgan.data.alignment import align, mean_image
from simgan.data.crop import Wanted
from simgan.data.prepare import prepare
from simgan.data.simulated import write_images
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated") / "eyes"
    write_images("simulator:eyes", folder, count=150, seed=0)
    return folder


@pytest.mark.parametrize("processes", [1, 2])
def test_what_was_prepared_is_what_the_source_has(simulated, tmp_path, processes):
    done = prepare(f"folder:{simulated}", tmp_path / "out", processes=processes)
    assert (done.count, done.broken, done.alignment) == (150, [], None)
    before, after = load(f"folder:{simulated}"), load_from_disk(str(tmp_path / "out"))
    assert after["file_name"] == before["file_name"]
    assert np.allclose(after["pupil"], before["pupil"])
    assert np.array_equal(Crops(load(str(tmp_path / "out")))[:], eyes.render(range(150))[0])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def held(source):
    """Bytes that Arrow allocates for crops that are being used."""
    before = pa.total_allocated_bytes()
    crops = Crops(load(source))
    crops[[0, len(crops) - 1]]
    return pa.total_allocated_bytes() - before


def test_a_prepared_set_is_mapped_not_held_in_memory(simulated, tmp_path):
    prepare(f"folder:{simulated}", tmp_path / "out", processes=1)
    data = load(str(tmp_path / "out"))
    assert [file["filename"].startswith(str(tmp_path / "out")) for file in data.cache_files] == [True]
    size = 150 * 35 * 55
    assert held(f"folder:{simulated}") > size
    assert held(str(tmp_path / "out")) < size / 10


def test_an_output_is_replaced_on_request_and_only_if_it_was_prepared(simulated, tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    prepare("simulator:eyes", out, limit=5, processes=1)
    with pytest.raises(SourceError, match="out exists: give another output, overwrite it"):
        prepare(f"folder:{simulated}", out, processes=1)
    with pytest.raises(SourceError, match="there is no folder"):
        prepare("folder:/no/such/folder", out, processes=1, overwrite=True)
    assert len(load(str(out))) == 5
    prepare(f"folder:{simulated}", out, limit=7, processes=1, overwrite=True)
    assert len(load(str(out))) == 7
    prepare(str(out), out, limit=3, overwrite=True)
    assert len(load(str(out))) == 3
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(SourceError, match="other holds something else than prepared crops"):
        prepare(f"folder:{simulated}", other, processes=1, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]


def test_a_run_that_was_killed_leaves_no_half_folder_and_the_next_one_clears_up(tmp_path):
    out, aside = tmp_path / "out", tmp_path / ".out.part"
    script = f"from simgan.data.prepare import prepare; prepare('simulator:eyes', {str(out)!r}, processes=1)"
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL) as run:
        while not (aside / "rows.arrow").exists() and run.poll() is None:
            time.sleep(0.02)
        run.kill()
    assert [path.name for path in tmp_path.iterdir()] == [aside.name]
    prepare("simulator:eyes", out, limit=5, processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("align", [None, "simulator:eyes"])
def test_a_place_that_cannot_be_written_is_named(simulated, tmp_path, align):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="out cannot be written"):
        prepare(f"folder:{simulated}", tmp_path / "file" / "out", align=align, processes=1)


def test_a_limit_draws_by_seed_and_simulators_prepare_too(tmp_path):
    assert prepare("simulator:eyes", tmp_path / "a", limit=40, processes=1).count == 40
    write_images("simulator:eyes", tmp_path / "files", count=40, seed=0)
    prepare(f"folder:{tmp_path / 'files'}", tmp_path / "b", limit=10, seed=1, processes=1)
    prepare(f"folder:{tmp_path / 'files'}", tmp_path / "c", limit=10, seed=2, processes=1)
    names = [load(str(tmp_path / name))["file_name"] for name in "bc"]
    assert len(names[0]) == len(names[1]) == 10
    assert names[0] != names[1]


def test_all_cores_are_counted_where_the_system_does_not_tell_which_may_be_used(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on Windows and macOS
    assert prepare("simulator:eyes", tmp_path / "out", limit=4).count == 4


def test_what_is_held_in_memory_is_prepared_too(tmp_path):
    assert prepare("shuffled:camera:eyes", tmp_path / "out", limit=4, processes=1).count == 4
    expected = Crops(load("shuffled:camera:eyes", limit=4))[:]
    assert np.array_equal(Crops(load(str(tmp_path / "out")))[:], expected)


def test_a_broken_file_stops_with_its_name_or_is_listed(tmp_path, capsys):
    write_images("simulator:eyes", tmp_path / "in", count=5, seed=0)
    (tmp_path / "in" / "simulator_0000003.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"simulator_0000003\.png"):
        prepare(f"folder:{tmp_path / 'in'}", tmp_path / "out", processes=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
    main(["prepare", f"folder:{tmp_path / 'in'}", str(tmp_path / "out"), "--skip-bad", "--processes", "1"])
    told = capsys.readouterr()
    assert "4 crops in" in told.out
    assert "left out:" in told.err and "simulator_0000003.png" in told.err
    with pytest.raises(SourceError, match="exists: give another output"):
        prepare(f"folder:{tmp_path / 'in'}", tmp_path / "out")


def test_a_broken_file_that_another_process_reads_is_named(simulated, tmp_path):
    shutil.copytree(simulated, tmp_path / "in")
    (tmp_path / "in" / "simulator_0000100.png").write_bytes(b"broken")
    with pytest.raises(ImageError, match=r"simulator_0000100\.png"):
        prepare(f"folder:{tmp_path / 'in'}", tmp_path / "out", processes=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_full_disk_leaves_nothing_half(simulated, tmp_path, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("datasets.Dataset.save_to_disk", full)
    with pytest.raises(SourceError, match="the disk is full"):
        prepare(f"folder:{simulated}", tmp_path / "out", processes=1)
    assert not list(tmp_path.iterdir())


def test_a_wrong_crop_is_found_and_mended_with_its_labels(simulated, tmp_path):
    scale, x, y = 1.15, 2.5, -1.5  # of the box that the frames below would have to be cut with
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for path in simulated.glob("*.png"):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        # a frame of which the middle third shows too little, off the centre
        matrix = np.array([[2 * scale, 0, 0], [0, 2 * scale, 0]], float)
        matrix[:, 2] = (np.array([164, 104]) / 2) - 2 * scale * np.array([27, 17]) - 2 * np.array([x, y])
        frame = cv2.warpAffine(image, matrix, (165, 105), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        Image.fromarray(frame[17:88, 27:138]).save(wrong / path.name)
    done = prepare(f"folder:{wrong}", tmp_path / "out", align=f"folder:{simulated}", processes=1)
    found = done.alignment.correction
    cut = 2 * 55 / 111  # px of the simulator's crop in a px of what `folder:` cuts from these frames
    assert found.scale == pytest.approx(scale * cut, rel=0.02)
    assert (found.x, found.y) == pytest.approx((-x, -y), abs=0.5)
    means = [mean_image(source, Wanted((55, 35))) for source in (str(tmp_path / "out"), f"folder:{simulated}")]
    left = align(*means).correction
    assert abs(left.x) < 0.5
    assert abs(left.y) < 0.5
    assert left.scale == pytest.approx(1, abs=0.02)
    assert Image.open(tmp_path / "out-alignment.png").size == (3 * 57 * 6, 37 * 6)


def test_crops_that_may_not_leave_their_photographs_do_not_drift(shared_data, tmp_path):
    source = f"webcam:{shared_data / 'eyes_real' / 'webcam_9blocks.parquet'}"
    real = f"folder:{shared_data / 'eyes_real' / 'mpiigaze_p00'}"
    found = prepare(source, tmp_path / "out", align=real, limit=300).alignment
    assert (found.correction.x, found.correction.y) == pytest.approx((0, 0), abs=3)  # -6 px when rounds added up
    means = [mean_image(name, Wanted((55, 35), limit=1000)) for name in (str(tmp_path / "out"), real)]
    assert found.after == pytest.approx(align(*means).before, abs=0.05)  # of what was written, not of what was hoped


def test_labels_move_with_a_corrected_crop(shared_data, tmp_path):
    source = f"syntheseyes:{shared_data / 'eyes_synthetic' / 'syntheseyes'}"
    real = f"folder:{shared_data / 'eyes_real' / 'mpiigaze'}"
    correction = prepare(source, tmp_path / "out", align=real, processes=1).alignment.correction
    before, after = load(source), load(str(tmp_path / "out"))
    middle = np.array([27.0, 17.0])
    expected = (np.array(before["pupil"]) - middle - [correction.x, correction.y]) / correction.scale + middle
    assert np.allclose(after["pupil"], expected, atol=1e-3)


@pytest.mark.parametrize("real", ["mpiigaze", "mpiigaze_p00"])
def test_crops_by_geometry_need_little_correction(shared_data, real):
    sources = [
        f"syntheseyes:{shared_data / 'eyes_synthetic' / 'syntheseyes_grey.parquet'}",
        f"folder:{shared_data / 'eyes_real' / real}",
    ]
    found = align(*(mean_image(source, Wanted((55, 35), limit=600)) for source in sources))
    assert found.correction.scale == pytest.approx(1, abs=0.12)
    assert max(abs(found.correction.x), abs(found.correction.y)) < 3  # of 55: persons differ as much
    assert "which is weak: look at both" in found.summary  # SynthesEyes looks anywhere: its mean has no iris


def test_what_is_not_cut_from_frames_cannot_be_aligned(simulated, tmp_path):
    with pytest.raises(ConfigError, match="is not cut from frames"):
        prepare("simulator:eyes", tmp_path / "out", align=f"folder:{simulated}", limit=20)
