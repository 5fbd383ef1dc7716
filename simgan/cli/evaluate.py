"""The commands `simgan evaluate ...`; what one of them needs is imported when it is called."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from simgan.errors import SourceError, reason

if TYPE_CHECKING:
    from simgan.measures.depth import SurfaceShift

Synthetic = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYNTHETIC")]
Real = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]


def evaluate_realism(
    synthetic: Synthetic,
    real: Real,
    /,
    model: str = "eyes",
    limit: int = 500,
    seed: int = 0,
    output: Path | None = None,
) -> None:
    """Compare refined images with real ones: their patches, and whether a network tells them apart.

    Of depth images: patches of depth and of where there is any, holes, edges, residuals of planes, levels and steps.

    Args:
        synthetic: a source of synthetic images.
        real: a source of real ones that training did not see.
        model: a shipped refiner, a folder, or a Hub id.
        limit: at most so many images of each.
        seed: draws them.
        output: a JSON file for the figures.
    """
    from simgan import Refiner
    from simgan.experiments.compare import as_json, compare_realism, measured_on
    from simgan.measures.depth import DepthRealism

    refiner = Refiner.from_pretrained(model)
    result = compare_realism(refiner, synthetic, real, limit=limit, seed=seed)
    print(f"{'':16}  {'refined':>25}  {'raw':>25}  {'between real (floor)':>25}")
    for name, row in result.rows().items():
        factor, digits, unit = result.UNITS[name]
        cells = [
            f"{factor * one.value:.{digits}f}{unit} ({factor * one.low:.{digits}f} to {factor * one.high:.{digits}f})"
            for one in (row.refined, row.raw, row.floor)
        ]
        print(f"{name:16}  " + "  ".join(f"{cell:>25}" for cell in cells))
    name, patches = ("detail", result.detail) if isinstance(result, DepthRealism) else ("patch", result.patches)
    low, high = patches.closed_interval
    print(f"share of the {name} distance's gap closed {patches.closed:.0%} ({low:.0%} to {high:.0%})")
    print(result.TOLD)
    if isinstance(result, DepthRealism):
        print(f"{'mean of':16}  {'refined':>10}  {'raw':>10}  {'real':>10}")
        for name, means in zip(list(result.UNITS)[3:], result.means.values(), strict=True):
            factor, digits, unit = result.UNITS[name]
            cells = [f"{factor * means[kind]:.{digits}f}{unit}" for kind in ("refined", "raw", "real")]
            print(f"{name:16}  " + "  ".join(f"{cell:>10}" for cell in cells))
    _write(output, measured_on(refiner, synthetic, real, limit=limit, seed=seed) | as_json(result))


def evaluate_shift(
    synthetic: Synthetic, /, model: str = "eyes", limit: int = 1000, seed: int = 0, output: Path | None = None
) -> None:
    """Measure how far refining moves the iris, in pixels, by gaze and person, beside the finder's own repeatability.

    Of depth images: how far it moves the surface, in millimetres, and what readings are lost and gained.

    Args:
        synthetic: a source of synthetic eyes, or of depth images.
        model: a shipped refiner, a folder, or a Hub id.
        limit: at most so many images.
        seed: draws them.
        output: a JSON file for the figures.
    """
    from simgan import Refiner
    from simgan.domains.iris import PAPER
    from simgan.experiments.compare import as_json, compare_shift, measured_on
    from simgan.measures.depth import SurfaceShift

    refiner = Refiner.from_pretrained(model)
    result = compare_shift(refiner, synthetic, limit=limit, seed=seed)
    figures = measured_on(refiner, synthetic, limit=limit, seed=seed) | as_json(result)
    if isinstance(result, SurfaceShift):
        _tell_surface(result)
        _write(output, figures)
        return
    low, high = result.mean_interval
    print(f"mean                  {result.mean:.2f} px (95 %: {low:.2f} to {high:.2f}), sd {result.sd:.2f}")
    print(f"without the worst 5 % {result.trimmed_mean:.2f} px")
    low, high = result.median_interval
    print(f"median                {result.median:.2f} px (95 %: {low:.2f} to {high:.2f})")
    print(f"90th, 99th percentile {result.p90:.2f}, {result.p99:.2f} px")
    print(
        f"beyond 3 px           {result.share_over_3px:.1%}, not found in {result.failed:.1%} of {result.count} pairs"
    )
    finder = result.finder
    print(
        f"finder's own          median {finder.median:.2f} px, mean {finder.mean:.2f}, sd {finder.sd:.2f}, "
        f"90th and 99th percentile {finder.p90:.2f}, {finder.p99:.2f}"
    )
    print(f"the paper reports     mean {PAPER['mean']} px, sd {PAPER['sd']}, of {PAPER['pairs']} pairs fitted by hand")
    for kind, groups in result.groups.items():
        shown = sorted(groups.items(), key=lambda item: -item[1].count)[:12]
        print(f"by {kind:12} pairs  mean  median  90th  beyond 3 px")
        for name, one in shown:
            spread = f"{one.count:5}  {one.mean:4.2f}  {one.median:6.2f}  {one.p90:4.2f}  {one.share_over_3px:11.1%}"
            print(f"   {name:12} {spread}")
        if len(groups) > len(shown):
            print(f"   and {len(groups) - len(shown)} more, in the JSON of --output")
    _write(output, figures | {"paper": PAPER})


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


def _tell_surface(result: SurfaceShift) -> None:
    for name, one, factor, unit in (
        ("surface moved, median", result.median, 1, " mm"),
        ("90th percentile", result.p90, 1, " mm"),
        ("readings lost", result.lost, 100, " %"),
        ("readings gained", result.gained, 100, " %"),
    ):
        value, low, high = (f"{factor * figure:.2f}" for figure in (one.value, one.low, one.high))
        print(f"{name:21} {value}{unit} (95 %: {low} to {high})")
    print(f"means over {result.count} images; intervals resample {result.resampled}")


def _json_file(output: Path | None, name: str) -> Path | None:
    return output if output is None or output.suffix == ".json" else output / f"{name}.json"


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _finish(file: Path | None, report: dict[str, Any], table: str, picture: bytes) -> None:
    """Show the table of an experiment, and keep its report and its picture."""
    from simgan.experiments.experiment import write_aside

    print(table)
    if file is not None:
        write_aside(file.with_suffix(".png"), picture)
        write_aside(file, (json.dumps(report, indent=2) + "\n").encode())


def _write(output: Path | None, figures: dict[str, Any]) -> None:
    if output is None:
        return
    try:
        aside = output.with_name(f".{output.name}.part")
        aside.write_text(json.dumps(figures, indent=2) + "\n")
        aside.replace(output)
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
