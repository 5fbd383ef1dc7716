"""`simgan evaluate hands`: its options; what it needs is imported when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from simgan.experiments.command import Real, Synthetic, run_command


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

    Nothing is chosen on the test images. An interrupted experiment goes on from what it kept in the output.

    Args:
        synthetic: a source of synthetic hands with joints.
        real: a source of real hands with joints, to test on, that the refiners did not see.
        model: refiners (shipped names, folders, or Hub ids): an arm each; several are how controls are compared.
        arms: what to train on: synthetic, refined, real; 3x-refined is three times as many images,
            synthetic+noise+holes adds augmentation. By default those of the paper's table; real only with --train-real.
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
        augment: augmentation of every arm, real ones too, in addition to rotation and crops.
        limit: images of an arm.
        test_limit: images of the test.
        device: where networks are trained, such as cuda.
        output: a folder for hands.json, hands.png and the results of each network; or the JSON file in it.
    """
    from simgan.experiments.hand_pose.task import HandPoseTask
    from simgan.experiments.hand_pose.training import HandsTraining
    from simgan.experiments.sources import Sources

    task, training = HandPoseTask(), HandsTraining(heat, width, stacks, steps, batch, learning_rate, augment)
    arms = arms or (*task.arms, *(["real"] if train_real else []))
    models = model if any("refined" in arm for arm in arms) else ()
    sources = Sources(task, synthetic, real, train_real, test_persons, models, limit, test_limit)
    run_command(sources, arms, training, seeds=seeds, finetune=finetune, device=device, output=output)
