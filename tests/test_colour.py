"""Colour from end to end: crops keep it, a refiner of three channels trains on it, and refines it."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from train_arrays import small

from simgan import Discriminator, Refiner, RefinerConfig
from simgan.data import Crops, load
from simgan.data.prepare import prepare
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.space.models import Model, Models
from simgan.space.turing_tab import find_images
from simgan.training.loop import Run
from simgan.training.sources import load as load_run

TINT = np.array([1.0, 0.7, 0.5])


def write(folder, world, count):
    folder.mkdir()
    images, labels = world.render(range(count))
    rows = []
    for number, image in enumerate(images):
        Image.fromarray((image[..., None] * TINT).astype(np.uint8)).save(folder / f"{number:03}.png")
        rows.append(json.dumps({"file_name": f"{number:03}.png", "iris": labels["iris"][number].tolist()}))
    (folder / "metadata.jsonl").write_text("\n".join(rows))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("colour")
    write(place / "synthetic", eyes, 40)
    write(place / "real", camera, 40)
    return place


def pixels(folder):
    return np.stack([np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))])


@pytest.mark.parametrize("prepared", [False, True])
def test_crops_keep_their_colours_where_asked_and_are_grey_else(folders, tmp_path, prepared):
    source = f"folder:{folders / 'synthetic'}"
    if prepared:
        prepare(source, tmp_path / "out", channels=3, processes=1)
        source = str(tmp_path / "out")
    assert np.array_equal(Crops(load(source, channels=3), channels=3)[:], pixels(folders / "synthetic"))
    grey = Crops(load(source))[:]
    luminance = pixels(folders / "synthetic") @ [0.299, 0.587, 0.114]
    assert grey.shape == (40, 35, 55)
    assert np.abs(grey - luminance).max() <= 1
    assert Crops(load("simulator:eyes", channels=3, limit=2), channels=3).shape == (35, 55, 3)


def test_a_refiner_of_colours_trains_and_refines(folders, tmp_path):
    sources = {side: (f"folder:{folders / side}",) for side in ("synthetic", "real")}
    config = small(channels=3, steps=1, output=tmp_path / "run", **sources)
    run = Run(config, load_run(config))
    for _ in run.discriminator_warm_up():
        run.trainer.update_discriminator()
    for _ in run.steps():
        run.trainer.update_refiner()
        run.trainer.update_discriminator()
    refiner = Refiner.from_pretrained(run.config.output / "checkpoints" / "step-000001")
    assert refiner.config.channels == Discriminator.from_pretrained(run.config.output).config.channels == 3
    image = pixels(folders / "synthetic")[0]
    assert refiner.refine(image).shape == image.shape
    assert refiner.refine(Image.fromarray(image)).mode == "RGB"
    sheet = np.array(Image.open(run.config.output / "samples" / "step-000001.png"))
    assert sheet.ndim == 3


def test_photographs_of_the_turing_test_are_equalized_channel_by_channel(folders, monkeypatch):
    model = Model("eyes", Refiner(RefinerConfig(channels=3, equalize=True)), None)
    monkeypatch.setattr(Models, "get", lambda self, name: model)
    found = find_images(Models(), folders / "real")[2]
    crops = Crops(load(f"folder:{folders / 'real'}", channels=3), channels=3)[:]
    for image, crop in zip(found, crops, strict=True):
        expected = np.stack([cv2.equalizeHist(np.ascontiguousarray(crop[..., k])) for k in range(3)], -1)
        assert np.array_equal(image, expected)
