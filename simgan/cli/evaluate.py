"""The commands `simgan evaluate ...`; what one of them needs is imported when it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

Synthetic = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYNTHETIC")]
Real = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]


def evaluate_realism(
    synthetic: Synthetic,
    real: Real,
    /,
    model: str | None = None,
    limit: int = 500,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Compare refined images with real ones, by the measures of their domain: patches, a network that recognizes them.

    Of depth images: patches, holes, edges, residuals of planes, levels and steps.

    Args:
        synthetic: a source of synthetic images.
        real: a source of real ones that training did not see.
        model: a shipped refiner, a folder, or a Hub id; if not given the default one.
        limit: at most so many images of each.
        seed: draws them.
        output: a JSON file for the figures.
    """
    from simgan import Refiner
    from simgan.domains import DEFAULT_MODEL
    from simgan.experiments.compare import as_json, compare_realism
    from simgan.experiments.files import write_json

    refiner = Refiner.from_pretrained(model or DEFAULT_MODEL)
    result = compare_realism(refiner, synthetic, real, limit=limit, seed=seed)
    print(f"{'':16}  {'refined':>26}  {'raw':>26}  {'between real (floor)':>26}")
    for row in result.rows:
        print(f"{row.name:16}  " + "  ".join(f"{row.show(one):>26}" for one in (row.refined, row.raw, row.floor)))
    print(f"share of the gap closed, of the {result.closed_of}: {result.closed.show(100, 0, ' %')}")
    print(result.note)
    if with_means := [row for row in result.rows if row.means]:
        print(f"{'mean of':16}  {'refined':>10}  {'raw':>10}  {'real':>10}")
        for row in with_means:
            cells = [f"{row.factor * row.means[kind]:.{row.digits}f}{row.unit}" for kind in ("refined", "raw", "real")]
            print(f"{row.name:16}  " + "  ".join(f"{cell:>10}" for cell in cells))
    if output is not None:
        write_json(output, as_json(result, refiner, synthetic, real, limit=limit, seed=seed))


def evaluate_shift(
    synthetic: Synthetic, /, model: str | None = None, limit: int = 1000, seed: int = 0, output: Path | None = None
) -> None:
    """Measure how far refining moves the labelled parts of images, by the measure of their domain.

    Args:
        synthetic: a source of synthetic images.
        model: a shipped refiner, a folder, or a Hub id; if not given the default one.
        limit: at most so many images.
        seed: draws them.
        output: a JSON file for the figures.
    """
    from simgan import Refiner
    from simgan.domains import DEFAULT_MODEL
    from simgan.experiments.compare import as_json, compare_shift
    from simgan.experiments.files import write_json

    refiner = Refiner.from_pretrained(model or DEFAULT_MODEL)
    result = compare_shift(refiner, synthetic, limit=limit, seed=seed)
    print(f"how far the {result.moved} moved, over {result.count} pairs of images; not measured in {result.missed:.1%}")
    for figure in result.figures():
        print(f"{figure.name:26} {figure.show()}")
    if result.repeatability is not None:
        print(f"{'median, the measure alone':26} {result.repeatability:.2f} {result.unit}")
    print(f"In brackets: 95 % intervals that resample {result.resampled}. {result.note}")
    for kind, groups in result.groups.items():
        shown = sorted(groups.items(), key=lambda item: -item[1].count)[:12]
        print(f"by {kind:12} pairs  median  mean of 95 %  90th percentile")
        for name, one in shown:
            print(f"   {name:12} {one.count:5}  {one.median:6.2f}  {one.trimmed_mean:12.2f}  {one.p90:15.2f}")
        if len(groups) > len(shown):
            print(f"   and {len(groups) - len(shown)} more, in the JSON of --output")
    if output is not None:
        write_json(output, as_json(result, refiner, synthetic, limit=limit, seed=seed))


def evaluate_gaze(
    synthetic: Synthetic,
    real: Real,
    /,
    model: tuple[str, ...] = ("eyes",),
    arms: tuple[str, ...] = ("synthetic", "refined"),
    train_real: str | None = None,
    test_persons: tuple[str, ...] = (),
    finetune: tuple[int, ...] = (),
    seeds: int = 3,
    steps: int = 800,
    backbone: str = "paper",
    width: float = 0.5,
    augment: tuple[Literal["shift", "blur", "contrast", "noise"], ...] = (),
    limit: int = 5000,
    test_limit: int = 2000,
    pitch: float = 90.0,
    yaw: float = 90.0,
    device: str = "cpu",
    output: Path | None = None,
) -> None:
    """Does refining help? Train gaze networks on each arm's images and test all of them on the same real ones.

    Nothing is chosen on the test images. What an interrupted experiment has trained is kept beside the output.

    Args:
        synthetic: a source of synthetic eyes with gaze labels.
        real: a source of real eyes with gaze labels, to test on.
        model: refiners (shipped names, folders, or Hub ids): an arm each; several are how controls are compared.
        arms: what to train on: synthetic, refined, real; 4x-refined is four times as many images, synthetic+blur+noise
            adds augmentation (shift, blur, contrast, noise).
        train_real: labelled real eyes to train on (arm real, finetune); persons of the test are left out.
        test_persons: test on these persons alone.
        finetune: also go on with so many real images after each arm.
        seeds: networks trained of each kind.
        steps: of training.
        backbone: the paper's network, or one of timm's by its name.
        width: of the paper's network; 1 is its full width.
        augment: augmentation of every arm, real ones too.
        limit: images of an arm.
        test_limit: images of the test.
        pitch: train only on synthetic gaze within so many degrees up and down,
        yaw: and to either side.
        device: where networks are trained, such as cuda.
        output: a folder for gaze.json, gaze.png and the results of each network; or the JSON file in it.
    """
    from simgan.experiments.gaze.arms import Material
    from simgan.experiments.gaze.experiment import run_experiment
    from simgan.experiments.gaze.report import as_report, as_table, draw_shares
    from simgan.experiments.gaze.training import GazeTraining

    training = GazeTraining(backbone=backbone, width=width, steps=steps, augment=augment)
    material = Material(synthetic, real, train_real, test_persons, model, limit, test_limit, pitch, yaw)
    file = _json_file(output, "gaze")
    comparison = run_experiment(
        material,
        arms,
        seeds=seeds,
        training=training,
        finetune=finetune,
        folder=file and file.with_suffix(""),
        device=device,
        tell=_tell,
    )
    report = as_report(comparison, material, training)
    _finish(file, report, as_table(report), draw_shares(comparison))


def evaluate_hands(
    synthetic: Synthetic,
    real: Real,
    /,
    model: tuple[str, ...] = ("hands",),
    arms: tuple[str, ...] = (),
    train_real: str | None = None,
    test_persons: tuple[str, ...] = (),
    finetune: tuple[int, ...] = (),
    seeds: int = 3,
    steps: int = 1200,
    heat: int = 32,
    width: float = 0.125,
    stacks: int = 2,
    batch: int = 16,
    learning_rate: float = 4e-3,
    augment: tuple[Literal["noise", "holes"], ...] = (),
    limit: int = 1000,
    test_limit: int = 1000,
    device: str = "cpu",
    output: Path | None = None,
) -> None:
    """Does refining help to find joints? Train hourglasses on each arm's depth images, test them on the same real ones.

    Nothing is chosen on the test images. What an interrupted experiment has trained is kept beside the output.

    Args:
        synthetic: a source of synthetic hands with joints.
        real: a source of real hands with joints, to test on, that the refiners did not see.
        model: refiners (shipped names, folders, or Hub ids): an arm each; several are how controls are compared.
        arms: what to train on: synthetic, refined, real; 3x-refined is three times as many images,
            synthetic+noise+holes adds augmentation. If not given the paper's table, real where --train-real tells it.
        train_real: real hands with joints to train on (arm real, finetune); persons of the test are left out.
        test_persons: test on these persons alone.
        finetune: also go on with so many real images after each arm.
        seeds: networks trained of each kind.
        steps: of training.
        heat: side of the heat maps in px; the crop enters four times as large. The paper's is 64 (and
            width 1); places are found between pixels, so that 32 will do on two cores.
        width: maps as a share of the paper's 256.
        stacks: hourglasses, one after the other.
        batch: crops of a step.
        learning_rate: the highest of the schedule; wide networks need a lower one, such as 0.001.
        augment: augmentation of every arm beside rotation and crops, real ones too.
        limit: images of an arm.
        test_limit: images of the test.
        device: where networks are trained, such as cuda.
        output: a folder for hands.json, hands.png and the results of each network; or the JSON file in it.
    """
    from simgan.experiments.hand_pose.arms import Material
    from simgan.experiments.hand_pose.experiment import ARMS, run_experiment
    from simgan.experiments.hand_pose.report import as_report, as_table, draw_pck
    from simgan.experiments.hand_pose.training import HandsTraining

    training = HandsTraining(heat, width, stacks, steps, batch, learning_rate, augment)
    arms = arms or (*ARMS, *(["real"] if train_real else []))
    models = model if any("refined" in arm for arm in arms) else ()
    material = Material(synthetic, real, train_real, test_persons, models, limit, test_limit)
    file = _json_file(output, "hands")
    comparison = run_experiment(
        material,
        arms,
        seeds=seeds,
        training=training,
        finetune=finetune,
        folder=file and file.with_suffix(""),
        device=device,
        tell=_tell,
    )
    report = as_report(comparison, material, training)
    _finish(file, report, as_table(report), draw_pck(comparison))


MEASURES: dict[str, Callable[..., Any]] = {
    "realism": evaluate_realism,
    "shift": evaluate_shift,
    "gaze": evaluate_gaze,
    "hands": evaluate_hands,
}


def _json_file(output: Path | None, name: str) -> Path | None:
    return output if output is None or output.suffix == ".json" else output / f"{name}.json"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _finish(file: Path | None, report: dict[str, Any], table: str, picture: bytes) -> None:
    """Print the table of an experiment, and write its report and its picture."""
    from simgan.experiments.files import write_aside, write_json

    print(table)
    if file is not None:
        write_aside(file.with_suffix(".png"), picture)
        write_json(file, report)
