"""Random draws of updates, made for many of them at a time, so that a device is sent them once in a while."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from simgan.training.bank import Bank
from simgan.training.config import TrainingConfig
from simgan.training.data import generator
from simgan.training.history import History

Rows = Mapping[str, Tensor]
Layout = list[tuple[str, torch.dtype, torch.Size, int]]  # of a block: name, type, shape and bytes of each draw


class Draws:
    """Draws of one kind of update: `make` returns those of a range of updates by name, each (updates, …).

    They are made `length` updates at a time, the next ones by a thread while a device computes. On the device they lie
    at the same place all the time, as a captured graph needs, and a graph itself goes on to the next row.
    """

    def __init__(self, make: Callable[[range], Rows], length: int, device: torch.device) -> None:
        self._make, self._length, self._device = make, length, device
        self._first, self._next = -1, -1  # updates: of the present block, and whose row comes next
        self._sent, self._rows = torch.empty(0), dict[str, Tensor]()
        self._turn = torch.zeros(1, dtype=torch.int64, device=device)  # place of the next row in the block
        self._reader = ThreadPoolExecutor(1)
        self._ahead: Future[tuple[Layout, Tensor]] | None = None

    def go_to(self, update: int) -> None:
        """Make ready the draws of an update."""
        first = update - update % self._length
        if first != self._first:
            follows = self._ahead is not None and first == self._first + self._length
            layout, packed = (
                self._ahead if follows and self._ahead else self._reader.submit(self._read, first)
            ).result()
            if not self._rows:
                self._sent = torch.empty_like(packed, device=self._device)
                parts = self._sent.split([size for *_, size in layout])
                named = zip(layout, parts, strict=True)
                self._rows = {name: part.view(dtype).view(shape) for (name, dtype, shape, _), part in named}
            self._sent.copy_(packed, non_blocking=True)
            self._first, self._ahead = first, self._reader.submit(self._read, first + self._length)
        if update != self._next or update == first:
            self._turn.fill_(update - first)
        self._next = update + 1

    def row(self) -> dict[str, Tensor]:
        """Return the draws of the present update, each without the first axis; the next call returns the next ones."""
        row = {name: values[self._turn][0] for name, values in self._rows.items()}
        self._turn.add_(1)
        return row

    def _read(self, first: int) -> tuple[Layout, Tensor]:
        """Return all draws as one vector of bytes, and what lies where: the longest numbers first, to be aligned."""
        made = self._make(range(first, first + self._length))
        rows = sorted(made.items(), key=lambda item: -item[1].itemsize)
        packed = torch.cat([values.reshape(-1).view(torch.uint8) for _, values in rows])
        layout = [(name, values.dtype, values.shape, values.nbytes) for name, values in rows]
        return layout, packed.pin_memory() if self._device.type == "cuda" else packed


class Plan:
    """Random numbers and images of each update, for one process' share of every mini-batch, by the update's number."""

    def __init__(
        self, config: TrainingConfig, synthetic: Bank, real: Bank, history: History | None, accelerator: Accelerator
    ) -> None:
        self._config, self._synthetic, self._real, self._history = config, synthetic, real, history
        self._processes, self._process = accelerator.num_processes, accelerator.process_index

    def of_refiner(self, updates: range) -> dict[str, Tensor]:
        """Return the draws of updates of the refiner, for this process' share of each mini-batch."""
        size, most = self._config.batch_size, self._config.ema_decay
        share = self._share(size)
        drawn = self._synthetic.block(np.array(updates)[:, None] * size + share)
        decay = [min(most, (1 + update) / (10 + update)) for update in updates]
        return _named("synthetic", drawn) | {
            "augment": self._augmentations("refiner", updates)[:, share],
            "decay": torch.tensor(decay, dtype=torch.get_default_dtype()),
        }

    def of_discriminator(self, updates: range) -> dict[str, Tensor]:
        """Return the draws of updates of the discriminator; of new and of past images a process has a share of each."""
        size, count = self._config.batch_size, len(updates)
        share = self._share(size)
        new, order = np.zeros((2, count, len(share)), np.int64)
        seen, places = np.zeros((count, len(share) // 2), np.int64), np.zeros((count, size), np.int64)
        for row, update in enumerate(updates):
            past = self._history.past(update) if self._history else 0
            current, earlier = self._share(size - past), self._share(past)
            new[row, : len(current)] = (self._history.new_before(update) if self._history else update * size) + current
            order[row] = np.concatenate([current, size - past + earlier])
            if self._history:
                sampled, replaced = self._history.plan(update, generator(self._config.seed, "history", update))
                seen[row, : len(earlier)] = sampled[earlier]
                places[row, : len(replaced)] = replaced
        synthetic, real = self._synthetic.block(new), self._real.block(np.array(updates)[:, None] * size + share)
        synthetic.pop("masks", None)
        refined = self._augmentations("refined", updates)
        return {
            **_named("synthetic", synthetic),
            **_named("real", real),
            "augment/refined": refined[torch.arange(count)[:, None], torch.from_numpy(order)],
            "augment/real": self._augmentations("real", updates)[:, share],
            "past": torch.from_numpy(seen),
            "places": torch.from_numpy(places),
        }

    def _augmentations(self, of: str, updates: range) -> Tensor:
        """Return the four numbers in [−1, 1] of each image's augmentation: (updates, batch size, 4)."""
        rngs = (generator(self._config.seed, f"augment/{of}", update) for update in updates)
        drawn = [rng.uniform(-1, 1, (self._config.batch_size, 4)) for rng in rngs]
        return torch.from_numpy(np.array(drawn, np.float32))

    def _share(self, count: int) -> NDArray[np.int64]:
        """Return which of `count` images of a mini-batch this process computes: a block of them, in order."""
        size = count // self._processes
        return self._process * size + np.arange(size)


def _named(name: str, values: Rows) -> dict[str, Tensor]:
    return {f"{name}/{key}": value for key, value in values.items()}
