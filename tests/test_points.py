"""The experiment on points: found in images of any shape, moved with their crop, and refused where they cannot be."""

import json

import numpy as np
import pytest
from datasets import Dataset

from simgan import ConfigError, ImageError, SourceError
from simgan.cli import main
from simgan.data.columns import image_cell
from simgan.experiments.base import LabelledImages
from simgan.experiments.points.experiment import PointsExperiment
from simgan.experiments.sources import Sources

TINY = {"heat": 16, "width": 0.08, "batch": 12}


def drawn(count, seed, high=40, wide=60):
    """Return images uint8 (N, H, W, 3) with a red and a green dot, and the dots' places (N, 2, 2)."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(8, [wide - 9, high - 9], (count, 2, 2)).round(2)
    y, x = np.mgrid[:high, :wide]
    dots = np.exp(-((x - points[..., :1, None]) ** 2 + (y - points[..., 1:, None]) ** 2) / 10)
    images = generator.integers(0, 60, (count, high, wide, 3))
    images[..., :2] += (190 * dots.transpose(0, 2, 3, 1)).astype(int)
    return images.astype(np.uint8), points


def write(path, count, seed, **options):
    images, points = drawn(count, seed, **options)
    rows = {"image": [image_cell(image) for image in images], "points": points.tolist()}
    Dataset.from_dict(rows).to_parquet(path)
    return str(path)


def labels(images, points):
    return {"points": points, "size": np.tile(np.array(images.shape[2:0:-1], float), (len(images), 1))}


def test_a_network_finds_points_much_better_than_their_mean():
    images, points = drawn(150, 0)
    tests, truth = drawn(40, 1)
    training = PointsExperiment("x", "y", **TINY | {"steps": 120, "learning_rate": 1e-2})
    data = LabelledImages(images, labels(images, points))
    network = training.build(data, 0)
    training.train(network, data, 0)
    result = training.measure(training.estimate(network, tests), labels(tests, truth)).figures
    assert result["error"] < 0.4 * result["guessing"]


def test_errors_are_pixels_and_shares_of_the_width():
    images, points = drawn(4, 0)
    away = points + np.array([3.0, 0.0])  # of 60 px: 5 %
    away[0] = points[0] + [0.0, 2.0]
    result = PointsExperiment("x", "y").measure((away + 0.5) / [60, 40], labels(images, points))
    assert np.allclose(result.columns["error"], [2, 3, 3, 3])
    assert np.allclose(result.errors[1:], 5)
    assert np.allclose(result.columns["share_within_5_percent"][0], 1)
    assert result.figures["error"] == pytest.approx(2.75)


def test_points_move_with_size_and_arms_are_told(tmp_path, capsys):
    tables = [write(tmp_path / f"{name}.parquet", 14, seed) for seed, name in enumerate(("synthetic", "real"))]
    plain, half = (
        Sources(PointsExperiment(*tables, **TINY, size=size)).test.labels["points"] for size in (None, (30, 20))
    )
    assert np.allclose((plain + 0.5) / 2 - 0.5, half, atol=1e-3)
    unlabelled = write(tmp_path / "more.parquet", 5, 9)
    command = ["evaluate", "points", *tables, "--unlabelled", unlabelled, "--steps", "2", "--heat", "8"]
    main([*command, "--width", "0.05", "--seeds", "1", "--batch", "4", "--output", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out" / "points.json").read_text())
    plain = ["synthetic+colour", "synthetic+blur+noise", "synthetic+randaugment"]
    assert [row["trained_on"] for row in report["arms"]] == ["synthetic", "fda", "matched", *plain]
    assert "A guess of the mean of the test labels" in capsys.readouterr().out
    main(["report", str(tmp_path / "out"), "--output", str(tmp_path / "report")])
    assert "within 5 % of the width" in (tmp_path / "report" / "report.md").read_text()


def test_points_that_cannot_be_learnt_are_refused():
    images, points = drawn(3, 0)
    read = PointsExperiment("x", "y").read
    for rows, error, sentence in (
        ({"name": ["a"] * 3}, SourceError, "no column points"),
        ({"points": [*points[:2].tolist(), points[2, :1].tolist()]}, SourceError, "as many points in every image"),
        ({"points": (points + np.array([0, 40])).tolist()}, ImageError, "not all within it"),
    ):
        with pytest.raises(error, match=sentence):
            read(Dataset.from_dict(rows), images, "it")
    one = LabelledImages(images, labels(images, points[:, :1]))
    with pytest.raises(ConfigError, match="a has 1 points in an image, b 2"):
        PointsExperiment("x", "y").check(one, LabelledImages(images, labels(images, points)), ("a", "b"))
    with pytest.raises(ConfigError, match="would not move with its crop: name it points"):
        PointsExperiment("x", "y", column="corners")
