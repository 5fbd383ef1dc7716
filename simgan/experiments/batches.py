"""The mini-batches of the networks that experiments train."""

from collections.abc import Iterator

import torch
from torch import Tensor


def batches(count: int, batch: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Give the indices of `steps` mini-batches of `count` images, every image once an epoch."""
    queue = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        while len(queue) < batch:
            queue = torch.cat([queue, torch.randperm(count, generator=generator)])
        yield queue[:batch]
        queue = queue[batch:]
