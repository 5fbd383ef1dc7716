"""Time of a training step, ours against a plain loop's with the same networks: `python benchmarks/training.py`.

The plain loop is what re-implementations do: float32, NCHW, gradients of the discriminator kept in the refiner's
update, real and refined images in passes of their own. Ours does more: history, augmentation, averaging, clipping.
Where there is a GPU, both are on it.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from simgan import Discriminator, Refiner
from simgan.images.arrays import to_tensor
from simgan.losses import discriminator_loss, realism_loss, self_regularization
from simgan.simulators.eyes import camera
from simgan.simulators.eyes import renders as eyes
from simgan.training.config import TrainingConfig, preset
from simgan.training.processes import make_accelerator
from simgan.training.step import Trainer, TrainingData

BATCH, STEPS = 32, 5


def plain_step(config: TrainingConfig, images: np.ndarray, real: np.ndarray) -> Callable[[], None]:
    device = make_accelerator(config).device
    refiner = Refiner.from_preset(config.preset).to(device)
    discriminator = Discriminator.from_preset(config.preset).to(device)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-4) for network in (refiner, discriminator)]
    x, y = to_tensor(images[:BATCH]).to(device), to_tensor(real[:BATCH]).to(device)

    def step() -> None:
        for _ in range(config.refiner_updates):
            refined = refiner(x, equalized=True)
            loss = realism_loss(discriminator(refined)) + self_regularization(refined, x, "identity")
            optimizers[0].zero_grad()
            loss.backward()
            optimizers[0].step()
        loss = discriminator_loss(discriminator(refiner(x, equalized=True).detach()), discriminator(y))
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()

    return step


def our_step(config: TrainingConfig, images: np.ndarray, real: np.ndarray) -> Callable[[], None]:
    trainer = Trainer(config, TrainingData([images], [real]), make_accelerator(config))

    def step() -> None:
        for _ in range(config.refiner_updates):
            trainer.update_refiner()
        trainer.update_discriminator()

    return step


def median_seconds(step: Callable[[], None]) -> float:
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    step()
    seconds = []
    for _ in range(STEPS):
        wait()
        start = time.perf_counter()
        step()
        wait()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    images, real = eyes.render(np.arange(256))[0], camera.render(np.arange(256))[0]
    presets = {
        name: replace(
            preset(name),
            batch_size=BATCH,
            refiner_updates=2,
            history_size=min(4096, preset(name).history_size),
            trackers=(),
        )
        for name in ("eyes-paper", "eyes", "eyes-large")
    }
    plain = {name: median_seconds(plain_step(config, images, real)) for name, config in presets.items()}
    print(f"batch {BATCH}, K_g = 2, K_d = 1, {torch.get_num_threads()} threads")
    for name, config in presets.items():  # after all plain ones, as the allocator's setting holds for the process
        ours = median_seconds(our_step(config, images, real))
        print(
            f"{name:12} plain {1000 * plain[name]:6.0f} ms, ours {1000 * ours:6.0f} ms "
            f"({make_accelerator(config).mixed_precision}): {plain[name] / ours:.2f} times as fast"
        )


if __name__ == "__main__":
    main()
