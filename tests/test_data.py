"""Sources become crops with labels that have moved along, and broken ones are named in a sentence."""

import json
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
from datasets import Dataset
from PIL import Image

from simgan import ConfigError, ImageError, SourceError, domains
from simgan.data import Crops, hold_out, load
from simgan.data.columns import image_cell, mirrored
from simgan.data.source import draw
from simgan.domains import Label
from simgan.domains.base import PointsWeight
from simgan.domains.eyes import EYES


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), array)


def noise(height=35, width=55, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def picture(dataset, number=0):
    return np.array(dataset[number]["image"])


def test_a_folders_images_come_back_bit_for_bit_in_the_order_of_their_names(tmp_path):
    for number in range(3):
        write(tmp_path / f"p0/{2 - number}.png", noise(seed=number))
    dataset = load(f"folder:{tmp_path}")
    assert dataset["file_name"] == ["p0/0.png", "p0/1.png", "p0/2.png"]
    assert np.array_equal(picture(dataset), noise(seed=2))
    assert np.array_equal(Crops(dataset)[[1, 0]], [noise(seed=1), noise(seed=2)])


def test_images_close_to_the_crops_size_are_cut_from_the_centre_and_others_resized(tmp_path):
    write(tmp_path / "a.png", noise(36, 60))
    write(tmp_path / "b.png", np.tile(np.arange(200, dtype=np.uint8), (150, 1)))
    dataset = load(str(tmp_path))
    assert np.array_equal(picture(dataset, 0), noise(36, 60)[:35, 2:57])
    ramp = picture(dataset, 1).mean(0)
    assert np.allclose(ramp[5:-5], ((np.arange(55) + 0.5) * 200 / 55 - 0.5)[5:-5], atol=0.6)


def test_metadata_become_columns_and_landmarks_move_with_the_crop(tmp_path):
    write(tmp_path / "a.png", noise(36, 60))
    write(tmp_path / "b.png", noise(70, 110))
    rows = [{"file_name": "b.png", "pitch": -0.1, "yaw": 0.2, "pupil": [54.5, 34.5], "scene": 7}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    dataset = load(f"folder:{tmp_path}")
    first, second = dataset[0], dataset[1]
    assert first["pupil"] is None
    assert np.allclose(second["pupil"], [27, 17])
    assert second["scene"] == 7
    expected = [-np.cos(-0.1) * np.sin(0.2), -np.sin(-0.1), -np.cos(-0.1) * np.cos(0.2)]
    assert np.allclose(second["gaze"], expected, atol=1e-6)


def test_16_bits_stay_16_bits_where_no_size_is_asked_for(tmp_path):
    depth = noise().astype(np.uint16) * 200
    write(tmp_path / "a.png", depth)
    assert np.array_equal(picture(load(str(tmp_path), size=None)), depth)


def dot(x, y, height=80, width=120, dark=20.0, spread=3.0):
    """A frame with a dark spot at a place in coordinates of pixel centres."""
    rows, columns = np.mgrid[:height, :width]
    return (200 - (200 - dark) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))).astype(np.uint8)


def centroid(image):
    weight = np.clip(160 - image.astype(float), 0, None)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def syntheseyes_labels(x, y, look=(-0.2, 0.1, -0.97)):
    angle = np.arange(8) * np.pi / 4
    ring = np.stack([np.cos(angle), np.sin(angle)], -1)
    lids = [(30 + 10.5 * k, 40.0) for k in range(7)] + [(93 - 10.5 * k, 50.0) for k in range(1, 6)]
    plain = {"pupil": ring * 5 + [x, y], "iris": ring * 16 + [x, y]}
    points = {f"ldmks_{k}_2d": [tuple(map(float, p)) for p in v] for k, v in plain.items()}
    points["ldmks_lids_2d"] = lids
    return {"ldmks": points, "look_vec": list(look), "head_pose": np.eye(3).tolist()}


def test_syntheseyes_landmarks_stay_on_what_is_drawn(tmp_path):
    write(tmp_path / "f01/a.png", dot(55, 38))
    (tmp_path / "f01/a.pkl").write_bytes(pickle.dumps(syntheseyes_labels(55, 38)))
    row = load(f"syntheseyes:{tmp_path}")[0]
    image = np.array(row["image"])
    assert image.shape == (35, 55)
    assert np.abs(centroid(image) - row["pupil"]).max() < 0.1
    assert np.allclose(np.mean(row["iris"], 0), row["pupil"], atol=1e-4)
    middle = (np.array(row["lids"][0]) + row["lids"][6]) / 2
    assert np.allclose(middle, [27 + 2, 17 + 1.5], atol=1e-3)  # the crop's centre lies (−2, −1.5) px from it
    assert row["person"] == "f01"
    assert np.isclose(np.linalg.norm(row["gaze"]), 1)
    assert np.sign(row["gaze"]).tolist() == [-1, 1, -1]


def test_a_pickle_that_asks_for_more_than_plain_values_is_refused(tmp_path):
    write(tmp_path / "f01/a.png", dot(55, 38))
    (tmp_path / "f01/a.pkl").write_bytes(pickle.dumps({"ldmks": np.zeros(3)}))
    with pytest.raises(SourceError, match=r"a\.pkl is not laid out as .* which plain labels do not need"):
        load(f"syntheseyes:{tmp_path}")


def test_both_forms_of_syntheseyes_agree(shared_data):
    folder = load(f"syntheseyes:{shared_data / 'eyes_synthetic/syntheseyes'}", limit=20)
    table = load(f"syntheseyes:{shared_data / 'eyes_synthetic/syntheseyes_grey.parquet'}")
    where = {name: number for number, name in enumerate(table["file_name"])}
    for row in folder:
        same = table[where[row["file_name"].split("/")[1]]]
        for key in ("gaze", "head_rotation", "pupil", "iris", "lids"):
            assert np.allclose(row[key], same[key], atol=2e-3)
        difference = np.array(row["image"], float) - np.array(same["image"], float)
        assert np.abs(difference).mean() < 1


def test_syntheseyes_looks_where_its_pupil_goes(shared_data):
    dataset = load(f"syntheseyes:{shared_data / 'eyes_synthetic/syntheseyes_grey.parquet'}", limit=500)
    offset = np.array(dataset["pupil"]) - np.array(dataset["lids"]).mean(1)
    gaze = np.array(dataset["gaze"])
    assert np.corrcoef(offset[:, 0], gaze[:, 0])[0, 1] > 0.5
    assert np.corrcoef(offset[:, 1], gaze[:, 1])[0, 1] > 0.5


@pytest.mark.parametrize("source", ["simulator:eyes", "camera:eyes"])
def test_simulators_are_sources(source):
    dataset = load(source, limit=5, seed=3)
    assert len(dataset) == 5
    assert Crops(dataset)[range(5)].shape == (5, 35, 55)
    assert len(dataset[0]["iris"]) == 8


def test_a_saved_data_set_comes_back_as_it_is(tmp_path):
    dataset = load("simulator:eyes", limit=6)
    dataset.save_to_disk(tmp_path / "eyes")
    for source in (f"hub:{tmp_path / 'eyes'}", str(tmp_path / "eyes")):
        again = load(source)
        assert again.features == dataset.features
        assert np.array_equal(Crops(again)[range(6)], Crops(dataset)[range(6)])
        assert len(load(source, limit=2)) == 2


def test_crops_follow_a_selection_and_count_from_the_end():
    dataset = load("simulator:eyes", limit=9)
    crops, some = Crops(dataset), Crops(dataset.select([7, 2, 5]))
    assert len(some) == 3
    assert np.array_equal(some[[0, -1]], crops[[7, 5]])
    assert np.array_equal(some[:2], crops[[7, 2]])
    assert np.array_equal(some.masks([1], EYES.weight), crops.masks([2], EYES.weight))
    with pytest.raises(IndexError):
        some[[3]]


def test_irises_pupils_and_lids_are_held_where_they_are_labelled():
    dataset = load("simulator:eyes", limit=20)
    masks = Crops(dataset).masks(range(20), EYES.weight)
    down, across = np.mgrid[:35, :55]
    for mask, row in zip(masks, dataset, strict=True):
        points = np.concatenate([[row["pupil"]], row["iris"], row["lids"]])
        away = np.hypot(across - points[:, 0, None, None], down - points[:, 1, None, None]).min(0)
        assert (mask[away <= 2] == 1).all() and not mask[away >= 4].any()
        assert np.allclose(mask[(away > 2.9) & (away < 3.1)], 0.5, atol=0.06)


@pytest.fixture
def plates(monkeypatch, tmp_path):
    """A domain with a label of its own, and a folder of images with it: two holes of a plate, or none."""
    holes = {"holes": Label((-1, 2), in_pixels=True), "turn": Label(mirror=(-1.0,)), "axis": Label((2,))}
    holes["axis"] = replace(holes["axis"], derive=(("turn",), lambda turn: [np.cos(turn), np.sin(turn)]))
    monkeypatch.setitem(domains._registered, "plates", replace(domains.find("images"), name="plates", labels=holes))
    write(tmp_path / "a.png", noise(70, 110))
    write(tmp_path / "b.png", noise(35, 55))
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "holes": [[20, 30], [60.5, 40.5]], "turn": 0.5}')
    return tmp_path


def test_labels_of_a_registered_domain_move_are_checked_completed_and_mirrored(plates):
    row, other = load(str(plates))
    assert np.allclose(row["holes"], [[9.75, 14.75], [30, 20]])
    assert np.allclose(row["axis"], [np.cos(0.5), np.sin(0.5)])
    assert not other["holes"] and other["axis"] is None
    turned = mirrored(row, 55)
    assert np.allclose(turned["holes"], [[44.25, 14.75], [24, 20]]) and turned["turn"] == -0.5
    (plates / "metadata.jsonl").write_text('{"file_name": "a.png", "holes": [[20, 30, 4]]}')
    with pytest.raises(SourceError, match="a label holes that is not N × 2 numbers"):
        load(str(plates))


def test_each_labelled_point_gets_a_disc_of_the_radius_that_the_domain_names(plates):
    masks = Crops(load(str(plates))).masks([0, 1], PointsWeight(("holes", "none"), radius=4))
    assert masks[0, 15, 10] == masks[0, 20, 30] == 1
    assert masks[0, 20, 20] == 0
    assert masks[0].sum() == pytest.approx(2 * np.pi * 4**2, rel=0.03)
    assert not masks[1].any()
    with pytest.raises(ConfigError, match=r"write \('holes',\)"):  # its letters would be columns, and nothing is held
        PointsWeight("holes", radius=4)


def test_without_landmarks_the_iris_mask_is_empty(tmp_path):
    write(tmp_path / "a.png", noise())
    assert not Crops(load(str(tmp_path))).masks([0], EYES.weight).any()


def test_a_broken_image_is_named_or_left_out_on_request(tmp_path):
    write(tmp_path / "a.png", noise())
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:200])
    with pytest.raises(ImageError, match=r"b\.png"):
        load(str(tmp_path))
    with pytest.warns(UserWarning, match=r"left out 1: .*b\.png"):
        assert len(load(str(tmp_path), skip_bad=True)) == 1


def test_an_animated_image_is_named(tmp_path):
    frames = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match=r"a\.webp is animated \(3 frames\)"):
        load(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no image at all"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.jpg cannot be read as an image"):
        load(str(tmp_path))
    with pytest.raises(SourceError, match=r"not one image could be read; .*a\.jpg"):
        load(str(tmp_path), skip_bad=True)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nonsense", "neither a folder"),
        ("nonsense:there", "known source"),
        ("folder:/no/such/folder", "there is no folder"),
        ("syntheseyes:/no/such/folder", "there is no folder"),
        ("unityeyes:/no/such/folder", "there is no folder"),
        ("mpiigaze:/no/such/folder", "there is no folder"),
        ("simulator:feet", "choose one of simulator:eyes, camera:eyes"),
    ],
)
def test_an_unknown_source_is_named_with_the_remedy(source, sentence):
    with pytest.raises(SourceError, match=sentence):
        load(source)


def test_an_empty_folder_and_missing_labels_are_named(tmp_path):
    with pytest.raises(SourceError, match="no images below"):
        load(f"folder:{tmp_path}")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(SourceError, match=r"no images below .* their names end in .*\.jpg"):
        load(str(tmp_path))
    write(tmp_path / "f01/a.png", dot(55, 38))
    with pytest.raises(SourceError, match=r"a\.pkl is missing"):
        load(f"syntheseyes:{tmp_path}")


def test_metadata_without_file_names_are_refused(tmp_path):
    write(tmp_path / "a.png", noise())
    (tmp_path / "metadata.csv").write_text("image_name,pitch\na.png,0\n")
    with pytest.raises(SourceError, match="no column file_name"):
        load(str(tmp_path))


def test_a_draw_keeps_the_order_and_gives_every_item_the_same_chance():
    assert draw(iter("abcdef"), None, 0) == draw(iter("abcdef"), 6, 0) == list("abcdef")
    drawn = [draw(iter(range(10)), 4, seed) for seed in range(1000)]
    assert all(numbers == sorted(set(numbers)) and len(numbers) == 4 for numbers in drawn)
    assert drawn[0] == draw(iter(range(10)), 4, 0)
    assert np.allclose(np.bincount(np.ravel(drawn), minlength=10) / 1000, 0.4, atol=0.07)


def people(names, blocks=100):
    return Dataset.from_dict({"person": [name for name in names for _ in range(blocks)]})


def test_whole_persons_are_held_out():
    train, held_out = hold_out(people("abcdefgh"), 0.25, seed=1)
    assert len(held_out) == 200
    assert not set(train["person"]) & set(held_out["person"])
    assert set(hold_out(people("abcdefgh"), 0.25, seed=1)[1]["person"]) == set(held_out["person"])


@pytest.mark.parametrize(("total", "share"), [(1500, 0.2), (96, 0.25), (3, 0.5), (2, 0.9)])
def test_one_persons_images_are_held_out_in_contiguous_blocks(total, share):
    numbers = Dataset.from_dict({"number": range(total), "person": ["p00"] * total})
    train, held_out = (np.array(part["number"]) for part in hold_out(numbers, share))
    assert sorted([*train, *held_out]) == list(range(total))
    assert len(held_out) == min(max(round(share * total), 1), total - 1)
    assert (np.diff(held_out) > 1).sum() <= 4


def test_shuffled_pixels_have_the_tones_of_the_source_and_none_of_its_labels():
    plain, mixed = (load(source, limit=20, seed=3) for source in ("camera:eyes", "shuffled:camera:eyes"))
    before, after = Crops(plain)[:], Crops(mixed)[:]
    assert np.array_equal(np.sort(before.reshape(20, -1)), np.sort(after.reshape(20, -1)))
    neighbours = [np.abs(np.diff(images.astype(float), axis=2)).mean() for images in (before, after)]
    assert neighbours[1] > 3 * neighbours[0]
    assert sorted(mixed.column_names) == ["file_name", "image", "person"]
    assert mixed["person"] == plain["person"]
    assert np.array_equal(after, Crops(load("shuffled:camera:eyes", limit=20, seed=3))[:])


def _squares(path, names, sides=None):
    """Write a table of plain squares, as bright as their number, of these classes (None: without the column)."""
    images = [np.full((side, side, 3), number, np.uint8) for number, side in enumerate(sides or [20] * len(names))]
    rows = {"image": [image_cell(image) for image in images]} | ({"label": names} if names[0] is not None else {})
    Dataset.from_dict(rows).to_parquet(path)
    return str(path)


def _numbers(source, **options):
    return [int(image[0, 0]) for image in Crops(load(source, size=(16, 16), **options))[:]]


def test_halves_are_of_each_class_in_file_order_and_share_no_image(tmp_path):
    table = _squares(tmp_path / "sorted.parquet", ["a"] * 5 + ["b"] * 2 + ["a"])
    assert _numbers(f"first-half:{table}") == [0, 1, 2, 5]
    assert _numbers(f"second-half:{table}") == [3, 4, 6, 7]
    drawn = _numbers(f"second-half:{table}", limit=2)  # the limit is of the half
    assert len(drawn) == 2
    assert set(drawn) <= {3, 4, 6, 7}
    plain = _squares(tmp_path / "plain.parquet", [None] * 5)
    assert [_numbers(f"{half}-half:{plain}") for half in ("first", "second")] == [[0, 1], [2, 3, 4]]
    with pytest.raises(SourceError, match="only one image of the class b, which cannot be halved"):
        load(f"first-half:{_squares(tmp_path / 'odd.parquet', ['a', 'a', 'b'])}")


def test_a_table_is_resized_also_where_only_its_first_image_has_the_size(tmp_path):
    table = _squares(tmp_path / "mixed.parquet", ["a"] * 3, [16, 30, 16])
    assert Crops(load(table, size=(16, 16)))[:].shape == (3, 16, 16)
