"""The gaze network learns, is fixed by its seed, and refuses what does not fit; its errors are angles."""

import functools
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from simgan import ConfigError, ImageError, SourceError
from simgan.experiments.base import LabelledImages
from simgan.experiments.gaze.experiment import GazeExperiment, _augmented, angle_errors, gaze_angles, gaze_vectors
from simgan.simulators.eyes import renders as eyes

experiment = functools.partial(GazeExperiment, "simulator:eyes", "camera:eyes")
BLANK = LabelledImages(np.zeros((1, 35, 55), np.uint8), {})
TINY = experiment(steps=4, batch=16, width=0.25)


def labelled(indices):
    images, labels = eyes.render(indices)
    return images, np.stack([labels["pitch"], labels["yaw"]], 1)


def estimates_of(training, images, angles, tests, seed):
    """Train a network on one set of crops and let it estimate the gaze of another."""
    network = training.build(BLANK, seed)
    training.train(network, LabelledImages(images, {"angles": angles}), seed)
    return training.estimate(network, tests)


def measured(estimates, truth):
    return TINY.measure(estimates, {"angles": truth}).figures


def test_the_error_of_a_vector_rotated_by_an_angle_is_that_angle():
    generator = np.random.default_rng(0)
    angles = generator.uniform([-0.6, -0.9], [0.6, 0.9], (200, 2))
    turned = generator.uniform(1e-6, 60, 200)
    vectors = gaze_vectors(angles)
    axes = np.cross(vectors, generator.standard_normal((200, 3)))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    radians = np.radians(turned)[:, None]
    rotated = vectors * np.cos(radians) + np.cross(axes, vectors) * np.sin(radians)  # axes stand upright on vectors
    assert np.allclose(angle_errors(gaze_angles(rotated), angles), turned, rtol=1e-6, atol=1e-9)


def test_a_constant_offset_is_found_and_taken_off():
    assert np.allclose(gaze_vectors(np.zeros((1, 2))), [[0, 0, -1]])
    truth = np.radians([[0.0, 0.0], [5.0, 10.0], [-5.0, 3.0]])
    result = measured(truth + np.radians([2.0, -1.0]), truth)
    assert result["offset"] == pytest.approx((2, -1))
    assert result["error"] == pytest.approx(5**0.5, abs=0.02)
    assert result["error_without_offset"] == pytest.approx(0, abs=1e-9)
    assert result["correlation_pitch"] == pytest.approx(1)


def test_mean_and_median_differ_where_one_image_is_far_off():
    truth = np.zeros((5, 2))
    result = measured(np.radians([[1.0, 0], [1, 0], [1, 0], [1, 0], [46, 0]]), truth)
    assert (result["error"], result["median_error"]) == pytest.approx((10, 1))


def test_guessing_is_the_error_of_the_mean():
    truth = np.radians([[0.0, 10.0], [0.0, -10.0]])
    assert measured(truth, truth)["guessing"] == pytest.approx(10)


def test_a_network_learns_gaze():
    images, angles = labelled(np.arange(800))
    test, truth = labelled(np.arange(5000, 5150))
    training = experiment(steps=200, batch=24, width=0.25, learning_rate=2e-3)
    result = measured(estimates_of(training, images, angles, test, 1), truth)
    assert result["error"] < 0.7 * result["guessing"]
    assert min(result["correlation_pitch"], result["correlation_yaw"]) > 0.5


def test_a_seed_fixes_the_estimates():
    images, angles = labelled(np.arange(60))
    first, again, other = (estimates_of(TINY, images, angles, images, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_papers_network_at_full_width_has_the_papers_layers():
    network = experiment(width=1).build(BLANK, 0)
    shapes = [tuple(p.shape) for p in network.parameters() if p.ndim > 1]
    assert [shape[0] for shape in shapes] == [32, 32, 64, 80, 192, 1000, 3]
    assert shapes[5][1] == 9600


@pytest.mark.parametrize("kind", GazeExperiment.augmentations)
def test_each_augmentation_changes_crops_its_own_way_and_keeps_them_in_range(kind):
    images, _ = labelled(np.arange(16))
    crops = torch.from_numpy(images).float()[:, None] * (2 / 255) - 1
    changed, moved = _augmented(crops, (kind,), torch.Generator().manual_seed(0))
    assert changed.shape == crops.shape
    assert changed.abs().max() <= 1
    assert not torch.allclose(changed, crops, atol=0.01)
    assert bool(moved.any()) == (kind == "shift")
    rough = [float((x[..., 1:] - x[..., :-1]).abs().mean()) for x in (crops, changed)]
    assert {"blur": rough[1] < 0.97 * rough[0], "noise": rough[1] > 1.1 * rough[0]}.get(kind, True)
    assert torch.equal(_augmented(crops, (), torch.Generator())[0], crops)


def test_images_and_labels_that_do_not_fit_are_refused():
    images, angles = labelled(np.arange(3))
    for crops, truth, sentence in (
        (images.astype(np.uint16), angles, "must be uint8"),
        (images[:1], angles[:1], "must be uint8"),
        (images, np.full((3, 2), np.nan), "finite and in radians"),
        (images, np.degrees(angles) + 90, "finite and in radians"),
    ):
        rows = Dataset.from_dict(
            {"image": [Image.fromarray(crop) for crop in crops], "pitch": truth[:, 0], "yaw": truth[:, 1]}
        )
        with pytest.raises(ImageError, match=sentence):
            TINY.read(rows, crops, "it")
        with pytest.raises(SourceError, match="it has no gaze labels"):
            TINY.read(rows.remove_columns("yaw"), crops, "it")


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="steps 0 must be positive"):
        experiment(steps=0)
    with pytest.raises(ConfigError, match="no augmentation"):
        experiment(augment=("mirror",))


def test_a_backbone_without_timm_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"install simgan\[timm\]"):
        experiment(backbone="resnet10t").build(BLANK, 0)


def test_a_backbone_of_timm_gives_gaze_and_one_that_does_not_fit_is_refused():
    try:
        import timm  # noqa: F401
    except (ImportError, RuntimeError):
        pytest.skip("timm cannot be imported here")
    images, angles = labelled(np.arange(20))
    training = experiment(backbone="test_resnet", steps=2, batch=8)
    assert estimates_of(training, images, angles, images, 0).shape == (20, 2)
    network = training.build(BLANK, 3)
    alone = np.concatenate([training.estimate(network, images[i : i + 1]) for i in range(20)])
    assert np.allclose(alone, training.estimate(network, images), atol=1e-4)  # an image's estimate is its own
    with pytest.raises(ConfigError, match="no network 'nothing'"):
        experiment(backbone="nothing").build(BLANK, 0)
    with pytest.raises(ConfigError, match="does not take crops of 55×35"):
        experiment(backbone="vit_tiny_patch16_224").build(BLANK, 0)
