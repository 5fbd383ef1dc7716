"""Codecs: an image goes in and comes back as the kind that it was; config.json names the codec."""

import json

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from simgan import ConfigError, ImageError, Refiner, RefinerConfig
from simgan.hub.loading import SHIPPED
from simgan.images import codecs
from simgan.images.arrays import equalize, luminance
from simgan.refining.pixels import refine_pixels


def noise(*shape, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def depth(seed=0):
    """A surface 700 to 760 mm away with holes, before a wall."""
    rows, columns = np.mgrid[:40, :48]
    image = np.where(columns < 30, 700 + rows + columns // 2, 1500).astype(np.uint16)
    image[np.random.default_rng(seed).random(image.shape) < 0.1] = 0
    return image


KINDS = {"grey8": noise(20, 30), "rgb8": noise(20, 30, 3), "depth16": depth()}


@pytest.mark.parametrize("name", KINDS)
def test_stored_images_become_tensors_and_come_back(name):
    codec, image = codecs.get(name), KINDS[name]
    images = np.stack([image, image[::-1]])
    windows = codec.windows(images)
    tensor = codec.to_tensor(images, windows)
    assert tensor.dtype == torch.float32 and tensor.shape == (2, codec.channels, *image.shape[:2])
    assert tensor.min() >= -1 and tensor.max() <= 1
    config = RefinerConfig(domain="images", codec=name, channels=codec.channels)
    same = refine_pixels(config, torch.from_numpy(images), 1.0, lambda x: x)
    assert same.dtype == torch.from_numpy(images).dtype and np.array_equal(same, images)


@pytest.mark.parametrize("name", KINDS)
def test_an_image_comes_back_as_what_it_was(name):
    codec, image = codecs.get(name), KINDS[name]
    for given in (image, Image.fromarray(image)):
        back = codec.restore(codec.check(given), given)
        assert type(back) is type(given)
        assert np.array_equal(np.asarray(back), image)
    with pytest.raises(ImageError, match=r"photo\.png (has type|is) float64"):
        codec.check(np.zeros((20, 20)), "photo.png")


@pytest.mark.parametrize("name", KINDS)
def test_images_and_their_difference_are_shown_in_colours(name):
    codec, image = codecs.get(name), KINDS[name]
    first, second = codec.show(image, image)
    assert first.dtype == np.uint8 and first.shape == (*image.shape[:2], 3) and np.array_equal(first, second)
    assert (codec.difference(image, image) == 128).all()
    change = 10 if codec.unit else 127
    higher = np.where((image > 0) & (image <= np.iinfo(image.dtype).max - change), image + change, image)
    assert (codec.difference(image, higher.astype(image.dtype))[higher > image] == 255).all()
    assert codec.describe(image).startswith(("8-bit", "16-bit depth"))


def test_colour_through_a_grey_refiner_changes_all_colours_by_the_change_of_luminance():
    colour, codec = noise(40, 40, 3), codecs.GREY8
    planes = codec.planes(colour[None])
    assert np.array_equal(planes[0], cv2.cvtColor(colour, cv2.COLOR_RGB2YCrCb)[..., 0])
    out = (
        refine_pixels(RefinerConfig(), torch.from_numpy(colour[None]), 1.0, lambda x: x + 20 * 2 / 255)[0].int().numpy()
    )
    assert np.array_equal(out, np.minimum(colour.astype(int) + 20, 255))
    converted = cv2.cvtColor(colour, cv2.COLOR_RGB2YCrCb)
    converted[..., 0] = np.minimum(converted[..., 0].astype(int) + 20, 255)
    by_cv2 = cv2.cvtColor(converted, cv2.COLOR_YCrCb2RGB)
    inside = (colour < 230).all(-1) & (colour > 5).all(-1)
    assert inside.sum() > 100 and np.abs(out - by_cv2)[inside].max() <= 2  # 8 bits of chroma round


@pytest.mark.parametrize("shape", [(35, 55), (16, 16), (300, 211), (1200, 1000)])
def test_equalizing_and_luminance_are_those_of_opencv_to_the_bit(shape):
    rng = np.random.default_rng(0)
    for top in (1, 2, 30, 255):
        image = (rng.random(shape) ** 3 * top).astype(np.uint8)
        assert np.array_equal(equalize(image), cv2.equalizeHist(image))
        assert np.array_equal(equalize(np.stack([image, image[::-1] // 2]))[1], cv2.equalizeHist(image[::-1] // 2))
    colours = noise(*shape, 3)
    assert np.array_equal(luminance(colours), cv2.cvtColor(colours, cv2.COLOR_RGB2YCrCb)[..., 0])
    flat = np.full(shape, 7, np.uint8)
    assert np.array_equal(equalize(flat), flat)


@pytest.mark.parametrize(
    ("settings", "codec"),
    [({"domain": "eyes"}, "grey8"), ({"domain": "eyes", "channels": 3}, "rgb8"), ({"domain": "hands"}, "depth16")],
)
def test_a_refiner_saves_its_codec_and_an_old_configuration_gets_it_from_its_domain(tmp_path, settings, codec):
    Refiner(RefinerConfig(width=4, blocks=1, **settings)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("codec") == codec
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Refiner.from_pretrained(tmp_path).config.codec == codec


def test_a_refiner_of_a_domain_that_is_not_registered_here_refines_by_its_codec(tmp_path):
    refiner = Refiner(RefinerConfig("leaves in mm", "depth16", width=4, blocks=1, predict_residual=True))
    refiner.save_pretrained(tmp_path)
    assert np.array_equal(Refiner.from_pretrained(tmp_path).refine(KINDS["depth16"]), KINDS["depth16"])
    with pytest.raises(ImageError, match="is uint8 of shape"):
        Refiner.from_pretrained(tmp_path).refine(KINDS["grey8"])


def test_shipped_configurations_of_earlier_versions_name_no_codec_and_get_one():
    names = {folder.name for folder in SHIPPED.iterdir()}
    assert len(names) == 4
    assert any("codec" not in json.loads((SHIPPED / name / "config.json").read_text()) for name in names)
    for name in names:
        assert Refiner.from_pretrained(name).codec is codecs.get("depth16" if "hands" in name else "grey8")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"codec": "jpeg"}, "unknown codec 'jpeg': choose one of grey8, rgb8, depth16"),
        ({"codec": "rgb8"}, "needs channels = 3, not 1"),
        ({"codec": "depth16", "photometry": True}, "are for brightness"),
        ({"triangulation": {"scale": 1.0}}, "triangulation is for depth"),
    ],
)
def test_settings_that_do_not_fit_the_codec_are_refused(settings, sentence):
    with pytest.raises(ConfigError, match=sentence):
        RefinerConfig(**settings)
