"""Random draws of updates, made for many of them at a time, so that a device is sent them once in a while."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

UPDATES = 64  # whose draws are made together


class Draws:
    """Draws of one kind of update: `make(n)` returns those of updates n to n + `UPDATES`, by name, (`UPDATES`, …).

    They lie in the same tensors on the device all the time, as a captured graph needs.
    """

    def __init__(self, make: Callable[[int], Mapping[str, Tensor]], device: torch.device) -> None:
        self._make, self._device = make, device
        self._first = -1  # update of the present block
        self._rows: dict[str, Tensor] = {}
        self._turn = torch.zeros(1, dtype=torch.int64, device=device)  # place of the present update in it
        self._reader = ThreadPoolExecutor(1)
        self._ahead: Future[Mapping[str, Tensor]] | None = None

    def go_to(self, update: int) -> None:
        """Make ready the draws of an update."""
        first = update - update % UPDATES
        if first != self._first:
            expected = self._ahead is not None and first == self._first + UPDATES
            rows = self._ahead.result() if expected and self._ahead else self._make(first)
            for name, values in rows.items():
                if name not in self._rows:
                    self._rows[name] = torch.empty_like(values, device=self._device)
                self._rows[name].copy_(values.pin_memory() if self._device.type == "cuda" else values)
            self._first, self._ahead = first, self._reader.submit(self._make, first + UPDATES)
        self._turn.fill_(update % UPDATES)

    def row(self) -> dict[str, Tensor]:
        """Return the draws of the present update, each without the first axis."""
        return {name: values[self._turn][0] for name, values in self._rows.items()}
