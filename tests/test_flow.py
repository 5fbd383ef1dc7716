"""Annotation shift by optical flow: known shifts are found, light and noise are no motion, flat images say so."""

import cv2
import numpy as np
import pytest

from simgan.measures.shift import flow_shift
from simgan.simulators.eyes import renders as eyes


@pytest.fixture(scope="module")
def images():
    return eyes.render(range(24))[0]


def moved(images, x, y):
    place = np.array([[1, 0, x], [0, 1, y]], float)
    size = images.shape[2], images.shape[1]
    return np.stack(
        [cv2.warpAffine(i, place, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for i in images]
    )


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0, 2.0])
def test_a_known_shift_is_found_under_other_light_and_noise(images, shift):
    noise = np.random.default_rng(0).normal(0, 3, images.shape)
    after = np.clip(0.7 * moved(images, shift, 0).astype(float) + 30 + noise, 0, 255).astype(np.uint8)
    median, p90 = np.nanmean(flow_shift(images, after), 0)
    assert median == pytest.approx(shift, abs=0.15)
    assert p90 >= median


def test_what_only_changes_light_does_not_move(images):
    after = np.clip(0.6 * images.astype(float) + 40, 0, 255).astype(np.uint8)
    assert np.nanmedian(flow_shift(images, after)[:, 0]) < 0.05


def test_colour_images_are_measured_by_their_luminance(images):
    colour = np.repeat(images[..., None], 3, -1)
    assert np.allclose(flow_shift(colour, colour), 0, atol=0.02)


def test_images_without_edges_or_of_other_things_are_not_measured(images):
    flat = np.full_like(images, 128)
    noise = np.random.default_rng(1).integers(0, 256, images.shape).astype(np.uint8)
    assert np.isnan(flow_shift(flat, flat)).all()
    assert np.isnan(flow_shift(images, noise)[:, 0]).mean() > 0.8
