"""What a camera that triangulates does to depth, learnt from its images: steps and shadows."""

import cv2
import numpy as np
import pytest
import torch

from simgan import ConfigError, RefinerConfig
from simgan.data import load
from simgan.images.depth import Windows, find_window
from simgan.preparation.triangulation import Triangulation, find_steps, learn_triangulation, opening
from simgan.simulators.hands import camera as depth_camera
from simgan.training.data import Frames


def snap(camera, depth):
    return camera.snap(torch.from_numpy(depth).int()).numpy().astype(np.uint16)


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
    found = Triangulation(*find_steps(stored))
    assert found.scale == pytest.approx(scale, rel=5e-3)
    near = stored < 1000
    moved = np.abs(snap(found, stored).astype(int) - stored)[near]
    assert moved.max() <= 1 and (moved > 0).mean() < 0.2


def test_depth_to_the_millimetre_has_no_steps_to_speak_of():
    assert find_steps(surfaces().round().astype(np.uint16)) == (0, 0)
    depth = np.arange(400, 2000, dtype=np.uint16).reshape(40, 40)
    assert np.array_equal(snap(Triangulation(), depth), depth)


def test_a_reading_moves_by_half_a_step_and_none_stays_none():
    depth = np.arange(400, 4000, dtype=np.uint16).reshape(36, 100)
    depth[0, :5] = 0
    steps = Triangulation(scale=300_000.0, phase=0.25)
    snapped = snap(steps, depth)
    assert (snapped[0, :5] == 0).all() and (snapped > 0).sum() == depth.size - 5
    there = depth > 0
    half = (depth.astype(float) ** 2 / 300_000 / 2)[there]
    assert (np.abs(snapped.astype(float) - depth)[there] <= 1.05 * half + 0.5).all()
    assert np.array_equal(snap(steps, snapped), snapped)
    assert len(np.unique(snapped)) < 0.25 * len(np.unique(depth))


def load_arrays(source, count):
    frames = Frames(load(source, size=None, limit=count))
    return np.stack(list(frames.each(range(count))))


def finger_before_a_palm():
    """A finger 10 px wide, 600 mm away, 60 mm before a palm that is 60 px wide."""
    depth = np.zeros((80, 100), np.uint16)
    depth[10:70, 20:80] = 660
    depth[15:65, 45:55] = 600
    return depth


@pytest.mark.parametrize(("baseline", "columns"), [(75.0, range(55, 62)), (-75.0, range(38, 45))])
def test_what_is_near_throws_a_shadow_away_from_the_projector(baseline, columns):
    depth = finger_before_a_palm()
    shaded = Triangulation(baseline=baseline, bridged=3).shade(depth)
    lost = (depth > 0) & (shaded == 0)
    # 75 mm are 56 px; on the finger the pattern is shifted by a tenth more than on the palm: 6 px, and a ray's width.
    rows, found = (set(places.tolist()) for places in np.nonzero(lost))
    assert (rows, found) == (set(range(15, 65)), set(columns))
    assert np.array_equal(shaded[~lost], depth[~lost])
    assert np.array_equal(Triangulation(baseline=baseline, bridged=9).shade(depth), depth)  # narrower ones are read


@pytest.mark.parametrize("camera", [Triangulation(baseline=75.0, bridged=3), Triangulation(baseline=-62.5, bridged=4)])
def test_many_images_get_the_shadows_of_one(camera):
    frames = np.concatenate([load_arrays("simulator:hands", 4), load_arrays("camera:hands", 4)])
    images = torch.from_numpy(frames).int()
    windows = Windows.of(images)
    found = [find_window(frame) for frame in frames]
    assert windows.near.flatten().tolist() == [window.near for window in found]
    kept = [np.median(frame[window.holds(frame)]) for frame, window in zip(frames, found, strict=True)]
    assert windows.middle.flatten().tolist() == kept
    shaded = np.stack([camera.shade(frame) for frame in frames])
    assert (shaded != frames).mean() > 1e-4
    assert np.array_equal(camera.shade_many(images, windows), shaded)


def test_the_look_alike_of_a_kinect_has_steps_and_shadows_and_renders_have_none():
    renders, others, recorded = (
        Frames(load(source, size=None, limit=64, seed=seed))
        for source, seed in (("simulator:hands", 3), ("simulator:hands", 5), ("camera:hands", 3))
    )
    found = learn_triangulation(lambda: renders.each(range(64)), lambda: recorded.each(range(64)))
    assert found.scale == pytest.approx(depth_camera.FOCAL * depth_camera.BASELINE / depth_camera.STEP, rel=0.01)
    assert 50 <= found.baseline <= 100
    assert learn_triangulation(lambda: renders.each(range(64)), lambda: others.each(range(64))) == Triangulation()


@pytest.mark.parametrize("wrong", [{"scale": -1.0}, {"scale": float("inf")}, {"phase": -1.0}, {"bridged": 0}])
def test_a_camera_that_is_none_is_told(wrong):
    with pytest.raises(ConfigError, match=r"scale must be at least 0, phase within 0\.5, bridged"):
        RefinerConfig(domain="hands", triangulation=wrong)
    with pytest.raises(ConfigError, match="triangulation is for depth, which images of the codec grey8 do not hold"):
        RefinerConfig(domain="eyes", triangulation={"scale": 300_000.0})


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_openings_are_those_of_opencv_to_the_bit(size):
    rng = np.random.default_rng(size)
    for shape in ((40, 60), (7, 90), (3, 3)):
        mask = cv2.blur(rng.random(shape).astype(np.float32), (3, 3)) > 0.4
        expected = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((size, size), np.uint8))
        assert np.array_equal(opening(mask, size), expected > 0)
