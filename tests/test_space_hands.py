"""The Space with a model of hands beside the shipped ones: depth of 16 bits in, seen in colours, and 16 bits out."""

import io
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from browser import ROOT, Server, check_accessible, check_fits, connect, is_near
from gradio_client import handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from simgan import Discriminator, Refiner
from simgan.images import codecs
from simgan.images.depth import pack
from simgan.images.files import encode_png
from simgan.simulators.eyes import renders as eyes
from simgan.simulators.hands import renders as hands
from simgan.space import training_tab
from simgan.space.notes import compare

NAME = "hands-test"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder as `simgan/pretrained` has them, of a refiner that changes depth somewhat."""
    folder = tmp_path_factory.mktemp("model") / NAME
    torch.manual_seed(0)
    refiner = Refiner.from_preset("hands")
    torch.nn.init.normal_(refiner.head.weight, std=0.02)
    refiner.save_pretrained(folder)
    Discriminator.from_preset("hands").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    """The Space from a copy of the package, by links, in which that model ships."""
    place = tmp_path_factory.mktemp("place")
    shutil.copytree(ROOT / "simgan", place / "simgan", copy_function=os.symlink)
    shutil.copytree(model, place / "simgan" / "pretrained" / NAME)
    shutil.copy(ROOT / "app.py", place)
    running = Server(tmp_path_factory.mktemp("space"), place)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def space(server):
    return server.url


@pytest.fixture(scope="module")
def client(space):
    opened = connect(space)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def frame():
    """A whole frame, 320×240: a hand before a wall at 2 m that has holes."""
    wall = np.full((240, 320), 2000, np.uint16)
    wall[::9, ::5] = 0
    hand = hands.render([23])[0][0]
    return np.where(np.pad(hand, ((8, 8), (48, 48))) > 0, np.pad(hand, ((8, 8), (48, 48))), wall)


def save(array, file, **settings):
    Image.fromarray(array).save(file, **settings)
    return handle_file(file)


def refined(client, file, strength, model=NAME):
    return client.predict([{"image": file}], model, strength, api_name="/refine")


def test_in_a_browser_a_model_of_hands_brings_its_examples_and_16_bits_come_back_unchanged_at_strength_0(visit, frame):
    page = visit()
    model = page.get_by_label("Model").first
    model.fill(NAME)
    model.press("Enter")
    page.locator('#refine-download a[download="hand 1.png"]').wait_for()
    page.locator("#wall button").nth(7).click()
    page.locator('#refine-download a[download="hand 2.png"]').wait_for()
    model.fill(NAME)
    model.press("Enter")
    page.locator("#refine-images [aria-label=Clear]").click()
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "PNG")
    sent = {"name": "frame.png", "mimeType": "image/png", "buffer": data.getvalue()}
    page.locator("#refine-images input[type=file]").set_input_files([sent])
    page.locator('#refine-download a[download="frame.png"]').wait_for()
    strength = page.get_by_label("number input for Strength").first
    strength.fill("0")
    strength.press("Tab")
    page.locator("#refine-button").click()
    page.wait_for_function("document.querySelector('#refine-note').innerText.includes('at strength 0 ')")
    assert "16-bit depth" in page.locator("#refine-note").inner_text()
    with page.expect_download() as started:
        page.locator('#refine-download a[download="frame.png"]').click()
    came = Image.open(started.value.path())
    assert (came.mode, came.format) == ("I;16", "PNG")
    assert (np.array(came) == frame).all()
    compared = page.locator("#comparison img").last.evaluate("image => image.src")
    shown = np.array(Image.open(io.BytesIO(page.request.get(compared).body())))
    assert (shown == codecs.DEPTH16.show(frame)[0]).all()
    check_fits(page)
    check_accessible(page)


@pytest.mark.parametrize("name", ["depth.png", "depth.tiff", "nyu.png"])
def test_depth_of_each_kind_comes_back_as_it_came_and_refined_at_strength_1(client, model, tmp_path, frame, name):
    packed = name == "nyu.png"
    file = save(pack(frame) if packed else frame, tmp_path / name)
    assert (np.array(Image.open(refined(client, file, 0)[3][0])) == np.array(Image.open(tmp_path / name))).all()
    (path,) = refined(client, file, 1.0)[3]
    came, sent = Image.open(path), Image.open(tmp_path / name)
    assert (came.mode, came.format, came.size) == (sent.mode, sent.format, sent.size)
    expected = np.asarray(Refiner.from_pretrained(model).refine(sent))
    assert is_near(came, expected)
    assert (np.asarray(came) != np.asarray(sent)).any()


def test_what_a_model_does_not_take_is_a_sentence_that_names_the_file(client, tmp_path, frame):
    eye = eyes.render([3])[0][0]
    cases = [
        (eye, NAME, "x.png is uint8 of shape (35, 55), and depth is needed"),
        (np.zeros_like(frame), NAME, "x.png has no reading, all of its pixels are 0"),
        (np.minimum(frame // 100, 20).astype(np.uint16), NAME, "x.png has no depth beyond 20, as if in metres"),
        (frame, "eyes", "x.png looks like depth in millimetres, which this model does not take"),
        (pack(frame), "eyes", "x.png looks like depth in millimetres"),
    ]
    for array, name, sentence in cases:
        file = save(array, tmp_path / "x.png")
        for call in (
            lambda file=file, name=name: refined(client, file, 1.0, name),
            lambda file=file, name=name: client.predict([{"image": file}], name, api_name="/inspect"),
        ):
            with pytest.raises(AppError) as caught:
                call()
            assert sentence in str(caught.value)
    with pytest.raises(AppError, match=r"x\.tiff is float32 of shape .*metres times 1000"):
        refined(client, save((frame / 1000).astype(np.float32), tmp_path / "x.tiff"), 1.0)


def test_the_discriminator_judges_depth_in_the_window_that_the_refiner_sees(client, model, tmp_path, frame):
    file = save(frame, tmp_path / "frame.png")
    _, numbers = client.predict([{"image": file}], NAME, api_name="/inspect")
    wall = np.where(frame == 2000, 0, frame).astype(np.uint16)  # beyond the window, so it is all the same
    _, without = client.predict([{"image": save(wall, tmp_path / "wall.png")}], NAME, api_name="/inspect")
    assert np.array(numbers["input"]["map"]).shape == (60, 80)
    assert numbers["input"] == without["input"]
    assert numbers["input"] != numbers["refined"]


def test_an_archive_of_depth_stays_16_bits(client, model, tmp_path, frame):
    data = io.BytesIO()
    Image.fromarray(frame).save(data, "PNG")
    with zipfile.ZipFile(tmp_path / "hands.zip", "w") as archive:
        archive.writestr("a/0.png", data.getvalue())
        archive.writestr("a/0.json", b"{}")
    _, result = client.predict([handle_file(tmp_path / "hands.zip")], NAME, 1.0, "", api_name="/batch")
    with zipfile.ZipFile(result) as archive:
        assert archive.read("a/0.json") == b"{}"
        came = Image.open(io.BytesIO(archive.read("a/0.png")))
    assert came.mode == "I;16"
    refined = Refiner.from_pretrained(model).refine(frame)
    assert is_near(came, refined)
    with zipfile.ZipFile(tmp_path / "arrays.zip", "w") as archive, archive.open("0.npy", "w") as file:
        np.save(file, frame)
    _, result = client.predict([handle_file(tmp_path / "arrays.zip")], NAME, 1.0, "", api_name="/batch")
    with zipfile.ZipFile(result) as archive:
        assert is_near(np.load(io.BytesIO(archive.read("0.npy"))), refined)


def test_an_archive_of_images_that_no_model_of_this_kind_takes_is_a_sentence_and_single_ones_are_left_out(
    client, tmp_path, frame
):
    eye = eyes.render([3])[0][0]

    def send(model, **images):
        with zipfile.ZipFile(tmp_path / "sent.zip", "w") as archive:
            for name, image in images.items():
                archive.writestr(f"{name}.png", encode_png(image))
        return client.predict(
            [handle_file(tmp_path / "sent.zip")], model, 1.0, "mask*" if "mask" in images else "", api_name="/batch"
        )

    depth_for_eyes = "depth.png looks like depth in millimetres, which this model does not take: choose another one"
    eye_for_hands = "eye.png is uint8 of shape (35, 55), and depth is needed"
    for model, images, sentence in (
        ("eyes", {"depth": frame, "mask": eye}, depth_for_eyes),
        (NAME, {"eye": eye, "mask": frame}, eye_for_hands),
    ):
        with pytest.raises(AppError) as caught:
            send(model, **images)
        assert str(caught.value).startswith(sentence)
    for model, kept, sentence in (("eyes", "eye.png", depth_for_eyes), (NAME, "depth.png", eye_for_hands)):
        told, result = send(model, depth=frame, eye=eye)
        assert "<strong>1 images refined</strong>" in told
        assert f"1 left out:</p><ul><li>{sentence}" in told
        assert zipfile.ZipFile(result).namelist() == [kept]


def test_colours_tell_near_from_far_from_no_reading_and_a_difference_what_was_lost_and_won():
    before = np.full((32, 32), 700, np.uint16)
    before[8:] = 600
    before[:4], before[:, :4] = 3000, 0
    after = before.copy()
    after[10, 10], after[12, 2], after[14, 14] = 0, 650, 605
    first, second, difference = compare(codecs.DEPTH16, before, after)
    scale = len(first) // 32
    first, second, difference = (image[::scale, ::scale].astype(int) for image in (first, second, difference))
    near, far, beyond, hole = (first[place].sum() for place in ((20, 20), (6, 20), (2, 20), (20, 2)))
    assert near > far > beyond > hole == 0
    assert (second != first).any(-1).sum() == 3
    assert (difference[10, 10] == codecs.LOST).all() and (difference[12, 2] == codecs.WON).all()
    assert (difference[20, 20] == 128).all() and difference[14, 14, 0] == 128 + 64  # 5 of 10 mm


def test_training_of_a_model_of_hands_is_told_in_millimetres(model, tmp_path, monkeypatch):
    shutil.copytree(model, tmp_path / NAME)
    keys = ("realism", "realism_raw", "realism_floor", "shift", "shift_median", "accuracy_refined", "accuracy_real")
    rows = [{"step": step, "regularization_weight": 4.0} | dict.fromkeys(keys, 0.5) for step in (0, 100)]
    (tmp_path / NAME / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.setattr(training_tab, "SHIPPED", tmp_path)
    _, plots, *_, figures = training_tab._all(NAME)
    assert "annotation shift in mm" in plots
    assert "surface moved 0.50 mm (" in figures
