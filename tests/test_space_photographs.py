"""Photographs that visitors send: any size, turned, of telephones; eyes are found, refined, and put back.

`astronaut.jpg` is a part of NASA's portrait of Eileen Collins, which is in the public domain.
"""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from simgan.domains import find
from simgan.errors import ImageError
from simgan.simulators import SIMULATORS
from simgan.space.models import Models
from simgan.space.notes import closeup, draw_labels
from simgan.space.photographs import cut, put_back
from simgan.space.refined import refine_uploads
from simgan.space.uploads import open_uploads

FACE = Path(__file__).parent / "astronaut.jpg"
EYES = ((106, 102), (149, 105))  # the middles of the pupils in it, marked by hand


@pytest.fixture(scope="module")
def models():
    return Models()


def test_eyes_are_found_level_centred_and_in_the_scale_of_training():
    photograph = Image.open(FACE)
    maps = find("eyes").find_crops(np.asarray(photograph))
    centres = np.array([crop @ (55 / 2, 35 / 2, 1) for crop in maps])
    assert np.abs(centres - EYES).max() < 3
    assert np.linalg.det(maps[0][:, :2]) < 0 < np.linalg.det(maps[1][:, :2])  # the person's right eye is mirrored
    scale = [np.hypot(*crop[:, 0]) for crop in maps]
    assert scale == pytest.approx([np.hypot(43, 3) / 100.8] * 2, rel=0.1)


def test_a_crop_that_is_put_back_unchanged_changes_nothing_and_a_change_stays_where_the_crop_was():
    photograph = Image.open(FACE)
    (crop, _) = find("eyes").find_crops(np.asarray(photograph))
    before = np.asarray(cut(photograph, crop, (55, 35)))
    assert (np.asarray(put_back(photograph, crop, before, before)) == np.asarray(photograph)).all()
    after = np.asarray(put_back(photograph, crop, before, before // 2)).astype(int)
    changed = np.argwhere(np.abs(after - np.asarray(photograph)).max(-1) > 0)[:, ::-1]
    assert len(changed)
    assert np.abs(changed - EYES[0]).max(0) == pytest.approx([55 / 2 * 0.43, 35 / 2 * 0.43], abs=4)
    again = np.asarray(cut(Image.fromarray(after.astype(np.uint8)), crop, (55, 35)))
    assert np.abs(again[10:25, 10:45].astype(int) - before[10:25, 10:45] // 2).mean() < 12


def test_a_photograph_comes_back_with_its_eyes_refined_and_its_crops(models, tmp_path):
    photograph = Image.open(FACE)
    turned = photograph.transpose(Image.Transpose.ROTATE_90)  # as a telephone stores it that was held upright
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "me.jpg", exif=exif, quality=95)
    whole, left, right = refine_uploads(models.get("eyes"), [str(tmp_path / "me.jpg")], 1.0).refined
    ((name, data),) = whole.files
    came = Image.open(io.BytesIO(data))
    assert (name, came.format, came.size, dict(came.getexif())) == ("me.jpg", "JPEG", photograph.size, {})
    assert whole.done[0] == "me.jpg was turned upright, as its EXIF data says."
    assert "2 eye crops were found in me.jpg" in whole.done[1]
    assert (whole.before != whole.after).any(-1).mean() < 0.05
    for crop, number in ((left, 1), (right, 2)):
        assert crop.before.shape == (35, 55, 3)
        assert [name for name, _ in crop.files] == [f"me crop {number}.png", f"me crop {number} refined.png"]
        refined = models.get("eyes").refiner.refine(crop.before)
        assert np.abs(np.asarray(Image.open(io.BytesIO(crop.files[1][1]))).astype(int) - refined).max() <= 8


def test_what_is_too_large_is_shrunk_with_a_word_and_depth_is_refused(tmp_path):
    files = [str(tmp_path / name) for name in ("wide.png", "deep.png")]
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(files[0])
    Image.fromarray(np.zeros((300, 400), np.uint16)).save(files[1])
    wide, deep = open_uploads(files, 30_000)
    assert wide.image.size == (200, 150)
    assert wide.done == ("wide.png was shrunk from 400×300 to 200×150 pixels.",)
    assert str(deep) == "deep.png has 400×300 pixels: of its kind at most 30,000 are taken here"


def test_a_photograph_of_a_telephone_is_read_and_comes_back_as_png(models, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.open(FACE)).save(tmp_path / "me.heic")
    sent = refine_uploads(models.get("eyes"), [str(tmp_path / "me.heic")], 1.0)
    assert [name for name, _ in sent.refined[0].files] == ["me.png"]
    assert "is a HEIF file" in sent.refined[0].done[0]


@pytest.mark.parametrize("data", [b"\0\0\0\x18ftypheic" + bytes(40), b"\0\0\0\x1cftypavif" + bytes(40)])
def test_a_broken_heif_file_is_a_sentence(tmp_path, data):
    (tmp_path / "x.heic").write_bytes(data)
    (error,) = open_uploads([str(tmp_path / "x.heic")])
    assert isinstance(error, ImageError)
    assert str(error) == "x.heic cannot be read as a HEIF file: save it as PNG or JPEG"


@pytest.mark.parametrize("strength", [float("nan"), None, -0.1, 2, "1"])
def test_a_strength_that_is_none_is_a_sentence(models, strength):
    with pytest.raises(ImageError, match="the strength is a number from 0 to 1"):
        refine_uploads(models.get("eyes"), [str(FACE)], strength)


@pytest.mark.parametrize("name", ["eyes", "hands"])
def test_labels_are_drawn_at_the_same_places_over_both_images(models, name):
    """Where labels are drawn, before and after are the same yellow; elsewhere each is its own image."""
    images, labels = SIMULATORS[f"simulator:{name}"].render([10])
    model = models.get(name)
    after = model.refiner.refine(images[0])
    picture = draw_labels(model, images[0], after, {key: rows[0] for key, rows in labels.items()})
    left, right = picture[:, : (picture.shape[1] - 6) // 2], picture[:, (picture.shape[1] + 6) // 2 :]
    drawn = [(side == (255, 214, 0)).all(-1) for side in (left, right)]
    assert drawn[0].sum() > 500
    assert (drawn[0] == drawn[1]).mean() > 0.999


def test_a_close_up_shows_where_most_changed():
    codec = Models().get("eyes").refiner.codec
    before = np.full((120, 200), 100, np.uint8)
    after = before.copy()
    after[60:80, 150:170] = 200
    picture = closeup(codec, before, after)
    assert picture.shape == (8 * 48, 2 * 8 * 48 + 6, 3)
    assert (picture[:, 8 * 48 + 6 :] == 200).all(-1).sum() == 20 * 20 * 64
    assert closeup(codec, before[:40], after[:40]) is None
