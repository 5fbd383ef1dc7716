"""The patch distance against known answers."""

import cv2
import numpy as np
import pytest

from simgan import ImageError
from simgan.measures.realism import CONTRAST_FLOOR, measure_patches, measure_realism, patch_swd
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes


def noise(count=60, seed=0, deviation=20.0):
    values = np.random.default_rng(seed).normal(120, deviation, (count, 35, 55))
    return np.clip(values, 0, 255).astype(np.uint8)


def test_a_set_is_at_no_distance_from_itself():
    assert patch_swd(noise(), noise()) == 0


def test_the_distance_of_noise_is_that_of_the_gaussians_to_which_it_projects(monkeypatch):
    monkeypatch.setattr("simgan.measures.realism.SCALES", 1)
    # A projection of a standardized patch is normal with deviation σ / (σ + 0.05), less the part of the mean; and
    # two centred normals are |σ₁ − σ₂| · E|z| apart.
    deviations = [sigma / 255 / (sigma / 255 + CONTRAST_FLOOR) for sigma in (20, 40)]
    expected = np.sqrt(48 / 49) * np.sqrt(2 / np.pi) * (deviations[1] - deviations[0])
    assert patch_swd(noise(), noise(seed=1, deviation=40.0)) == pytest.approx(expected, rel=0.05)


def test_two_draws_of_one_world_are_closer_than_two_worlds():
    real = camera.render(range(300))[0]
    floor = patch_swd(real[:150], real[150:])
    assert patch_swd(eyes.render(range(150))[0], real) > 3 * floor


def test_standardized_patches_do_not_see_brightness():
    dark, bright = noise(), noise() + np.uint8(40)
    assert patch_swd(dark, bright) == pytest.approx(0, abs=1e-3)


def test_the_distance_grows_with_blur():
    real = camera.render(range(100))[0]
    distances = [
        patch_swd(np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in real]), real) for sigma in (0.5, 1, 2)
    ]
    assert distances == sorted(distances)


@pytest.mark.parametrize("images", [np.zeros((0, 35, 55), np.uint8), np.zeros((2, 35, 55)), np.zeros((2, 9, 9), "u1")])
def test_what_cannot_be_compared_is_refused(images):
    with pytest.raises(ImageError, match=r"realism compares|hold no 7×7 patch"):
        patch_swd(images, noise())


def measured(refined, real, raw, draws):
    return measure_patches(refined, real, raw, draws=draws)


def test_images_halfway_to_real_close_a_part_of_the_gap():
    real, raw = camera.render(range(120))[0], eyes.render(range(60))[0]
    mixed = np.concatenate([raw[:30], camera.render(range(200, 230))[0]])
    (distance, before, floor), closed = measured(mixed, real, raw, 30)
    assert before.value == patch_swd(raw, real)
    assert floor.value == patch_swd(real[:60], real[60:])
    assert closed.value == pytest.approx((before.value - distance.value) / (before.value - floor.value))
    assert 0.2 < closed.value < 0.9
    assert all(one.low < one.value < one.high for one in (distance, before, floor, closed))


def test_images_that_were_not_refined_close_nothing_and_have_no_interval():
    real, raw = camera.render(range(60))[0], eyes.render(range(40))[0]
    _, closed = measured(raw, real, raw, 10)
    assert (closed.low, closed.value, closed.high) == (0, 0, 0)  # the same images are drawn of both


def test_real_against_real_leaves_no_share_of_a_gap():
    real = noise(40)
    assert np.isnan(measured(real, real, real, 5)[1].value)


def test_the_interval_holds_the_spread_of_fresh_draws():
    real, raw = camera.render(range(1000, 1100))[0], eyes.render(range(50))[0]
    (distance, _, _), _ = measured(raw, real, raw, 60)
    fresh = [
        patch_swd(eyes.render(range(n, n + 50))[0], camera.render(range(n, n + 100))[0]) for n in range(50, 2450, 100)
    ]
    assert 0.4 < np.std(fresh) * 2 * 1.96 / (distance.high - distance.low) < 2


def test_colour_images_are_measured_and_shown_by_their_rows():
    grey = [camera.render(range(60))[0], eyes.render(range(40))[0]]
    real, raw = (np.repeat(images[..., None], 3, axis=-1) for images in grey)
    result = measure_realism(raw, real, raw)
    patches, told = result.rows
    assert patches.raw.value == pytest.approx(patch_swd(*reversed(grey)), rel=0.1)  # other patches, other directions
    assert (patches.name, patches.factor, told.name, told.unit) == ("patch distance", 1000, "classifier accuracy", " %")


def test_real_images_that_are_sorted_are_told_of_as_their_halves_differ():
    rng = np.random.default_rng(0)
    classes = [np.clip(rng.normal(mean, 20, (60, 16, 16)), 0, 255).astype(np.uint8) for mean in (60, 180)]
    in_order, mixed = np.concatenate(classes), rng.permutation(np.concatenate(classes))
    raw = rng.integers(0, 256, (40, 16, 16), np.uint8)
    assert "shuffle images that are sorted by class" in measure_realism(raw, in_order, raw).note
    assert "sorted" not in measure_realism(raw, mixed, raw).note


def test_another_hue_is_a_distance_though_its_grey_is_the_same():
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 180, (20, 32, 32, 1))
    reddish = np.clip(grey + np.array([40, -20, 10]), 0, 255).astype(np.uint8)
    neutral = np.repeat(grey, 3, -1).astype(np.uint8)
    assert patch_swd(reddish, neutral) > 3 * patch_swd(neutral[::2], neutral[1::2])
    with pytest.raises(ImageError, match="of the same channels"):
        patch_swd(reddish, reddish[..., 0])


def test_what_gives_no_realism_is_refused():
    with pytest.raises(ImageError, match="at least 2 images"):
        measure_realism(noise(1), noise(), noise(1))
    with pytest.raises(ImageError, match="before and after refining, not 60 and 50"):
        measure_realism(noise(50), noise(), noise())
