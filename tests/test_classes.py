"""The experiment on classes: evenly counted and drawn, names that agree, any size, and what reads its results."""

import json
import shutil

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset
from publishing_runs import make_run

from simgan import ConfigError, ImageError, Refiner, RefinerConfig, SourceError
from simgan.cli import main
from simgan.data.columns import image_cell
from simgan.experiments.base import LabelledImages
from simgan.experiments.classes.experiment import ClassesExperiment
from simgan.experiments.run import run_experiment
from simgan.experiments.sources import Sources
from simgan.hub.cards.model import render_model_card
from simgan.hub.cards.records import read_records

CLASSES = ("bar", "cross", "dot")
TINY = {"width": 4, "steps": 3, "batch": 6, "seeds": 2, "rotate": 0.0}


def drawn(names, seed, side=24):
    """Return images of these classes in random colours, uint8 (N, side, side, 3)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - side // 2
    shapes = {"bar": abs(y) < 3, "cross": (abs(x) < 2) | (abs(y) < 2), "dot": x**2 + y**2 < 30}
    images = generator.integers(0, 90, (len(names), 1, 1, 3)) + np.zeros((side, side, 1), int)
    for image, name in zip(images, names, strict=True):
        image[shapes.get(name, x > y)] = generator.integers(120, 255, 3)
    return images.astype(np.uint8)


def write(path, names, seed, column="label", sides=(24,)):
    images = [drawn([name], 1000 * seed + n, sides[n % len(sides)])[0] for n, name in enumerate(names)]
    rows = Dataset.from_dict({"image": [image_cell(image) for image in images], column: list(names)})
    rows.to_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    counts = {"synthetic": (12, 12, 12, 6), "real": (10, 4, 6), "other": (6, 6, 6)}
    names = {key: np.repeat((*CLASSES, "extra")[: len(many)], many) for key, many in counts.items()}
    return {key: write(folder / f"{key}.parquet", names[key], seed) for seed, key in enumerate(counts)}


def experiment(tables, **options):
    return ClassesExperiment(options.pop("synthetic", tables["synthetic"]), tables["real"], **TINY | options)


def test_balanced_accuracy_is_the_mean_of_the_classes_recalls():
    truth = np.array(["a"] * 6 + ["b"] * 2)
    likeliest = np.array([["a", "b"]] * 5 + [["b", "a"]] * 2 + [["a", "b"]])
    result = ClassesExperiment("x", "y").measure(likeliest, {"class": truth})
    assert result.figures["recall"] == pytest.approx({"a": 5 / 6, "b": 1 / 2})
    assert result.figures["balanced_accuracy"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert result.columns["balanced_accuracy"].mean() == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert result.figures["accuracy"] == pytest.approx(6 / 8)
    alike = ClassesExperiment("x", "y").measure(truth[:, None], {"class": truth}).columns["balanced_accuracy"]
    assert np.allclose(alike, 1)  # however many images of a class are drawn
    assert result.errors.tolist() == [0, 0, 0, 0, 0, 1, 0, 1]  # classes that were likelier


def test_classes_are_drawn_evenly():
    names = np.array(["rare"] * 5 + ["often"] * 195)
    data = LabelledImages(np.zeros((200, 16, 16), np.uint8), {"class": names})
    chosen = ClassesExperiment("x", "y").order(data, torch.Generator().manual_seed(0))
    assert len(chosen) == 200
    assert 70 < (names[chosen] == "rare").sum() < 130


def test_a_network_learns_classes_and_its_seed_fixes_them():
    names, tests = (np.repeat(CLASSES, count) for count in (60, 20))
    training = ClassesExperiment("x", "y", steps=60, width=8, batch=24)
    data = LabelledImages(drawn(names, 0), {"class": names})
    estimates = []
    for _ in range(2):
        network = training.build(data, 1)
        training.train(network, data, 1)
        estimates.append(training.estimate(network, drawn(tests, 1)))
    assert np.array_equal(*estimates)
    assert training.measure(estimates[0], {"class": tests}).figures["balanced_accuracy"] > 0.8


def test_a_copy_fine_tuned_on_fewer_classes_keeps_their_numbers():
    names, some = np.repeat(CLASSES, 40), np.repeat(CLASSES[1:], 20)
    training = ClassesExperiment("x", "y", steps=60, width=8, batch=24)
    network = training.build(LabelledImages(drawn(names, 0), {"class": names}), 0)
    training.train(network, LabelledImages(drawn(some, 1), {"class": some}), 0)
    assert (training.estimate(network, drawn(some, 2))[:, 0] == some).mean() > 0.8


def test_arms_are_trained_kept_and_told_in_the_report_and_the_card(tables, tmp_path, capsys):
    run = make_run(tmp_path / "run", "eyes")
    config = RefinerConfig(domain="images", codec="rgb8", channels=3, width=4, blocks=1, predict_residual=True)
    Refiner(config).save_pretrained(run)
    arms = ["synthetic", "refined", "fda", "matched+noise", "synthetic+randaugment", "real"]
    command = ["evaluate", "classes", tables["synthetic"], tables["real"], "--train-real", tables["other"]]
    command += ["--model", str(run), "--arms", *arms, "--output", str(run), "--seeds", "2", "--steps", "2"]
    command += ["--width", "4", "--batch", "6", "--finetune", "9"]
    main(command)
    first, table = (run / "classes.json").read_bytes(), capsys.readouterr().out
    kept = {file: file.stat().st_mtime_ns for file in (run / "classes").iterdir()}
    main(command)
    assert (run / "classes.json").read_bytes() == first  # names come back from the kept files:
    assert kept == {file: file.stat().st_mtime_ns for file in (run / "classes").iterdir()}
    assert "balanced accuracy, %" in table
    report = json.loads(first)
    assert [row["trained_on"] for row in report["arms"]][:6] == arms
    assert report["arms"][0]["images"] == 42  # with an extra class
    same = next(row for row in report["differences"] if (row["first"], row["second"]) == ("refined", "synthetic"))
    assert same["balanced_accuracy"] == {"value": 0, "low": 0, "high": 0}  # the identity refines to the same
    card = render_model_card(read_records(run), "org/model")
    assert "| networks trained on | balanced accuracy, mean on real.parquet |" in card
    main(["report", str(run / "classes.json"), "--output", str(tmp_path / "report")])
    assert "matched+noise" in (tmp_path / "report" / "report.md").read_text()
    shutil.copy(run / "classes.json", run / "points.json")
    (run / "classes.json").unlink()
    assert "balanced accuracy, mean on" in render_model_card(read_records(run), "org/model")  # the one that is there


def test_classes_that_no_image_to_train_on_has_are_named(tables, tmp_path):
    few = write(tmp_path / "few.parquet", ["bar", "dot", "Cross"] * 4, 0)
    with pytest.raises(ConfigError, match=r"few.parquet has no image of cross, which .*real.parquet has"):
        run_experiment(Sources(experiment(tables, synthetic=few, arms=("synthetic",))))
    with pytest.raises(ConfigError, match=r"few.parquet has no image of cross"):
        run_experiment(Sources(experiment(tables, train_real=few, arms=("synthetic", "real"))))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({"other": ["bar"] * 3}, r"no column label of classes: name one with --column \(other\)"),
        ({"label": [0.5, 1.0, 2.0]}, "classes are names or whole numbers"),
        ({"label": ["bar", None, "dot"]}, "image 1 has no label"),
    ],
)
def test_labels_that_are_no_classes_are_refused(rows, sentence):
    with pytest.raises(SourceError, match=sentence):
        ClassesExperiment("x", "y").read(Dataset.from_dict(rows), drawn(["bar"] * 3, 0), "it")


def test_names_of_a_class_label_agree_with_names_and_numbers_with_numbers():
    read = ClassesExperiment("x", "y").read
    numbers = Dataset.from_dict({"label": [2, 0, 2]})
    images = drawn(["bar"] * 3, 0)
    assert read(numbers, images, "it").labels["class"].tolist() == ["2", "0", "2"]
    named = numbers.cast_column("label", ClassLabel(names=list(CLASSES)))
    assert read(named, images, "it").labels["class"].tolist() == ["dot", "bar", "dot"]
    with pytest.raises(ImageError, match="8 bits"):
        read(numbers, images.astype(np.uint16), "it")


def test_images_of_several_sizes_need_the_option_size(tables, tmp_path):
    mixed = write(tmp_path / "mixed.parquet", CLASSES * 4, 0, sides=(24, 40, 30))
    with pytest.raises(ImageError, match="images of 3 sizes, from 24×24 to 40×40 px: give --size W H"):
        run_experiment(Sources(experiment(tables, synthetic=mixed, arms=("synthetic",))))
    large = write(tmp_path / "large.parquet", CLASSES * 4, 0, sides=(40,))
    with pytest.raises(ConfigError, match=r"images of 40×40 px, .* of 24×24: give --size W H"):
        run_experiment(Sources(experiment(tables, synthetic=large, arms=("synthetic",))))
    sized = Sources(experiment(tables, synthetic=mixed, size=(20, 16), arms=("synthetic",)))
    assert len(run_experiment(sized)) == 1
    assert sized.test.images.shape == (20, 16, 20, 3)


def test_channels_and_equalization_are_the_models(tables, tmp_path):
    config = RefinerConfig(domain="images", codec="grey8", width=4, blocks=1, equalize=True)
    Refiner(config).save_pretrained(tmp_path / "grey")
    sources = Sources(experiment(tables, model=(str(tmp_path / "grey"),)))
    assert sources.test.images.shape == (20, 24, 24)
    assert sources.test.images.max() == 255
    with pytest.raises(ConfigError, match="refines images, not"):
        Refiner(RefinerConfig(domain="images", channels=3, width=4, blocks=1)).save_pretrained(tmp_path / "colour")
        Sources(experiment(tables, model=(str(tmp_path / "grey"), str(tmp_path / "colour"))))


def test_rivals_take_unlabelled_images_that_are_not_of_the_test(tables, tmp_path):
    with pytest.raises(ConfigError, match="--unlabelled"):
        run_experiment(Sources(experiment(tables, arms=("fda",))))
    with pytest.raises(ConfigError, match="holds 20 of the 20 images of the test"):
        run_experiment(Sources(experiment(tables, arms=("fda",), unlabelled=tables["real"])))
    with pytest.raises(ConfigError, match="holds 10 of the 20 images of the test"):
        run_experiment(Sources(experiment(tables, arms=("real",), train_real=f"first-half:{tables['real']}")))
    nameless = write(tmp_path / "nameless.parquet", ["bar"] * 5, 70, column="note")
    one = Sources(experiment(tables, arms=("synthetic", "matched"), unlabelled=nameless))
    two = Sources(experiment(tables, arms=("synthetic", "matched"), unlabelled=tables["other"]))
    assert len(run_experiment(one)) == 2
    synthetic, matched = run_experiment(two)
    assert one.origin(matched.arm) != two.origin(matched.arm)
    assert one.origin(synthetic.arm) == two.origin(synthetic.arm)


def test_settings_that_leave_nothing_are_refused_and_none_of_augmentation_is_allowed():
    ClassesExperiment("x", "y", rotate=0.0, zoom=0.0, shift=0.0, flip=False)
    for options, sentence in (({"zoom": 1.0}, "leaves no image"), ({"rotate": -1.0}, "rotate -1.0 must be positive")):
        with pytest.raises(ConfigError, match=sentence):
            ClassesExperiment("x", "y", **options)
    with pytest.raises(ConfigError, match="no augmentation"):
        ClassesExperiment("x", "y", augment=("mirror",))
