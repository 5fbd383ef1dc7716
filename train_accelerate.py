"""Train a refiner: `accelerate launch train_accelerate.py --preset eyes`, or `simgan.train(...)` from Python.

Algorithm 1 of Shrivastava et al. 2017. `simgan.training.step` holds the two updates, `simgan.training.loop` measures,
checkpoints and signals.
"""

import sys
from pathlib import Path
from typing import Any

from simgan import Discriminator, Refiner, Stopped
from simgan.errors import check_arguments, command_line

try:
    from simgan.training.api import Sources, configure
    from simgan.training.config import TrainingConfig, from_command_line
    from simgan.training.loop import Log, Run
    from simgan.training.sources import load
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.exit(f'error: training needs {error.name}, which is not installed: pip install "simgan[train]"')


def run(config: TrainingConfig, **parts: Any) -> None:
    """Train as configured, or continue a run that was stopped."""
    with Run(config, load(config), **parts) as run:
        for _ in run.refiner_warm_up():  # R alone, on the self-regularization
            run.trainer.update_refiner(adversarial=False)
        for _ in run.discriminator_warm_up():  # D alone
            run.trainer.update_discriminator()
        for _ in run.steps():  # Algorithm 1
            for _ in range(config.refiner_updates):  # K_g updates of θ on L_R (eq. 1)
                run.trainer.update_refiner()
            for _ in range(config.discriminator_updates):  # K_d updates of φ on L_D (eq. 2)
                run.trainer.update_discriminator()
        run.finish()


def train(
    synthetic: Sources,
    real: Sources,
    *,
    output: str | Path,
    log: Log | None = None,
    refiner: Refiner | None = None,
    discriminator: Discriminator | None = None,
    **settings: Any,
) -> Refiner:
    """Train a refiner and return the best one, in evaluation mode on the CPU; the run's folder is `output`.

    `simgan.train(renders, photographs, output="runs/mine", steps=400)`, also in a notebook or a thread. What cannot be
    trained raises a `SimGANError`, one sentence; Ctrl-C writes a checkpoint and raises `Stopped`.

    Args:
        synthetic: the name of a source or a folder, or a list of them; a `datasets` data set with a column `image` and
            any labels; an array uint8 (N, H, W) or (N, H, W, 3); or a list of PIL images or arrays, of any sizes.
        real: the same, without labels.
        output: a folder.
        log: is called with every row of `metrics.jsonl`, a dictionary with the step.
        refiner: one of your own, an instance of a subclass of `simgan.Refiner`; by default that of the preset.
        discriminator: the same, of `simgan.Discriminator`.
        settings: those of `python train_accelerate.py --help` by name, with _ for -; `start_from` is --from. Also
            `transform` (ψ of eq. 4) and `realism_loss` (eq. 3) as functions, as `simgan.losses` describes them.
    """
    run(configure(synthetic, real, output, settings), log=log, refiner=refiner, discriminator=discriminator)
    return Refiner.from_pretrained(output)


if __name__ == "__main__":
    with command_line():
        try:
            check_arguments(sys.argv[1:])
            run(from_command_line())
        except Stopped as error:  # by a signal; the checkpoint is written
            print(error)
        except KeyboardInterrupt:  # while data are loaded, or the second Ctrl-C
            sys.exit("interrupted; --resume continues from the last checkpoint")
