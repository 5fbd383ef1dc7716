"""Learn in closed form what a triangulating camera does to depth: its shadows and steps (`triangulation`)."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from simgan.images.arrays import Array
from simgan.images.depth import find_window
from simgan.preparation.triangulation import Triangulation, find_steps

BASELINES = tuple(side * mm for side in (1, -1) for mm in np.arange(25, 101, 12.5))  # mm, candidates
BRIDGED = (2, 3, 4, 5)  # px, candidates
LEAST_GAIN = 0.3  # shadows must reduce the distance by at least this share
_JUMPS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.5)  # bin edges of jumps in inverse depth, times the median depth
_WIDEST = 20  # px; wider gaps count as this wide

Floats = NDArray[np.float64]
Frames = Callable[[], Iterable[Array]]


def learn_triangulation(synthetic: Frames, real: Frames) -> Triangulation:
    """Learn shadows and steps from depth frames, uint16 (H, W) in mm, of both sides, without labels; half a minute.

    The steps are those of the real readings. Shadows: choose the baseline whose left/right asymmetry of gaps best
    matches that of the real frames, at all jumps of depth (earth mover's distance); none unless the distance falls by
    `LEAST_GAIN`. All else that a camera misses leaves gaps on both sides alike.
    """
    frames = list(synthetic())
    target, real_counts = _asymmetry(real())
    weights = np.minimum(real_counts, _asymmetry(frames)[1])

    def distance(candidate: Triangulation) -> float:
        found, _ = _asymmetry(candidate.shade(frame) for frame in frames)
        return float(np.abs(found - target).sum(1) @ weights)

    candidates = [Triangulation(baseline=float(baseline), bridged=px) for baseline in BASELINES for px in BRIDGED]
    distances = [distance(candidate) for candidate in candidates]
    none = Triangulation()
    best = none
    if min(distances) < (1 - LEAST_GAIN) * distance(none):
        best = candidates[int(np.argmin(distances))]
    scale, phase = find_steps(real())
    return Triangulation(scale, phase, best.baseline, best.bridged)


def _asymmetry(frames: Iterable[Array]) -> tuple[Floats, Floats]:
    """Return by how much gaps are wider where the left side is nearer, and the smaller number of gaps of both sides.

    The first is (jumps, widths): the cumulative share of gaps up to each width, left minus right. The second is
    (jumps,).
    """
    counts = np.zeros((2, len(_JUMPS) - 1, _WIDEST + 1))
    for frame in frames:
        near = find_window(frame).holds(frame)
        before = np.maximum.accumulate(np.where(near, np.arange(near.shape[1]), -1), 1)[:, :-1]
        rows, at = np.nonzero(near[:, 1:] & (before >= 0))
        left, right = before[rows, at], at + 1
        inverse = float(np.median(frame[near])) / frame.clip(1)
        jump = inverse[rows, left] - inverse[rows, right]
        width = np.minimum(right - left - 1, _WIDEST)
        for side, sign in enumerate((1, -1)):
            counts[side] += np.histogram2d(sign * jump, width, (_JUMPS, np.arange(_WIDEST + 2)))[0]
    numbers = counts.sum(2)
    shares = counts.cumsum(2) / np.maximum(numbers[..., None], 1)
    return shares[0] - shares[1], numbers.min(0)
