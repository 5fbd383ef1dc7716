"""Train a refiner: `accelerate launch train_accelerate.py --preset eyes`.

Algorithm 1 of Shrivastava et al. 2017. `simgan.training.step` holds the two updates, `simgan.training.loop` measures,
checkpoints and signals.
"""

import sys

from simgan import SimGANError

try:
    from simgan.training.config import TrainingConfig, from_command_line
    from simgan.training.loop import Run
    from simgan.training.sources import load
except ModuleNotFoundError as error:
    sys.exit(f'error: training needs {error.name}, which is not installed: pip install "simgan[train]"')


def train(config: TrainingConfig) -> None:
    """Train as configured, or continue a run that was stopped."""
    run = Run(config, load(config))
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


if __name__ == "__main__":
    try:
        train(from_command_line())
    except SimGANError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:  # while data are loaded, or the second Ctrl-C
        sys.exit("interrupted; --resume continues from the last checkpoint")
