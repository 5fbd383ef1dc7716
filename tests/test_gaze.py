"""The gaze network learns, is fixed by its seed, and refuses what does not fit; its errors are angles."""

import numpy as np
import pytest

from simgan import ConfigError, ImageError
from simgan.evaluation.gaze import _error, _result, evaluate_gaze, gaze_vectors
from simgan.simulators import eyes


def labelled(indices):
    images, labels = eyes.render(indices)
    return images, np.stack([labels["pitch"], labels["yaw"]], 1)


def test_errors_are_angles_between_directions():
    straight = np.zeros((1, 2))
    assert np.allclose(gaze_vectors(straight), [[0, 0, -1]])
    assert _error(np.radians([[10.0, 0.0]]), straight) == pytest.approx(10)
    assert _error(np.radians([[0.0, -7.0]]), straight) == pytest.approx(7)
    truth = np.radians([[0.0, 0.0], [5.0, 10.0], [-5.0, 3.0]])
    result = _result(gaze_vectors(truth + np.radians([2.0, -1.0])), truth, seed=0)
    assert result.offset == pytest.approx((2, -1))
    assert result.error_without_offset == pytest.approx(0, abs=1e-5)
    assert result.correlation_pitch == pytest.approx(1)


def test_a_network_learns_gaze():
    images, angles = labelled(np.arange(800))
    test, truth = labelled(np.arange(5000, 5150))
    result = evaluate_gaze(images, angles, test, truth, seed=1, steps=200, batch=24, width=0.25, learning_rate=2e-3)
    assert result.error < 0.6 * result.guessing
    assert min(result.correlation_pitch, result.correlation_yaw) > 0.6
    assert (result.count, result.seed) == (150, 1)


def test_a_seed_fixes_the_estimates():
    images, angles = labelled(np.arange(60))
    first, again, other = (
        evaluate_gaze(images, angles, images, angles, seed=seed, steps=4, batch=16, width=0.25) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.estimates, again.estimates)
    assert not np.array_equal(first.estimates, other.estimates)


def test_guessing_is_the_error_of_the_mean():
    truth = np.radians([[0.0, 10.0], [0.0, -10.0]])
    assert _result(gaze_vectors(truth), truth, seed=0).guessing == pytest.approx(10)


@pytest.mark.parametrize(
    ("images", "angles", "sentence"),
    [
        (np.zeros((4, 35, 55), np.float32), np.zeros((4, 2)), "must be uint8"),
        (np.zeros((4, 35, 55), np.uint8), np.zeros((3, 2)), r"must be \(4, 2\)"),
        (np.zeros((4, 35, 55), np.uint8), np.full((4, 2), np.nan), "finite and in radians"),
        (np.zeros((4, 35, 55), np.uint8), np.full((4, 2), 45.0), "finite and in radians"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, angles, sentence):
    whole, labels = labelled(np.arange(4))
    with pytest.raises(ImageError, match=sentence):
        evaluate_gaze(images, angles, whole, labels, seed=0, steps=1)


def test_crops_of_two_sizes_and_impossible_settings_are_refused():
    whole, labels = labelled(np.arange(4))
    with pytest.raises(ImageError, match="crop alike"):
        evaluate_gaze(whole, labels, whole[:, :30], labels, seed=0, steps=1)
    with pytest.raises(ConfigError, match="must be positive"):
        evaluate_gaze(whole, labels, whole, labels, seed=0, steps=0)
