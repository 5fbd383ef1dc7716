"""What labels mark: drawn, moved with the crop and mirrored, checked, and a weight of the self-regularization."""

import json

import cv2
import numpy as np
import pytest
from datasets import Dataset, Image, load_from_disk
from PIL import Image as Picture

from simgan import ConfigError, ImageError, SourceError
from simgan.data import Crops, load
from simgan.data.columns import image_cell, mirrored
from simgan.data.crop import Crop
from simgan.data.prepare import prepare
from simgan.domains import MarkedWeight
from simgan.images import marks
from simgan.training.bank import Bank

SIZE = (40, 30)
MASK = np.zeros((30, 40), np.uint8)
MASK[5:15, 10:30] = 1
RECTANGLE = {  # the same one, in each way
    "boxes": [10, 5, 30, 15],
    "bbox": [10, 5, 20, 10],
    "polygons": [[[10, 5], [30, 5], [30, 15], [10, 15]]],
    "mask": Picture.fromarray(MASK),
}


@pytest.mark.parametrize("column", RECTANGLE)
def test_what_is_marked_is_filled(column):
    drawn = marks.draw(RECTANGLE[column], column, SIZE)
    assert drawn.dtype == np.float32 and drawn.shape == MASK.shape
    assert np.abs(drawn - MASK).max() <= (0.5 if column == "polygons" else 0)  # a polygon's outline, ¼ px, is drawn too


def test_points_are_discs_of_five_percent_and_at_least_three_pixels():
    small, large = marks.draw([20, 10], "points", SIZE), marks.draw([[20, 10], [90.5, 50]], "points", (200, 100))
    assert small[10, [17, 23]].all() and not small[10, [16, 24]].any()
    assert large[10, [15, 25]].all() and not large[10, [14, 26]].any()
    assert large.sum() == pytest.approx(2 * np.pi * 5**2, rel=0.05)


def test_lists_of_boxes_and_polygons_are_drawn_together():
    assert np.array_equal(marks.draw([[0, 0, 4, 4], [20, 10, 24, 14]], "boxes", SIZE).sum((0, 1)), 32)
    triangles = [[[0, 0], [8, 0], [0, 8]], [[20, 20], [30, 20], [30, 28], [20, 28]]]
    drawn = marks.draw(triangles, "polygons", SIZE)
    assert drawn[1, 1] == drawn[24, 25] == 1 and not drawn[7, 7]
    assert not marks.draw([], "boxes", SIZE).any() and not marks.draw(None, "mask", SIZE).any()


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("boxes", [1, 2, 3], "a.png has boxes that are no boxes x0, y0, x1, y1"),
        ("boxes", [[1, 2, 3, 4], [1, 2]], "a.png has boxes that are no boxes"),
        ("boxes", "1 2 3 4", "a.png has boxes that are no boxes"),
        ("boxes", [1, 2], "a.png has boxes that are no boxes"),
        ("points", [1, 2, 3, 4], "a.png has points that are no points x, y"),
        ("mask", [[1, 2]], "a.png has mask that are no mask, which is an image"),
        ("corners", [1, 2, 3], "a.png has corners that are no points x, y, boxes x0"),
        ("polygons", [[[1, 2], [3, 4]]], "polygons of at least 3 corners"),
        ("points", [1, float("nan")], "a.png has points that are not finite"),
        ("boxes", [20, 20, 10, 10], "x, y, width, height are a bbox"),
        ("bbox", [20, 20, -10, 10], "a.png has bbox that end before they begin"),
        ("points", [[10, 32]], "a.png has points outside of its 40×30 pixels"),
        ("bbox", [20, 20, 30, 5], "a.png has bbox outside of its 40×30 pixels"),
        ("boxes", [0.1, 0.2, 0.5, 0.9], "give pixels, no fractions"),
        ("mask", Picture.new("L", (20, 30)), "a.png is 40×30 pixels and its mask 20×30: give both one size"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(column, value, sentence):
    with pytest.raises(ImageError, match=sentence):
        marks.check(value, column, SIZE, "a.png")


@pytest.mark.parametrize("column", RECTANGLE)
def test_labels_move_with_the_crop_and_the_mirror(column):
    crop = Crop(4, 2, 30, 20, (60, 40))
    value = RECTANGLE[column]
    row = crop.move_labels({column: [value] if column in ("boxes", "bbox") else value})
    expected = crop.cut(255 * MASK.astype(np.uint16))  # depth: the nearest pixels
    drawn = marks.draw(row[column], column, (60, 40))
    within = 0.5 if column == "polygons" else 0
    assert np.abs(drawn - (expected > 0)).max() <= within
    turned = marks.draw(mirrored(row, 60)[column], column, (60, 40))
    assert np.abs(turned - drawn[:, ::-1]).max() <= within


@pytest.fixture
def folder(tmp_path):
    """Images with a bright rectangle, of two sizes, with labels of all kinds and masks beside them."""
    rng = np.random.default_rng(0)
    rows = []
    (tmp_path / "masks").mkdir()
    for number, (wide, high) in enumerate([(40, 30), (80, 60), (40, 30), (80, 60)]):
        x, y = (int(v) for v in rng.integers(4, 12, 2))
        image = rng.integers(0, 90, (high, wide), np.uint8)
        mask = np.zeros((high, wide), np.uint8)
        image[y : y + 12, x : x + 14], mask[y : y + 12, x : x + 14] = 255, 7
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        cv2.imwrite(str(tmp_path / f"masks/{number}.png"), mask)
        rows.append(
            {
                "file_name": f"{number}.png",
                "objects": {"bbox": [[x, y, 14, 12]], "category": [number]},
                "boxes": [x, y, x + 14, y + 12],
                "points": [[x + 6.5, y + 5.5]],
                "polygons": [[[x, y], [x + 14, y], [x + 14, y + 12], [x, y + 12]]],
                "mask": f"masks/{number}.png",
            }
        )
    write(tmp_path, rows)
    return tmp_path


def write(folder, rows):
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def on_the_rectangle(dataset, column, least):
    """Return whether the weight of each image lies where the image is bright."""
    crops = Crops(dataset)
    masks = crops.masks(range(len(crops)), MarkedWeight(column)) >= 0.5
    bright = crops[:] > 150
    return all((m & b).sum() >= least * (m | b).sum() for m, b in zip(masks, bright, strict=True))


def test_labels_of_a_folder_follow_the_resize_and_become_weights(folder, tmp_path):
    dataset = load(str(folder), size=(40, 30))
    assert len(dataset) == 4  # masks are no images of the source
    assert dataset[0]["objects"] == {"category": [0]} and len(dataset[0]["bbox"][0]) == 4
    assert all(on_the_rectangle(dataset, column, 0.7) for column in ("boxes", "bbox", "polygons", "mask"))
    centres = Crops(dataset).masks(range(4), MarkedWeight("points"))
    for mask, image in zip(centres, Crops(dataset)[:], strict=True):
        down, across = np.nonzero(image > 150)
        assert np.allclose(np.mean(np.nonzero(mask), 1), (down.mean(), across.mean()), atol=0.7)


def test_prepared_and_shuffled_data_have_the_same_weights(folder, tmp_path):
    prepare(str(folder), tmp_path / "prepared", size=(40, 30), processes=1)
    prepared, direct = load_from_disk(str(tmp_path / "prepared")), load(str(folder), size=(40, 30))
    assert prepared.features == direct.features and isinstance(prepared.features["mask"], Image)
    for column in ("bbox", "polygons", "mask"):
        expected = Crops(direct).masks([3, 1], MarkedWeight(column))
        assert np.array_equal(Crops(prepared.select([3, 1])).masks([0, 1], MarkedWeight(column)), expected)


def test_a_table_may_hold_boxes_as_coco_does_and_masks(tmp_path):
    box = {"objects": [{"bbox": [10.0, 5.0, 20.0, 10.0], "category": 3}], "mask": image_cell(MASK * 255)}
    image = {"image": image_cell(np.where(MASK, 255, 20).astype(np.uint8))}
    data = Dataset.from_list([image | box] * 2)
    Dataset(data.data.table).to_parquet(tmp_path / "a.parquet")
    for dataset in (load(str(tmp_path / "a.parquet"), size=SIZE), load(str(tmp_path / "a.parquet"), size=(20, 16))):
        assert on_the_rectangle(dataset, "bbox", 0.7) and on_the_rectangle(dataset, "mask", 0.7)


def test_weights_are_mirrored_with_their_images(folder):
    crops = Crops(load(str(folder), size=(40, 30)))
    numbers = np.arange(16)
    bank = Bank("synthetic", [crops], 4, 0, weight=MarkedWeight("mask"))
    block = bank.block(numbers[None])
    images, masks = bank.take({name: values[0] for name, values in block.items()})
    assert 0 < block["mirrored"].sum() < 16
    assert all((image[mask > 0] > 0.2).float().mean() > 0.8 for image, mask in zip(images, masks, strict=True))


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"points": [[5, 90]]}, ImageError, "2.png has points outside of its 40×30 pixels"),
        ({"boxes": [5, 5, 9]}, ImageError, "2.png has boxes that are no boxes"),
        ({"mask": "masks/1.png"}, ImageError, "2.png is 40×30 pixels and its mask 80×60"),
        (
            {"mask": "masks/9.png"},
            SourceError,
            r"metadata.jsonl names 1 masks that are not there, such as masks/9.png: name each",
        ),
        ({"bbox": [1, 1, 5, 5]}, SourceError, "in the column bbox and in objects"),
    ],
)
def test_wrong_labels_are_refused_with_their_file_and_column(folder, change, error, sentence):
    rows = read(folder)
    rows[2] |= change
    write(folder, rows)
    with pytest.raises(error, match=sentence):
        load(str(folder), size=(40, 30))


def test_weights_that_mark_nothing_or_cannot_move_are_refused(folder):
    for number in range(4):
        file = str(folder / f"masks/{number}.png")
        cv2.imwrite(file, 0 * cv2.imread(file, cv2.IMREAD_GRAYSCALE))
    crops = Crops(load(str(folder), size=(40, 30)))
    with pytest.raises(SourceError, match="the column mask marks nothing in any image"):
        crops.masks([0], MarkedWeight("mask"))
    with pytest.raises(SourceError, match="there is no column keypoints"):
        crops.masks([0], MarkedWeight("keypoints"))
    with pytest.raises(ConfigError, match="the column objects does not move with the crop"):
        crops.masks([0], MarkedWeight("objects"))


def test_images_without_the_label_have_no_weight(folder):
    rows = read(folder)
    rows[1].pop("polygons")
    rows[2]["mask"] = None
    write(folder, rows)
    crops = Crops(load(str(folder), size=(40, 30)))
    assert crops.masks(range(4), MarkedWeight("polygons")).any((1, 2)).tolist() == [True, False, True, True]
    assert crops.masks(range(4), MarkedWeight("mask")).any((1, 2)).tolist() == [True, True, False, True]
