"""Where labels must not move: masks by which the self-regularization weighs pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class PointsWeight:
    """Discs about labelled points of the column `column`.

    `radius` in px of each point's disc; None where the points are an outline: one disc about their mean, as wide as
    their longest diameter. Discs are `grow` times as wide. `find`, for sources without the column, returns the points
    of stored images (N, H, W) as a list for each image, empty where there are none.
    """

    column: str
    radius: float | None = None
    grow: float = 1.5
    find: Callable[[NDArray[Any]], list[list[list[float]]]] | None = None


@dataclass(frozen=True)
class SurfaceWeight:
    """Surfaces of depth, away from edges: where values (in [−1, 1]) within `reach` px differ by less than `edge`."""

    edge: float
    reach: int

    def masks(self, x: Tensor) -> Tensor:
        """Return masks (B, 1, H, W), 1 on surfaces and else 0, of a batch (B, C, H, W) in [−1, 1]."""
        window: Any = {"kernel_size": 2 * self.reach + 1, "stride": 1, "padding": self.reach}
        span = F.max_pool2d(x, **window) + F.max_pool2d(-x, **window)
        return (span.amax(1, keepdim=True) < self.edge).to(x)
