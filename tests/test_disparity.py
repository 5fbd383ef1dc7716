"""The steps of a camera's depth, learnt from its readings."""

import numpy as np
import pytest

from simgan import ConfigError, RefinerConfig
from simgan.disparity import Disparity
from simgan.simulators import depth_camera, hands


def surfaces(count=8, seed=0):
    """Tilted planes 500 to 900 mm away, in mm, with a wall far behind that must not count."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:80, :90]
    planes = [rng.uniform(500, 800) + rng.uniform(0, 0.6) * rows + rng.uniform(0, 0.5) * columns for _ in range(count)]
    walls = [np.where(columns > 60, 3000 + 7 * rows, plane) for plane in planes]
    return np.stack(walls)


@pytest.mark.parametrize(("scale", "phase"), [(345_000, 0.3), (120_000, -0.4)])
def test_steps_are_found_and_readings_lie_on_them(scale, phase):
    depth = surfaces()
    stored = np.rint(scale / (np.rint(scale / depth - phase) + phase)).astype(np.uint16)
    found = Disparity.learn(stored)
    assert found.scale == pytest.approx(scale, rel=5e-3)
    near = stored < 1000
    moved = np.abs(found.snap(stored).astype(int) - stored)[near]
    assert moved.max() <= 1 and (moved > 0).mean() < 0.2


def test_depth_to_the_millimetre_has_no_steps_to_speak_of():
    assert Disparity.learn(surfaces().round().astype(np.uint16)) is None
    assert Disparity.learn(hands.render(range(20), seed=3)[0]) is None


def test_the_look_alike_of_a_kinect_has_its_steps():
    found = Disparity.learn(depth_camera.render(range(40), seed=3)[0])
    true = depth_camera.FOCAL * depth_camera.BASELINE / depth_camera.STEP
    assert found.scale == pytest.approx(true, rel=0.01)


def test_a_reading_moves_by_half_a_step_and_none_stays_none():
    depth = np.arange(400, 4000, dtype=np.uint16).reshape(36, 100)
    depth[0, :5] = 0
    steps = Disparity(scale=300_000.0, phase=0.25)
    snapped = steps.snap(depth)
    assert (snapped[0, :5] == 0).all() and (snapped > 0).sum() == depth.size - 5
    there = depth > 0
    half = (depth.astype(float) ** 2 / 300_000 / 2)[there]
    assert (np.abs(snapped.astype(float) - depth)[there] <= 1.05 * half + 0.5).all()
    assert np.abs(steps.snap(snapped).astype(int) - snapped).max() == 0
    assert len(np.unique(snapped)) < 0.25 * len(np.unique(depth))


@pytest.mark.parametrize("wrong", [(0.0, 0.1), (1.0,), (float("inf"), 0)])
def test_a_disparity_that_is_none_is_told(wrong):
    with pytest.raises(ConfigError, match="disparity is for depth, a scale above 0 and a phase"):
        RefinerConfig(domain="hands", disparity=wrong)
    with pytest.raises(ConfigError, match="disparity is for depth"):
        RefinerConfig(domain="eyes", disparity=(300_000.0, 0.0))
