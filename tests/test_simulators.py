"""The embedded eye domain: images depend on seed and index alone, and labels are exact by geometry."""

import numpy as np
import pytest

from simgan import ConfigError
from simgan.simulators import camera, eyes
from simgan.simulators.geometry import look
from simgan.simulators.people import populate

WORLDS = pytest.mark.parametrize("world", [eyes, camera])


@WORLDS
def test_an_image_depends_on_seed_and_index_alone(world):
    together, labels = world.render(range(40))
    alone, label = world.render([37])
    assert np.array_equal(together[37], alone[0])
    assert np.allclose(labels["gaze"][37], label["gaze"][0])
    assert not np.array_equal(world.render([37], seed=1)[0], alone)
    assert together.shape == (40, 35, 55)
    assert together.dtype == np.uint8


@WORLDS
def test_gaze_is_a_unit_vector_that_agrees_with_pitch_and_yaw(world):
    labels = world.render(range(50))[1]
    p, y = labels["pitch"], labels["yaw"]
    expected = np.stack([-np.cos(p) * np.sin(y), -np.sin(p), -np.cos(p) * np.cos(y)], -1)
    assert np.allclose(labels["gaze"], expected, atol=1e-5)
    assert np.allclose(np.linalg.norm(labels["gaze"], axis=1), 1, atol=1e-5)


@WORLDS
def test_looking_aside_moves_the_pupil_to_that_side(world):
    labels = world.render(range(300))[1]
    for axis in (0, 1):
        offset = labels["pupil"][:, axis] - labels["lids"][:, :, axis].mean(1)
        assert np.corrcoef(offset, labels["gaze"][:, axis])[0, 1] > 0.7


def test_the_projected_pupil_is_the_centroid_of_the_drawn_one():
    indices = np.arange(200)
    scene, _, _ = populate(eyes.WORLD, indices, 0)
    drawn = look(scene).pupil  # share of each pixel, as if there were no lids
    columns, rows = np.meshgrid(np.arange(55), np.arange(35))
    mass = drawn.sum((1, 2))
    centroid = np.stack([(drawn * columns).sum((1, 2)), (drawn * rows).sum((1, 2))], -1) / mass[:, None]
    inside = (centroid > 6).all(1) & (centroid[:, 0] < 48) & (centroid[:, 1] < 28)
    assert inside.sum() > 150
    pupil = eyes.render(indices)[1]["pupil"]
    assert np.abs(centroid - pupil)[inside].max() <= 0.3


@WORLDS
def test_the_iris_is_as_wide_as_in_mpiigazes_virtual_camera(world):
    iris = world.render(range(100))[1]["iris"]
    width = iris[:, :, 0].max(1) - iris[:, :, 0].min(1)
    assert 15 < np.median(width) < 18


def test_the_camera_shows_other_images_than_the_simulator_equalized():
    photographs = camera.render(range(50))[0]
    assert not np.array_equal(photographs, eyes.render(range(50))[0])
    shares = np.stack([np.histogram(image, 8, (0, 256))[0] for image in photographs]) / photographs[0].size
    assert np.abs(shares.mean(0) - 1 / 8).max() < 0.02  # a dark photograph has few grey levels, so not each image


@WORLDS
@pytest.mark.parametrize("indices", [[-1], [0.5]])
def test_what_is_no_index_is_refused(world, indices):
    with pytest.raises(ConfigError):
        world.render(indices)
