"""How the camera of real depth triangulates, learnt in closed form before a run: `simgan.preparation.triangulation`."""

from collections.abc import Iterable, Sequence

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.images.arrays import Array
from simgan.images.depth import find_window
from simgan.preparation.triangulation import Triangulation, find_steps
from simgan.training.frames import Frames

BASELINES = tuple(side * mm for side in (1, -1) for mm in np.arange(25, 101, 12.5))  # that are tried
BRIDGED = (2, 3, 4, 5)  # px, that are tried
WORTH = 0.7  # of the distance without shadows, at most that with the best
TOLD_BY = 256  # frames of a side
_JUMPS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.5)  # of inverse depth, times the hand's distance
_WIDEST = 20  # px, that gaps are counted up to

Floats = NDArray[np.float64]


def learn_triangulation(synthetic: Sequence[Dataset], real: Sequence[Dataset]) -> Triangulation:
    """Learn shadows and steps from data sets of depth, without a label of either; half a minute.

    The steps are those of the real readings. Shadows lie to one side of what is nearer, where all else that a camera
    misses lies to both. So the best ones make gaps between readings of a row as much wider on one side as they are in
    the real frames, at all jumps of depth (earth mover's distance); none, unless nearer by three tenths.
    """
    frames = list(_frames(synthetic))
    target, many = _lopsided(_frames(real))
    weights = np.minimum(many, _lopsided(frames)[1])

    def distance(camera: Triangulation) -> float:
        found, _ = _lopsided(camera.shade(frame) for frame in frames)
        return float(np.abs(found - target).sum(1) @ weights)

    cameras = [Triangulation(baseline=float(baseline), bridged=px) for baseline in BASELINES for px in BRIDGED]
    distances = [distance(camera) for camera in cameras]
    nothing = Triangulation()
    best = cameras[int(np.argmin(distances))] if min(distances) < WORTH * distance(nothing) else nothing
    scale, phase = find_steps(_frames(real))
    return Triangulation(scale, phase, best.baseline, best.bridged)


def _frames(side: Sequence[Dataset]) -> Iterable[Array]:
    return (frame for data in side for frame in Frames(data).depths(TOLD_BY // len(side)))


def _lopsided(frames: Iterable[Array]) -> tuple[Floats, Floats]:
    """How much wider gaps are where the left side is nearer: (jumps, widths), shares of those up to a width.

    Also how many gaps there are of each jump, on the side that has fewer.
    """
    counts = np.zeros((2, len(_JUMPS) - 1, _WIDEST + 1))
    for frame in frames:
        hand = find_window(frame).holds(frame)
        before = np.maximum.accumulate(np.where(hand, np.arange(hand.shape[1]), -1), 1)[:, :-1]
        rows, at = np.nonzero(hand[:, 1:] & (before >= 0))
        left, right = before[rows, at], at + 1
        inverse = float(np.median(frame[hand])) / frame.clip(1)
        jump = inverse[rows, left] - inverse[rows, right]
        width = np.minimum(right - left - 1, _WIDEST)
        for side, sign in enumerate((1, -1)):
            counts[side] += np.histogram2d(sign * jump, width, (_JUMPS, np.arange(_WIDEST + 2)))[0]
    many = counts.sum(2)
    shares = counts.cumsum(2) / np.maximum(many[..., None], 1)
    return shares[0] - shares[1], many.min(0)
