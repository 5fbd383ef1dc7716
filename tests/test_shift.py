"""The iris is found where it is, and a shift that was made is the shift that is measured."""

import cv2
import numpy as np
import pytest

from simgan import ImageError
from simgan.domains.iris import _interval, annotation_shift, gaze_directions, iris_centres
from simgan.images.arrays import equalize
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes


def discs(count=40):
    """Dark discs of 17 px on a bright eye, their centres (N, 2) between pixels."""
    centres = np.random.default_rng(0).uniform((20, 14), (34, 20), (count, 2))
    y, x = np.mgrid[:35, :55]
    distance = np.hypot(x - centres[:, 0, None, None], y - centres[:, 1, None, None])
    images = 40 + 160 * np.clip(distance - 8.5 + 0.5, 0, 1)
    return images.astype(np.uint8), centres


def moved(images, x, y=0.0):
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float64)
    return np.stack([cv2.warpAffine(i, matrix, (55, 35), borderMode=cv2.BORDER_REPLICATE) for i in images])


def test_the_centre_of_a_disc_is_found_between_pixels():
    images, centres = discs()
    assert np.abs(iris_centres(images) - centres).max() < 0.15


@pytest.mark.parametrize("world", [eyes, camera])
def test_true_centres_of_simulated_irises_are_found(world):
    images, labels = world.render(range(200))
    images = np.stack([equalize(image) for image in images])
    true = labels["iris"].mean(1)
    error = np.linalg.norm(iris_centres(images, true) - true, axis=1)
    assert np.isfinite(error).mean() > 0.85
    assert np.nanmedian(error) < 0.8


@pytest.mark.parametrize("pixels", [0.0, 0.5, 1.0, 2.0])
def test_a_shift_that_was_made_is_measured(pixels):
    images = camera.render(range(120))[0]
    shift = annotation_shift(images, moved(images, pixels))
    assert shift.median == pytest.approx(pixels, abs=0.15)
    assert shift.failed < 0.2
    assert shift.median_interval[0] <= shift.median <= shift.median_interval[1]
    assert shift.mean_interval[0] <= shift.mean <= shift.mean_interval[1]


def test_each_group_has_the_shift_that_was_made_in_it():
    images = discs()[0]
    after = np.concatenate([images[:20], moved(images[20:], 1.0)])
    groups = {"person": ["a"] * 20 + ["b"] * 20, "gaze": ["ahead", "up"] * 20}
    shift = annotation_shift(images, after, groups=groups)
    assert shift.groups["person"]["a"].median == pytest.approx(0, abs=0.05)
    assert shift.groups["person"]["b"].median == pytest.approx(1, abs=0.1)
    assert shift.groups["gaze"]["up"].mean == pytest.approx(0.5, abs=0.1)
    assert [one.count for one in shift.groups["gaze"].values()] == [20, 20]
    assert shift.p90 <= shift.p99
    assert shift.finder.median == shift.repeatability < 0.25


def test_gaze_is_named_by_the_larger_angle_as_seen_in_the_image():
    degrees = {(0, 0): "ahead", (9, -9): "ahead", (20, 15): "up", (-20, 15): "down", (5, 30): "left", (5, -30): "right"}
    pitch, yaw = np.radians(list(degrees)).T
    assert gaze_directions(pitch, yaw) == list(degrees.values())
    assert gaze_directions([None, 0.5], [0.1, 0.0]) == ["unknown", "up"]


@pytest.mark.parametrize(("statistic", "true"), [(np.mean, np.exp(0.125)), (np.median, 1.0)])
def test_the_bootstrap_holds_the_true_value_as_often_as_it_says(statistic, true):
    draws = np.random.default_rng(0)
    intervals = [_interval(draws.lognormal(0, 0.5, 80), statistic, draws) for _ in range(150)]
    assert 0.88 <= np.mean([low <= true <= high for low, high in intervals]) <= 0.99


def test_the_finder_repeats_itself_to_a_quarter_of_a_pixel():
    images = camera.render(range(120))[0]
    assert annotation_shift(images, images).repeatability < 0.25


def test_real_renders_are_found_again_to_a_quarter_of_a_pixel(shared_data):
    files = sorted((shared_data / "eyes_synthetic" / "unityeyes").glob("*.[jp][pn]g"))
    images = np.stack([equalize(cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)) for file in files])
    shift = annotation_shift(images, images)
    assert shift.repeatability < 0.25
    assert shift.failed < 0.15


def test_what_did_not_move_has_no_shift():
    images = np.stack([equalize(image) for image in camera.render(range(120))[0]])
    shift = annotation_shift(images, images)
    assert shift.trimmed_mean < 0.02
    assert shift.failed < 0.1


def test_centres_scale_with_the_images():
    images, centres = discs()
    twice = np.stack([cv2.resize(image, (110, 70), interpolation=cv2.INTER_LINEAR) for image in images])
    assert np.abs(iris_centres(twice) - ((centres + 0.5) * 2 - 0.5)).max() < 0.3


def test_the_worst_pairs_are_left_out_of_the_trimmed_mean_alone():
    images = discs()[0]
    after = moved(images, 0.5)
    after[:2] = moved(images[:2], 5.0)
    shift = annotation_shift(images, after)
    assert shift.trimmed_mean == pytest.approx(0.5, abs=0.1)
    assert shift.mean > shift.trimmed_mean + 0.1
    assert shift.share_over_3px == pytest.approx(0.05)


def test_an_image_without_an_iris_is_counted_as_failed():
    flat = np.full((5, 35, 55), 90, np.uint8)
    shift = annotation_shift(flat, flat)
    assert shift.failed == 1
    assert np.isnan(shift.median)


def test_sets_that_do_not_fit_are_refused():
    images = discs()[0]
    with pytest.raises(ImageError, match="pairs of images"):
        annotation_shift(images, images[:3])
    with pytest.raises(ImageError, match="40 pairs need the person of each, not 2"):
        annotation_shift(images, images, groups={"person": ["a", "b"]})
    with pytest.raises(ImageError, match="uint8"):
        iris_centres(images.astype(float))
    with pytest.raises(ImageError, match="need starts"):
        iris_centres(images, np.zeros((2, 2)))
