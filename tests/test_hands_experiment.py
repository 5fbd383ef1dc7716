"""The hands experiment: joints follow their crop, places and millimetres are exact, a hourglass learns, runs go on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_images import FOCAL, SIDE, dataset, hands

from simgan import ConfigError, ImageError, Refiner, RefinerConfig, SourceError
from simgan.cli import main
from simgan.domains.hands import JOINTS
from simgan.experiments.base import LabelledImages
from simgan.experiments.hand_pose.experiment import HandsExperiment, _augmented, check_hands, cut, draw_boxes, move
from simgan.experiments.hand_pose.hourglass import StackedHourglass, draw_heat, find_peaks, heat_loss
from simgan.experiments.run import run_experiment
from simgan.experiments.sources import Sources, parse_arms
from simgan.images.depth import BACKGROUND, to_tensor


def experiment(synthetic="simulator:hands", real="camera:hands", **options):
    return HandsExperiment(synthetic, real, **{"model": (), "heat": 8, "width": 0.05, "steps": 2, "batch": 8} | options)


def test_a_place_drawn_as_heat_is_found_between_the_pixels():
    places = torch.rand(3, 14, 2, generator=torch.Generator().manual_seed(0)) * 27 + 2
    assert torch.allclose(find_peaks(draw_heat(places, 32).log()), places, atol=1e-3)
    assert torch.allclose(
        find_peaks(draw_heat(torch.zeros(1, 1, 2), 32).log()), torch.zeros(1, 1, 2), atol=0.51
    )  # a corner


def test_the_loss_is_least_at_the_joint_and_one_outside_the_map_does_not_count():
    there = torch.tensor([[[5.0, 7.0]]])
    right, wrong = ((3 * draw_heat(there + off, 16))[:, None] for off in (0, 2))
    assert heat_loss(right, there) < heat_loss(torch.zeros_like(right), there) < heat_loss(3 * wrong, there)
    assert heat_loss(right.repeat(1, 2, 1, 1, 1), there) == pytest.approx(2 * float(heat_loss(right, there)))
    assert float(heat_loss(right, torch.tensor([[[-9.0, 7.0]]]))) < 1e-6


def test_the_full_size_is_the_papers():
    network = StackedHourglass(14)
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 256, 256)).shape == (1, 2, 14, 64, 64)
    assert network.hourglasses[0][0].skip.change[2].in_channels == 256


def test_joints_go_where_the_crop_goes_and_depth_is_never_mixed():
    generator = torch.Generator().manual_seed(1)
    places = torch.rand(20, 1, 2, generator=generator) * 80 + 72
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    inside = torch.hypot(x - places[:, :, :1, None][..., 0], y - places[:, :, 1:, None][..., 0]) < 8
    crops = torch.where(inside.reshape(20, 1, SIDE, SIDE), -0.25, BACKGROUND)
    boxes = draw_boxes(20, generator)
    seen = cut(crops, boxes, 128)
    assert set(seen.unique().tolist()) == {-0.25, BACKGROUND}
    moved = move(places, boxes, 128)[:, 0]
    for image, place in zip(seen[:, 0], moved, strict=True):
        rows, columns = torch.nonzero(image < 0, as_tuple=True)
        assert torch.allclose(torch.stack([columns, rows]).float().mean(1), place, atol=0.4)
    assert (moved - (places[:, 0] + 0.5) * 128 / SIDE + 0.5).abs().max() > 4  # they did move
    whole = torch.eye(2, 3).repeat(20, 1, 1)
    assert torch.equal(cut(crops, whole, SIDE), crops)


def test_an_error_in_millimetres_is_that_at_the_depth_of_the_joint():
    _, joints, mm = hands(5)
    away = mm + np.array([6.0, -8.0, 0.0])
    frame = [FOCAL * points[..., :2] / points[..., 2:] for points in (mm, away)]
    scale = (joints[:, 1:, 0] - joints[:, :1, 0]) / (frame[0][:, 1:, 0] - frame[0][:, :1, 0])
    estimates = joints[..., :2] + (frame[1] - frame[0]) * scale.mean(1)[:, None, None]
    result = experiment().measure(estimates, {"joints": joints, "joints_mm": mm})
    assert np.allclose(result.columns["error_mm"], 10, atol=1e-6)
    assert result.figures["share_within_5px"] == (result.errors < 5).mean()


def test_labels_that_cannot_be_are_refused_with_what_is_wrong():
    images, joints, mm = hands(3)
    for pictures, px, away, sentence in (
        (images.astype(np.uint8), joints, mm, "uint16"),
        (images, joints[:, :13], mm, r"must be \(3, 14, 3\)"),
        (images, joints, mm / 1000, "must be millimetres"),
        (images, joints, mm * [1, -1, 1], "not one hand before one camera"),
        (images, joints[::-1], mm, "not one hand before one camera"),
    ):
        with pytest.raises(ImageError, match=sentence):
            check_hands("it", pictures, px, away)


def test_noise_leaves_holes_alone_and_holes_only_take_away():
    crops = to_tensor(hands(6)[0])
    generator = torch.Generator().manual_seed(0)
    noisy = _augmented(crops, ("noise",), generator)
    assert torch.equal(noisy == BACKGROUND, crops == BACKGROUND)
    assert 0.5 < float((noisy - crops)[crops < BACKGROUND].std()) / (1.8 / 300) < 6
    pierced = _augmented(crops, ("holes",), generator)
    lost = (pierced == BACKGROUND) & (crops < BACKGROUND)
    assert 0.01 < float(lost.sum() / (crops < BACKGROUND).sum()) < 0.15
    assert torch.equal(pierced[~lost], crops[~lost])


def test_a_hourglass_learns_joints_and_its_seed_fixes_them():
    images, joints, _ = hands(120)
    tests, truth, mm = hands(30, seed=1)
    training = experiment(width=0.1, stacks=1, steps=80, learning_rate=1e-2)
    network = training.build(LabelledImages(images, {}), 0)
    training.train(network, LabelledImages(images, {"joints": joints}), 0)
    mean = np.broadcast_to(joints[..., :2].mean(0), (30, 14, 2))
    found, guess = (
        training.measure(estimates, {"joints": truth, "joints_mm": mm}).figures["median_error"]
        for estimates in (training.estimate(network, tests), mean)
    )
    assert found < 0.7 * guess
    twice = []
    for _ in range(2):
        network = experiment().build(LabelledImages(images, {}), 3)
        experiment().train(network, LabelledImages(images[:16], {"joints": joints[:16]}), 3)
        twice.append(experiment().estimate(network, tests))
    assert np.array_equal(*twice)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hands")
    for name, seed in (("synthetic", 0), ("real", 5)):
        dataset(24, seed).to_parquet(folder / f"{name}.parquet")
    identity = RefinerConfig(domain="hands", width=4, blocks=1, predict_residual=True)
    Refiner(identity).save_pretrained(folder / "identity")
    return folder


def test_what_cannot_be_compared_is_refused_before_anything_is_trained(sources):
    synthetic, real = (str(sources / f"{name}.parquet") for name in ("synthetic", "real"))
    with pytest.raises(ConfigError, match="eyes refines eyes, not hands"):
        Sources(experiment(synthetic, real, model=("eyes",)))
    dataset(4).remove_columns("joints_mm").to_parquet(sources / "half.parquet")
    with pytest.raises(SourceError, match="has no joints_mm"):
        _ = Sources(experiment(synthetic, str(sources / "half.parquet"))).test
    with pytest.raises(ConfigError, match="has 24 images, too few for 3 × 10"):
        run_experiment(Sources(experiment(synthetic, real, arms=("3x-synthetic",), limit=10)))
    with pytest.raises(ConfigError, match="fda, matched are for images of 8 bits"):
        run_experiment(Sources(experiment(synthetic, real, arms=("fda",), unlabelled="camera:hands", limit=4)))
    with pytest.raises(ConfigError, match="heat maps of 20 px"):
        experiment(heat=20)
    with pytest.raises(ConfigError, match=r"synthetic\+noise\+holes"):
        parse_arms(["synthetic+blur"], (), HandsExperiment.augmentations)


def test_an_experiment_goes_on_where_it_was_and_a_refiner_that_changes_nothing_gains_nothing(sources, capsys):
    command = ["evaluate", "hands", str(sources / "synthetic.parquet"), str(sources / "real.parquet")]
    command += ["--model", str(sources / "identity"), "--train-real", str(sources / "real.parquet"), "--seeds", "2"]
    command += ["--arms", "synthetic", "refined", "3x-refined", "real"]
    command += ["--steps", "2", "--heat", "8", "--width", "0.05", "--batch", "8", "--limit", "6"]
    command += ["--output", str(sources)]
    main(command)
    kept = {file: file.stat().st_mtime_ns for file in Path(sources / "hands").iterdir()}
    assert len(kept) == 8
    report, table = json.loads((sources / "hands.json").read_text()), capsys.readouterr().out
    (sources / "hands.json").unlink()
    main(command)
    assert {file: file.stat().st_mtime_ns for file in Path(sources / "hands").iterdir()} == kept
    assert json.loads((sources / "hands.json").read_text()) == report
    assert (sources / "hands.png").read_bytes()[:4] == b"\x89PNG"
    assert report["test_images"] == 12  # of the persons that are not trained on
    first, second = report["arms"][:2]
    assert first["shares_within"] == second["shares_within"]
    difference = report["differences"][0]
    assert (difference["first"], difference["second"]) == ("refined", "synthetic")
    assert difference["error"] == {"value": 0, "low": 0, "high": 0}
    shares = list(first["shares_within"].values())
    assert shares == sorted(shares)
    (seed,) = first["seeds"][:1]
    by_joint = seed["share_within_5px_by_joint"]
    assert list(by_joint) == list(JOINTS)
    assert np.mean(list(by_joint.values())) == pytest.approx(seed["share_within_5px"])
    millimetres = list(seed["shares_within_mm"].values())
    assert millimetres == sorted(millimetres) and len(millimetres) == 20
    assert first["shares_within"]["5"] == pytest.approx(first["share_within_5px"]["value"])
    assert "| 3x-refined" in table
    assert "74.5" in table  # the paper's, of real images
