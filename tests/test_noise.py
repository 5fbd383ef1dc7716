"""The noise that a refiner takes beside an image: normal, various, and the same for the same image."""

import numpy as np
import pytest
import torch

from simgan import ConfigError, Refiner
from simgan.images.arrays import to_tensor
from simgan.preparation.noise import NOISE_MAPS, noise_maps
from simgan.refiner import RefinerConfig
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def images():
    return to_tensor(eyes.render(range(64))[0])


@pytest.fixture(scope="module")
def refiner():
    """One that paints what noise it gets."""
    torch.manual_seed(0)
    refiner = Refiner.from_preset("eyes", width=4, equalize=False).eval()
    torch.nn.init.normal_(refiner.head.weight, std=0.1)
    return refiner


def test_noise_is_normal_and_knows_no_neighbour_and_no_other_image(images):
    maps = noise_maps(images)
    assert maps.shape == (64, NOISE_MAPS, 35, 55)
    pixels = maps[:, :2].flatten(1)
    assert pixels.mean().abs() < 0.01
    assert abs(pixels.std() - 1) < 0.01
    assert abs((pixels.abs() < 1).float().mean() - 0.683) < 0.005
    assert (pixels[:, 1:] * pixels[:, :-1]).mean().abs() < 0.01
    assert torch.corrcoef(pixels).fill_diagonal_(0).abs().max() < 0.1
    assert (maps[:, 2:6] == maps[:, 2:6, :1, :1]).all()
    assert 0.8 < maps[:, 2:6, 0, 0].std() < 1.2


def test_one_level_in_one_pixel_is_another_noise(images):
    other = images[:1].clone()
    other[0, 0, 3, 4] += 2 / 255
    a, b = (noise_maps(x)[:, :6] for x in (images[:1], other))
    assert (a != b).float().mean() > 0.99


def test_an_image_gets_the_same_noise_in_every_batch_and_type(images):
    maps = noise_maps(images)
    assert torch.equal(noise_maps(images.flip(0)).flip(0), maps)
    assert torch.equal(noise_maps(images[5:6]), maps[5:6])
    assert torch.equal(noise_maps(images.bfloat16()), maps.bfloat16())


def test_a_refiner_with_noise_gives_other_grain_to_other_images_and_the_same_to_the_same(refiner):
    flat = [np.full((35, 55), level, np.uint8) for level in (120, 121)]
    one, other = refiner.refine(flat)
    assert one[8:-8, 8:-8].std() > 1
    assert abs(np.corrcoef(one[8:-8, 8:-8].ravel(), other[8:-8, 8:-8].ravel())[0, 1]) < 0.5
    assert np.array_equal(refiner.refine([flat[1], flat[0]])[1], one)


def test_a_large_image_in_strips_gets_the_noise_of_the_whole(refiner, monkeypatch):
    large = np.random.default_rng(0).integers(0, 256, (100, 40), dtype=np.uint8)
    whole = refiner.refine(large).astype(int)
    monkeypatch.setattr("simgan.refining.engine.STRIP", 40 * 30)
    assert np.abs(refiner.refine(large) - whole).max() <= 1


def test_depth_takes_no_noise():
    with pytest.raises(ConfigError, match="noise and photometry are for brightness"):
        RefinerConfig(domain="hands", noise=True)
