"""The kernel distance against known answers."""

import cv2
import numpy as np
import pytest

from simgan import ImageError
from simgan.measures.kernel_distance import kernel_distance, measure_kernel_distance, texture_features
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes

SHIFT, SIZE = 0.5, 8


def cube(mean, second, third):
    """E (s + 1)³ of s, the mean of SIZE independent products with these moments about 0."""
    variance, skew = second - mean**2, third - 3 * mean * second + 2 * mean**3
    squared = mean**2 + variance / SIZE
    cubed = mean**3 + 3 * mean * variance / SIZE + skew / SIZE**2
    return 1 + 3 * mean + 3 * squared + cubed


# Products of two of N(0, 1), of two of N(δ, 1), whose third moment is δ³ + 3δ, and of one of each.
EXACT = cube(0, 1, 0) + cube(SHIFT**2, (SHIFT**2 + 1) ** 2, (SHIFT**3 + 3 * SHIFT) ** 2) - 2 * cube(0, SHIFT**2 + 1, 0)


def draw(seed, count, shift=0.0, size=SIZE):
    return np.random.default_rng(seed).normal(shift, 1, (count, size))


def test_two_draws_of_one_world_are_at_no_distance_on_average():
    values = np.array([kernel_distance(draw(2 * n, 20), draw(2 * n + 1, 30)).value for n in range(150)])
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    assert (values < 0).any()


def test_shifted_gaussians_are_as_far_apart_as_their_moments_say():
    values = [kernel_distance(draw(2 * n, 500), draw(2 * n + 1, 500, SHIFT)).value for n in range(60)]
    assert np.mean(values) == pytest.approx(EXACT, rel=0.05)


def test_the_interval_holds_the_true_distance_as_often_as_it_says():
    estimates = [kernel_distance(draw(2 * n, 100), draw(2 * n + 1, 100, SHIFT)) for n in range(150)]
    assert 0.88 <= np.mean([one.low <= EXACT <= one.high for one in estimates]) <= 1


def test_persons_that_differ_make_the_distance_less_sure():
    rng = np.random.default_rng(0)
    persons = np.repeat(np.arange(8), 25)
    a, b = (rng.normal(0, 0.5, (200, 3)) + rng.normal(0, 1, (8, 3))[persons] for _ in range(2))
    mixed = rng.permutation(200)
    known = kernel_distance(a[mixed], b[mixed], groups=(persons[mixed].astype(str), persons[mixed].astype(str)))
    unknown = kernel_distance(a[mixed], b[mixed])
    assert known.value == pytest.approx(unknown.value)
    assert known.high - known.low > 2 * (unknown.high - unknown.low)


def test_textures_do_not_see_brightness_but_noise_and_blur():
    images = camera.render(range(60))[0] // 2 + np.uint8(20)
    features = texture_features(images)
    assert np.isfinite(features).all()
    assert np.abs(texture_features(images + np.uint8(60)) - features).max() < 0.01
    noisy = np.clip(images + np.random.default_rng(0).normal(0, 8, images.shape), 0, 255).astype(np.uint8)
    finest = slice(0, 32)  # of the shortest wavelength
    assert (texture_features(noisy).mean(0) > features.mean(0))[finest].all()
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in images])
    assert (texture_features(blurred).mean(0) < features.mean(0))[finest].all()


def test_images_of_the_other_world_are_further_than_the_floor_and_mixed_ones_between():
    real, raw = camera.render(range(160))[0], eyes.render(range(60))[0]
    mixed = np.concatenate([raw[:30], camera.render(range(200, 230))[0]])
    measured = measure_kernel_distance(mixed, real, raw)
    assert measured.floor.low < 0 < measured.floor.high
    assert measured.floor.high < measured.refined.value < measured.raw.value
    assert measured.raw.low < measured.raw.value < measured.raw.high


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ImageError, match="textures are those of uint8"):
        texture_features(np.zeros((2, 35, 55)))
    with pytest.raises(ImageError, match="finite features"):
        kernel_distance(draw(0, 5), draw(1, 5, size=2))
    with pytest.raises(ImageError, match="at least 2 images"):
        kernel_distance(draw(0, 1), draw(1, 5))
    with pytest.raises(ImageError, match="5 images need the person of each, not 2"):
        kernel_distance(draw(0, 5), draw(1, 5), groups=(["a", "b"], list("abcde")))
