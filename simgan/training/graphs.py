"""Updates as CUDA graphs: after a few calls a GPU replays all kernels of one at once, without Python between them."""

from collections.abc import Callable

import torch

WARM_UP = 3  # calls before the capture: optimizers make their state, libraries choose their kernels


class Captured:
    """A function of tensors that stay at their places, without arguments or a result, which `capture` makes a graph.

    It must start the same kernels in every call. Without `capture` it is just called, as on a CPU.
    """

    def __init__(self, function: Callable[[], None], *, capture: bool) -> None:
        self._function, self._capture, self._calls = function, capture, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        """Do it once."""
        if not self._capture:
            self._function()
        elif self._calls < WARM_UP:
            self._calls += 1
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                self._function()
            torch.cuda.current_stream().wait_stream(stream)
        else:
            if self._graph is None:
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):  # records, and computes nothing
                    self._function()
            self._graph.replay()
