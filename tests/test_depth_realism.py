"""Depth realism against what is known: planes, holes, outlines and steps made by the test, and a surface moved."""

import json
import re

import cv2
import numpy as np
import pytest
from hand_images import SIDE, dataset, hands

from simgan import ImageError, Refiner, RefinerConfig
from simgan.cli import main
from simgan.measures.depth import (
    depth_levels,
    edge_jaggedness,
    hole_share,
    measure_depth_realism,
    measure_surface_shift,
    plane_residual,
    step_counts,
)
from simgan.measures.realism import patch_swd

Y, X = np.mgrid[:SIDE, :SIDE]
RADIUS, ANGLE = np.hypot(X - 112, Y - 112), np.arctan2(Y - 112, X - 112)


def disc(values, radius=70):
    return np.where(radius > RADIUS, values, 0).astype(np.uint16)


def as_a_sensor_sees(images, seed):
    """Holes, noise, edges that crumble, and steps of 4 mm."""
    rng = np.random.default_rng(seed)
    seen = np.round((images + rng.normal(0, 3, images.shape)) / 4) * 4
    edges = np.stack([cv2.erode(image, np.ones((3, 3))) == 0 for image in images])
    lost = rng.random(images.shape) < np.where(edges, 0.5, 0.05)
    return np.where((images > 0) & ~lost, seen, 0).astype(np.uint16)


def test_a_plane_has_no_residual_and_noise_has_its_own():
    assert plane_residual(disc(500 + 2 * X + Y)) == pytest.approx(0, abs=1e-3)
    noise = np.random.default_rng(0).normal(0, 6, X.shape)
    assert plane_residual(disc((700 + X + noise).round())) == pytest.approx(6, rel=0.05)
    assert np.isnan(plane_residual(disc(600, radius=2)))


def test_the_share_of_holes_is_that_of_the_pixels_taken_out():
    image = disc(600)
    taken = image.copy()
    taken[90:110, 100:130] = 0
    assert hole_share(image) == 0
    assert hole_share(taken) == pytest.approx(600 / (image > 0).sum())
    taken[:, :20] = 0  # outside the hand nothing is a hole
    assert hole_share(taken) == pytest.approx(600 / (image > 0).sum())


def test_a_rough_outline_is_rough_and_one_cut_by_the_crop_is_not():
    smooth = edge_jaggedness(disc(600))
    wave = edge_jaggedness(disc(600, radius=70 + 3 * np.sin(60 * ANGLE)))
    rough = edge_jaggedness(disc(600, radius=70 + np.random.default_rng(0).uniform(-3, 3, X.shape)))
    assert smooth < 0.35
    assert wave > 2 * smooth
    assert rough > 2 * smooth
    assert edge_jaggedness(np.where(Y + 0 * X > 100, 600, 0).astype(np.uint16)) < 0.5
    assert np.isnan(edge_jaggedness(np.zeros((SIDE, SIDE), np.uint16)))


def test_levels_and_steps_are_those_of_the_depth():
    ramp = disc(500 + X)
    assert depth_levels(ramp) == 1
    assert depth_levels(ramp // 3 * 3) == pytest.approx(1 / 3, abs=0.02)
    counts = step_counts(disc(500 + 3 * X))
    assert set(np.flatnonzero(counts)) == {0, 3}  # down and across
    assert abs(counts[0] - counts[3]) <= 2 * SIDE


def test_floats_have_the_patch_distance_of_the_bytes_they_stand_for(monkeypatch):
    monkeypatch.setattr("simgan.measures.realism.SCALES", 1)
    rng = np.random.default_rng(0)
    bytes_ = [rng.integers(0, scale, (8, 40, 40), dtype=np.uint8) for scale in (100, 255)]
    floats = [images.astype(np.float32) / 255 for images in bytes_]
    assert patch_swd(*bytes_) == pytest.approx(patch_swd(*floats), rel=1e-4)


def test_images_of_one_world_lie_at_the_floor_and_clean_ones_above():
    real, refined = (as_a_sensor_sees(hands(12, seed)[0], seed) for seed in (1, 2))
    result = measure_depth_realism(refined, real, hands(12, 2)[0])
    rows = {row.name: row for row in result.rows}
    for name, row in rows.items():
        assert row.refined.value < row.raw.value, name
        assert row.refined.low <= row.floor.high, name
    for name in ("holes", "detail patches"):
        assert rows[name].raw.low > rows[name].refined.high
    assert rows["holes"].means["raw"] < 0.02 < 0.05 < rows["holes"].means["real"] < 0.15
    assert rows["depth steps"].raw.value > 5 * rows["depth steps"].refined.value
    assert result.closed_of == "detail patches" and result.closed.value > 0.5
    with pytest.raises(ImageError, match="depth is needed"):
        measure_depth_realism(refined.astype(np.uint8), real, real)


def test_a_surface_moved_by_2_mm_has_moved_by_2_mm():
    before = hands(6)[0]
    after = np.where(before > 0, before + 2, 0).astype(np.uint16)
    after[:, 112] = 0
    after[:, :10, :10] = 700
    shift = measure_surface_shift(before, after)
    assert (shift.median.value, shift.median.low, shift.p90.value) == (2, 2, 2)
    readings = (before > 0).sum((1, 2))
    lost, gained, median, p90 = shift.further
    assert (median.estimate.value, p90.estimate.value) == (2, 2)  # means over images
    assert lost.estimate.value == pytest.approx(np.mean((before[:, 112] > 0).sum(1) / readings))
    assert gained.estimate.value == pytest.approx(np.mean(100 / readings))
    after[0] = 0
    assert measure_surface_shift(before, after).missed == pytest.approx(1 / 6)
    with pytest.raises(ImageError, match="pairs of images"):
        measure_surface_shift(before, after[:3])


def test_a_refiner_of_hands_is_measured_in_depth(tmp_path, capsys):
    for name, seed in (("synthetic", 0), ("real", 1)):
        dataset(8, seed).to_parquet(tmp_path / f"{name}.parquet")
    Refiner(RefinerConfig(domain="hands", width=4, blocks=1, predict_residual=True)).save_pretrained(tmp_path / "same")
    given = ["--model", str(tmp_path / "same"), "--output", str(tmp_path / "figures.json")]
    main(["evaluate", "realism", str(tmp_path / "synthetic.parquet"), str(tmp_path / "real.parquet"), *given])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(row["refined"] == row["raw"] for row in figures["rows"])
    assert {"depth patches", "holes"} < {row["name"] for row in figures["rows"]}
    main(["evaluate", "shift", str(tmp_path / "synthetic.parquet"), *given])
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["median"]["value"] == 0
    assert [one["estimate"]["value"] for one in figures["further"]] == [0] * 4
    told = capsys.readouterr().out
    assert "plane residual" in told
    assert "how far the surface moved, over 8 pairs" in told
    assert re.search(r"median +0\.00 mm \(0\.00 to 0\.00\)", told)
