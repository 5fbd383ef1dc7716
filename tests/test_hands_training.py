"""Training on depth: windows about the hand, measured in millimetres, from frames of any size."""

import dataclasses
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from simgan import ConfigError, Discriminator, Refiner, SourceError
from simgan.data.columns import as_dataset, features, image_cell
from simgan.domains.hands import HANDS
from simgan.images.codecs import DEPTH16
from simgan.images.depth import Window
from simgan.simulators.hands.camera import BASELINE, FOCAL, STEP
from simgan.training.bank import WINDOWS, Bank
from simgan.training.config import preset as preset_of
from simgan.training.data import Frames, depths_of, generator
from simgan.training.held_out import summarize, write_sheet
from simgan.training.loop import Run
from simgan.training.sources import load


def ramp(height, width):
    """A "hand" of 40×30 mm steps in the middle of nothing, 500 to 530 mm away."""
    frame = np.zeros((height, width), np.uint16)
    frame[height // 2 - 20 : height // 2 + 20, width // 2 - 15 : width // 2 + 15] = 500 + np.arange(30)
    return frame


def dataset(*frames):
    rows = [{"image": image_cell(frame), "file_name": f"{number}.png"} for number, frame in enumerate(frames)]
    return as_dataset(rows, features("image", "file_name"))


def rngs(count):
    return [generator(0, "window", number) for number in range(count)]


def test_windows_hold_a_part_of_the_hand_whatever_the_size_of_the_frame():
    frames = [ramp(96, 120), ramp(200, 64), ramp(64, 300)]
    windows = Frames(dataset(*frames)).windows([0, 1, 2, 0], 32, rngs(4))
    assert windows.shape == (4, 32, 32)
    assert windows.dtype == np.uint16
    for window in windows:
        depth = Window(480.0).to_depth(window * np.float32(2 / 65535) - 1)  # 20 mm before the nearest reading
        there = depth[depth > 0]
        assert len(there) > 100
        assert set(there) <= set(range(500, 530))  # to the millimetre
    with pytest.raises(SourceError, match=r"frame 1 is 64×200 pixels, too small for a window of 80"):
        Frames(dataset(*frames)).windows([1], 80, rngs(1))


def test_a_part_of_a_batch_of_windows_is_that_part():
    frames = Frames(dataset(*[ramp(80 + 4 * k, 90) for k in range(8)]))
    bank = Bank("synthetic", [frames, frames], 8, seed=3, window=32)
    whole = bank.draw(np.arange(40, 48))
    assert torch.equal(torch.cat([bank.draw(np.arange(40, 43)), bank.draw(np.arange(43, 48))]), whole)
    assert not torch.equal(bank.draw(np.arange(48, 56)), whole)
    assert len(bank) == 2 * 8 * WINDOWS and len(bank.parts[0].unique(dim=0)) > 40  # windows of a frame differ


def test_the_surface_moves_by_what_it_was_moved():
    stored = Frames(dataset(ramp(64, 64)))[np.array([0])]
    moved = np.where(stored < 60000, stored + round(2 * 0.9 * 65535 / 300), stored).astype(np.uint16)
    before, after, gone = (depths_of(values) for values in (stored, moved, np.full_like(stored, 65535)))
    shift = summarize(HANDS.shift(before, after, {}))
    assert (shift.median, shift.trimmed_mean, shift.failed) == (2, 2, 0)
    assert HANDS.realism(before, before) == 0
    assert summarize(HANDS.shift(before, gone, {})).failed == 1


def test_a_refiner_of_hands_is_trained_and_refines_frames(tmp_path, monkeypatch):
    config = dataclasses.replace(
        preset_of("hands"),
        output=tmp_path / "run",
        limit=16,
        steps=2,
        evaluate_every=2,
        batch_size=4,
        window=32,
        discriminator_warm_up=1,
        history_size=8,
        trackers=(),
        mixed_precision="no",
    )
    monkeypatch.setattr(sys, "argv", ["train"])
    run = Run(config, load(config))
    for _ in run.steps():
        run.trainer.update_refiner()
        run.trainer.update_discriminator()
    run.finish()
    assert run.trainer.history.state(2).dtype == torch.uint16
    assert [record["step"] for record in run.records] == [0, 2]
    assert run.records[0]["shift"] == 0 < run.records[0]["realism"]
    assert (tmp_path / "run/samples/step-000002.png").is_file()
    refiner = Refiner.from_pretrained(tmp_path / "run")
    assert refiner.config.domain == "hands"
    assert refiner.config.triangulation.scale == pytest.approx(FOCAL * BASELINE / STEP, rel=0.02)
    assert Discriminator.from_pretrained(tmp_path / "run").config.domain == "hands"
    frame = ramp(64, 80)
    assert refiner.refine(frame).dtype == np.uint16
    assert np.array_equal(refiner.refine(frame, strength=0), frame)


def test_a_sheet_shows_relief_moves_and_lost_readings_of_depth(tmp_path):
    before = ramp(128, 128)[None]
    after = before + (before > 0).astype(np.uint16) * 5  # half of the 10 mm that are white
    after[0, 64, 50:60] = 0
    write_sheet(tmp_path / "sheet.png", before, after, np.full((1, 8, 8), 0.5, np.float32), DEPTH16)
    rows = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int).reshape(4, 129, 129, 3)
    relief, refined, moved, _ = rows
    assert relief[0, 0].tolist() == refined[64, 55].tolist() == [0, 0, 0]
    assert relief[60, 50].sum() > relief[60, 77].sum() > 0  # near is bright
    assert moved[0, 0].tolist() == [128] * 3
    assert moved[60, 60].tolist() == [192] * 3
    assert moved[64, 55].tolist() == [230, 159, 0]


def test_what_is_for_depth_is_refused_for_eyes():
    with pytest.raises(ConfigError, match=r"eyes are not cut to windows: choose the preset images"):
        dataclasses.replace(preset_of("eyes"), window=32)
    with pytest.raises(ConfigError, match="weight is not for depth"):
        dataclasses.replace(preset_of("hands"), weight="points")
    with pytest.raises(ConfigError, match=r"window must be 0 \(whole images\) or at least 16 pixels, not 8"):
        dataclasses.replace(preset_of("hands"), window=8)
