"""How the networks of all tasks are trained: settings, mini-batches and the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from simgan.errors import ConfigError
from simgan.experiments.task import Training
from simgan.runtime import has_fast_bfloat16, keep_freed_pages


def check_training(training: Training, augmentations: Sequence[str]) -> None:
    """Raise `ConfigError` where a number of the settings is not positive, or an augmentation is unknown."""
    numbers = {name: value for name, value in vars(training).items() if isinstance(value, int | float)}
    if wrong := [f"{name} {value}" for name, value in numbers.items() if value <= 0]:
        raise ConfigError(f"{', '.join(wrong)} must be positive")
    if unknown := set(training.augment) - set(augmentations):
        raise ConfigError(f"there is no augmentation {sorted(unknown)}: choose of {', '.join(augmentations)}")


def fit(
    network: nn.Module,
    training: Any,
    count: int,
    seed: int,
    draw: Callable[[Tensor, Generator], tuple[Tensor, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Train a network in place, on its device; called again with other images, it is fine-tuned.

    Args:
        network: from inputs to outputs.
        training: settings, with `steps`, `batch` and `learning_rate`.
        count: number of images.
        seed: of order and augmentation; the order is the same with and without augmentation.
        draw: of the indices of a mini-batch and the generator of augmentation, its inputs and targets.
        loss: of outputs, float32, and targets.
    """
    device = next(network.parameters()).device
    keep_freed_pages()
    order, augmentation = (torch.Generator().manual_seed(2 * seed + part) for part in (0, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=training.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.learning_rate, total_steps=training.steps + 1)
    fast = has_fast_bfloat16(str(device))
    layout: Any = {"memory_format": torch.channels_last}
    network.train().to(**layout)
    for chosen in _batches(count, training.batch, training.steps, order):
        inputs, targets = draw(chosen, augmentation)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            outputs = network(inputs.to(device, **layout))
        optimizer.zero_grad(set_to_none=True)
        loss(outputs.float(), targets.to(device)).backward()
        optimizer.step()
        schedule.step()


def _batches(count: int, batch: int, steps: int, generator: Generator) -> Iterator[Tensor]:
    """Return the indices of `steps` mini-batches of `count` images, every image once an epoch."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:batch]
        queue = queue[batch:]
