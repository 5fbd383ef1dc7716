"""Patches of the discriminator lie where its receptive fields do, and pages show them there."""

import base64
import html
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from simgan import Discriminator, DiscriminatorConfig, Refiner, RefinerConfig
from simgan.discriminator import ReceptiveField, receptive_field
from simgan.domains.base import PATCHES
from simgan.domains.hands import PAPER_LAYERS
from simgan.images import codecs
from simgan.images.arrays import to_stored
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands
from simgan.space.models import Models
from simgan.space.notes import compare
from simgan.space.patch_tab import (
    REAL,
    REFINED,
    PatchMap,
    draw,
    field_of,
    has_subject,
    judge,
    judge_both,
    mean_of,
    most_telling,
)

OTHER = (("conv", 5, 3, 4), ("pool", 3, 2, 0), ("conv", 1, 1, 2))


@pytest.mark.parametrize("layers", [PATCHES, PAPER_LAYERS, OTHER], ids=["eyes", "hands", "other"])
def test_exactly_the_patches_whose_field_holds_a_pixel_react_to_an_impulse_there(layers):
    height, width = 83, 121
    network = Discriminator(DiscriminatorConfig(layers=layers)).double()
    for weights in network.parameters():  # positive, so that no ReLU stops an impulse and all of them add up
        torch.nn.init.constant_(weights, 1.0 if weights.ndim == 4 else 0.0)
    field = receptive_field(layers)
    reached = 0
    for y, x in [(0, 0), (0, 120), (82, 0), (82, 120), (40, 60), (41, 63), (17, 5), (66, 97)]:
        image = torch.zeros(1, 1, height, width, dtype=torch.float64)
        image[0, 0, y, x] = 1
        with torch.inference_mode():
            reacts = network(image)[0, 0] > 0

        def holds(place, count):
            first = field.first + field.stride * np.arange(count)
            return (first <= place) & (place < first + field.size)

        expected = holds(y, reacts.shape[0])[:, None] & holds(x, reacts.shape[1])
        assert (reacts.numpy() == expected).all()
        reached += expected.sum()
    assert reached > 8


def test_the_field_of_the_papers_eye_discriminator_is_known():
    assert receptive_field(PATCHES) == ReceptiveField(first=-11, size=23, stride=4)


def test_a_global_discriminator_has_one_patch_that_sees_all():
    network = Discriminator(DiscriminatorConfig(scope="global"))
    x, y = field_of(network, np.zeros((35, 55), np.uint8))
    assert (x, y) == (ReceptiveField(0, 55, 55), ReceptiveField(0, 35, 35))


def heat_of(page):
    """The colours that lie over each image, (H, W, 4)."""
    found = re.findall(r'class="heat" alt="" src="data:image/png;base64,([^"]*)"', page)
    return [np.array(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def maps_of(page):
    return [json.loads(html.unescape(text)) for text in re.findall(r'data-map="([^"]*)"', page)]


def test_the_page_draws_cells_in_the_middle_of_fields_on_one_scale():
    seen, everywhere = np.zeros((35, 55), np.uint8), np.ones((35, 55), bool)
    probability = np.zeros((9, 14), np.float32)
    probability[2, 3] = 1
    field = receptive_field(PATCHES)
    maps = {"Input": PatchMap(seen, probability, everywhere), "Refined": PatchMap(seen, 1 - probability, everywhere)}
    page = draw(maps, (field, field))
    for heat, inside in zip(heat_of(page), (REAL, REFINED), strict=True):
        y, x = np.nonzero((heat[..., :3] == inside).all(-1))  # patch 0 is centred on the middle of pixel 0
        assert (y.min(), y.max(), x.min(), x.max()) == (7, 10, 11, 14)
        assert len(y) == 16
    assert [found["name"] for found in maps_of(page)] == ["Input", "Refined"]
    assert page.count('class="patch-legend"') == 1
    assert "looks <b>1 %</b> real" in page and "looks <b>99 %</b> real" in page


def test_background_has_no_colour_and_does_not_count():
    seen, subject = np.zeros((40, 60), np.uint8), np.zeros((40, 60), bool)
    subject[10:30, 20:40] = True
    field = receptive_field(PATCHES)
    fields = (field, field)
    found = PatchMap(seen, np.zeros((10, 15), np.float32), subject)
    inside = has_subject(found, fields)
    found.probability_real[inside] = 0.25
    found.probability_real[~inside] = 1
    assert mean_of(found, fields) == 0.25
    page = draw({"Input": found}, fields)
    (heat,) = heat_of(page)
    assert ((heat[..., 3] > 0) == subject).all()
    sent = np.frombuffer(base64.b64decode(maps_of(page)[0]["values"]), np.uint8).reshape(10, 15)
    assert ((sent == 255) == ~inside).all()
    assert 20 < inside.sum() < 50


def test_depth_has_a_subject_and_brightness_is_one():
    hand = hands.render([23])[0][0]
    frame = np.where(hand > 0, hand, 2000).astype(np.uint16)  # a wall behind it
    assert (codecs.DEPTH16.subject(frame) == (hand > 0)).all()
    assert codecs.GREY8.subject(eyes.render([0])[0][0]).all()


def test_the_opening_example_gains_most(tmp_path):
    images = eyes.render(range(4))[0]
    paths = [tmp_path / f"{index}.png" for index in range(4)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(path)
    model = Models().get("eyes")
    both = [judge_both(model, image) for image in images]
    gains = [after.probability_real.mean() - before.probability_real.mean() for before, after in both]
    assert most_telling(model, list(map(str, paths))) == str(paths[int(np.argmax(gains))])
    assert max(gains) > 0.1


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_the_discriminator_sees_every_kind_of_image_as_it_did_in_training(mode):
    grey = eyes.render([0])[0][0]
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    refiner, discriminator = Refiner.from_pretrained("eyes"), Discriminator.from_pretrained("eyes")
    found, expected = (judge(refiner, discriminator, stored)[0] for stored in (to_stored(image), grey))
    assert np.abs(found.probability_real - expected.probability_real).max() < 0.05
    assert np.abs(found.seen.astype(int) - expected.seen).max() <= 2


def test_colour_networks_judge_grey_and_colour_images():
    refiner = Refiner(RefinerConfig(channels=3, equalize=True))
    discriminator = Discriminator(DiscriminatorConfig(channels=3))
    grey = Image.fromarray(eyes.render([0])[0][0])
    images = (grey, grey.convert("RGB"), grey.convert("RGBA"))
    maps = [judge(refiner, discriminator, to_stored(image))[0] for image in images]
    assert all((found.probability_real == maps[0].probability_real).all() for found in maps)
    assert maps[0].seen.shape == (35, 55, 3)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_previews_are_equal_in_size_large_enough_to_see_and_without_alpha(mode):
    grey = eyes.render([0])[0][0]
    image = Image.fromarray(grey.astype(np.uint16) * 16) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    before, after, difference = compare(codecs.GREY8, to_stored(image), to_stored(image))
    assert before.shape[:2] == after.shape[:2] == difference.shape[:2] == (420, 660)
    assert before.dtype == np.uint8
    assert before.shape[2] == 3
    assert (difference == 128).all()
    assert before.max() > 128


def test_previews_of_large_images_are_small():
    image = np.zeros((300, 3200, 3), np.uint8)
    assert compare(codecs.GREY8, image, image)[0].shape == (150, 1600, 3)
