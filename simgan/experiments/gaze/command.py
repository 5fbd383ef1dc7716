"""`simgan evaluate gaze`: its options; what it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from simgan.experiments.command import Real, Synthetic, run_command


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

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.

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
    from simgan.experiments.gaze.task import GazeTask
    from simgan.experiments.gaze.training import GazeTraining
    from simgan.experiments.sources import Sources

    task, training = GazeTask(pitch, yaw), GazeTraining(backbone=backbone, width=width, steps=steps, augment=augment)
    sources = Sources(task, synthetic, real, train_real, test_persons, model, limit, test_limit)
    run_command(sources, arms, training, seeds=seeds, finetune=finetune, device=device, output=output)
