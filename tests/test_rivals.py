"""Rivals of a refiner: their statistics are the real images', and augmentation moves points with their pixels."""

import numpy as np
import pytest
import torch

from simgan import ConfigError
from simgan.experiments.augmentation import LOOKS, blur, change_looks, colour, draw_maps, move_points, warp
from simgan.experiments.classes.experiment import ClassesExperiment
from simgan.experiments.rivals import RIVALS, fda, matched
from simgan.experiments.sources import parse_arms


def images(count, seed, *shape, low=90, high=150):
    return np.random.default_rng(seed).integers(low, high, (count, *shape)).astype(np.uint8)


def moments(image):
    values = image.reshape(-1, image.shape[2] if image.ndim == 3 else 1).astype(float)
    return values.mean(0), np.cov(values.T)


def test_matched_images_have_mean_and_covariance_of_a_real_one():
    own = images(3, 0, 24, 30, 3)
    real = images(1, 1, 24, 30, 3, low=60, high=200)
    real[..., 1] = real[..., 0] // 2 + 40  # its channels go together
    for image in matched(own, real, np.random.default_rng(0)):
        for found, wanted in zip(moments(image), moments(real[0]), strict=True):
            assert np.allclose(found, wanted, rtol=0.03, atol=8)
    grey = matched(own[..., 0], real[..., 0], np.random.default_rng(0))
    assert moments(grey[0])[1] == pytest.approx(moments(real[0, ..., 0])[1], rel=0.03)


def test_fda_swaps_the_amplitudes_of_low_frequencies_alone():
    own, real = images(4, 0, 64, 48), images(1, 1, 64, 48, low=30, high=100)
    for before, after in zip(own, fda(own, real, np.random.default_rng(0)), strict=True):
        old, new, wanted = (np.fft.fft2(one.astype(float)) for one in (before, after, real[0]))
        assert abs(new[0, 0]) == pytest.approx(abs(wanted[0, 0]), rel=0.01)  # the mean
        assert np.corrcoef(np.angle(old[5:20, 5:20]).flat, np.angle(new[5:20, 5:20]).flat)[0, 1] > 0.99
        assert np.abs(np.abs(new[5:20, 5:20]) - np.abs(old[5:20, 5:20])).max() < 100


@pytest.mark.parametrize("rival", RIVALS)
def test_rivals_of_the_same_numbers_are_the_same(rival):
    own, real = images(4, 0, 20, 20, 3), images(5, 1, 20, 20, 3, low=0, high=255)
    first, again, other = (RIVALS[rival](own, real, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_arms_of_rivals_are_counted_and_augmented_like_others():
    (arm,) = parse_arms(["2x-fda+noise+blur"], (), LOOKS)
    assert (arm.kind, arm.times, arm.augment, arm.model) == ("fda", 2, ("blur", "noise"), None)
    with pytest.raises(ConfigError, match="synthetic, refined, real, fda or matched"):
        parse_arms(["cyclegan"], (), LOOKS)


def test_default_arms_are_those_that_there_are_images_for():
    plain = ("synthetic+colour", "synthetic+blur+noise", "synthetic+randaugment")
    assert ClassesExperiment("a", "b").chosen_arms() == ("synthetic", *plain)
    assert ClassesExperiment("a", "b", unlabelled="c").chosen_arms() == ("synthetic", "fda", "matched", *plain)
    every = ("synthetic", "refined", "fda", "matched", *plain, "real")
    assert ClassesExperiment("a", "b", model=("m",), train_real="c").chosen_arms() == every


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", LOOKS)
def test_each_look_changes_images_by_its_seed_and_keeps_them_in_range(kind, channels):
    before = torch.rand(8, channels, 24, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    one, again, other = (change_looks(before, (kind,), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.allclose(one, other, atol=0.01)
    assert one.shape == before.shape
    assert one.abs().max() <= 1


def test_colours_change_hue_but_grey_stays_grey_and_blur_is_the_same_in_each_channel():
    grey = torch.rand(4, 1, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    as_colour = grey.repeat(1, 3, 1, 1)
    changed = colour(as_colour, torch.Generator().manual_seed(1))
    assert torch.allclose(changed, changed[:, :1].expand_as(changed), atol=0.01)
    assert torch.allclose(changed[:, :1], colour(grey, torch.Generator().manual_seed(1)), atol=0.01)
    assert torch.allclose(
        blur(as_colour, torch.Generator().manual_seed(1))[:, 2:], blur(grey, torch.Generator().manual_seed(1))
    )
    red = torch.tensor([0.8, -0.8, -0.8])[:, None, None].expand(20, 3, 16, 16)
    spread = colour(red, torch.Generator().manual_seed(1))[:, :, 0, 0]
    assert (spread[:, 1] - spread[:, 2]).std() > 0.05  # red becomes more orange or more purple


def test_points_go_where_their_pixels_go_also_in_images_that_are_not_square():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(30, 1, 2, generator=generator) * torch.tensor([40.0, 20.0]) + torch.tensor([30.0, 20.0])
    y, x = torch.meshgrid(torch.arange(60), torch.arange(100), indexing="ij")
    dots = torch.exp(-((x - places[..., :1]) ** 2 + (y - places[..., 1:]) ** 2) / 8)[:, None]
    maps = draw_maps(30, generator, rotate=15, zoom=0.1, shift=0.05, flip=True, aspect=100 / 60)
    assert 5 < int((torch.linalg.det(maps[:, :, :2]) < 0).sum()) < 25  # mirrored
    for size in ((60, 100), (64, 64)):
        seen = warp(dots, maps, size)[:, 0]
        moved = move_points(places, maps, (100, 60), size[::-1])
        rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
        found = torch.stack([(seen * axis).sum((1, 2)) / seen.sum((1, 2)) for axis in (columns, rows)], 1)
        assert torch.allclose(found, moved[:, 0], atol=0.3)
    ends = torch.stack([places, places + torch.tensor([10.0, 0]), places + torch.tensor([0, 10.0])], 1)[:, :, 0]
    a, b, c = move_points(ends, maps, (100, 60), (100, 60)).unbind(1)
    assert torch.allclose(((b - a) * (c - a)).sum(1), torch.zeros(30), atol=0.05)  # a right angle stays one
    assert torch.allclose((b - a).norm(dim=1), (c - a).norm(dim=1), rtol=1e-3)
