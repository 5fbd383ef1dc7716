"""What a triangulating depth camera does to depth: steps and shadows, closed forms that are learnt from images.

A projector beside the camera throws a pattern; its shift in the image, the disparity, gives the depth. So depth comes
in steps that grow with its square (Khoshelham and Oude Elberink 2012), and surfaces that something nearer hides from
the projector have no reading. A network learns neither: it does not see absolute depth, and a half-removed reading
looks fake to the discriminator, so gradients never lead to a hole.
"""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from simgan.errors import ConfigError
from simgan.images.arrays import Array
from simgan.images.depth import CUBE, Windows, find_window

_FINEST, _COARSEST = 1.0, 30.0  # mm: steps at the mean depth that are looked for
_COHERENCE = 0.2  # of readings with steps it is 0.3 and more, of readings to the millimetre 0.05
_APART = 25.0  # of the scales that are tried: between 400 mm and 2 m two of them differ by a twentieth of a step
_LEAST_GAIN = 0.3  # shadows must reduce the distance by at least this share
_JUMPS = (0.03, 0.05, 0.08, 0.12, 0.2, 0.5)  # bin edges of jumps in inverse depth, times the median depth
_WIDEST = 20  # px; wider gaps count as this wide

Floats = NDArray[np.float64]
Frames = Callable[[], Iterable[Array]]  # iterates over some images of a source, which may differ in size


@dataclass(frozen=True)
class Triangulation:
    """Steps and shadows of one camera; 0 turns each off.

    Depth is `scale` / (n + `phase`) mm, n whole: steps of z² / `scale` mm at a depth of z mm. The projector stands
    `baseline` mm to the left of the camera (to the right if negative). Shadows less than `bridged` px wide or high keep
    their readings. `ConfigError` for values that no camera has.
    """

    scale: float = 0.0
    phase: float = 0.0
    baseline: float = 0.0
    bridged: int = 1

    def __post_init__(self) -> None:
        finite = self.scale < math.inf and abs(self.baseline) < math.inf
        if not (finite and self.scale >= 0 and abs(self.phase) <= 0.5 and self.bridged >= 1):
            raise ConfigError(f"no camera has {self}: scale must be at least 0, phase within 0.5, bridged at least 1")

    def shade(self, image: Array) -> Array:
        """Return a depth image, uint16 (H, W) in mm, without the readings of its window that the projector misses.

        300 mm at the median depth are taken to be 224 px. `ImageError` for what is no depth image.
        """
        if not self.baseline:
            return image
        near = find_window(image).holds(image)
        rows, columns = (slice(lines[0], lines[-1] + 1) for lines in map(np.flatnonzero, (near.any(1), near.any(0))))
        part, found = image[rows, columns], near[rows, columns]
        shift = abs(self.baseline) * (224 / CUBE) * float(np.median(image[near]))
        disparity = (shift / np.where(found, part, part[found].max())).astype(np.float32)
        side = slice(None, None, 1 if self.baseline > 0 else -1)
        shadow = unlit(disparity[:, side])[:, side] & found
        shaded = image.copy()
        shaded[rows, columns][opening(shadow, self.bridged)] = 0
        return shaded

    def shade_many(self, images: Tensor, windows: Windows) -> Tensor:
        """Return what `shade` returns of depth images, int32 (B, H, W) in mm, in their windows; slower on a CPU."""
        if not self.baseline:
            return images
        side = [] if self.baseline > 0 else [2]
        found, images, width = windows.hold(images).flip(side), images.flip(side), images.shape[2]
        shift = abs(self.baseline) * (224 / CUBE) * windows.middle
        farthest = torch.where(found, images, 1).amax((1, 2), keepdim=True)
        disparity = (shift / torch.where(found, images, farthest).double()).float()
        rows, columns = (_between(found.any(axis)) for axis in (2, 1))
        # As in `unlit`. A place is at most the width away, as far as cameras see two things within 300 mm of depth.
        first = columns.int().argmax(1)[:, None, None] + disparity.amin((1, 2), keepdim=True).floor()
        places = 1 + (disparity + (torch.arange(width, device=images.device) - first)).round().clamp(0, 2 * width)
        nearest = torch.zeros(*images.shape[:2], 2 * width + 3, device=images.device)
        nearest.scatter_reduce_(2, places.long(), disparity, "amax")
        around = functools.reduce(torch.maximum, (nearest.gather(2, places.long() + k) for k in (-1, 0, 1)))
        shadow = (around > disparity + 1) & found
        box = rows[:, :, None] & columns[:, None]  # beyond it nothing can be read, so no shadow is narrowed there
        before, after = self.bridged // 2, self.bridged - 1 - self.bridged // 2
        padding = (after, before, before, after) if side else (before, after, before, after)

        def dilated(mask: Tensor) -> Tensor:
            padded = functional.pad(mask[:, None].float(), padding)
            return functional.max_pool2d(padded, self.bridged, 1)[:, 0] > 0

        opened = dilated(~dilated(~shadow & box) & box) & box
        return torch.where(opened, 0, images).flip(side)

    def snap(self, depth: Tensor) -> Tensor:
        """Return depth, int32 in mm, with each reading moved to the nearest step in disparity; 0 stays 0."""
        if not self.scale:
            return depth
        n = (torch.full_like(depth, self.scale, dtype=torch.float64) / depth.clamp_min(1) - self.phase).round()
        scale = torch.full_like(n, self.scale)
        return torch.where(depth > 0, (scale / (n.clamp_min(1) + self.phase)).round().clamp(1, 65535), 0).int()


def find_steps(images: Iterable[Array]) -> tuple[float, float]:
    """Return scale and phase of the steps in depth images, uint16 (H, W) in mm; zeros where there are hardly any.

    The scale for which the fractional parts of scale / z agree best over all readings z; the phase is their mean.
    """
    counts = np.zeros(65536)
    for image in images:
        counts += np.bincount(image[find_window(image).holds(image)], minlength=len(counts))
    depths = np.flatnonzero(counts).astype(np.float64)
    shares = counts[counts > 0] / counts.sum()
    middle = float(depths @ shares)
    scales = np.arange(middle**2 / _COARSEST, middle**2 / _FINEST, _APART)
    means = np.array([np.exp(2j * np.pi * scale / depths) @ shares for scale in scales])
    best = int(np.abs(means).argmax())
    if abs(means[best]) < _COHERENCE:
        return 0.0, 0.0
    return float(scales[best]), float(np.angle(means[best]) / (2 * np.pi))


def learn_triangulation(synthetic: Frames, real: Frames) -> Triangulation:
    """Learn shadows and steps from depth frames, uint16 (H, W) in mm, of both sides, without labels; half a minute.

    Shadows: choose the baseline whose left/right asymmetry of gaps best matches that of the real frames, at all jumps
    of depth (earth mover's distance); none unless the distance falls by 30 %. All else that a camera misses
    leaves gaps on both sides alike.
    """
    frames = list(synthetic())
    target, real_counts = _asymmetry(real())
    weights = np.minimum(real_counts, _asymmetry(frames)[1])

    def distance(candidate: Triangulation) -> float:
        found, _ = _asymmetry(candidate.shade(frame) for frame in frames)
        return float(np.abs(found - target).sum(1) @ weights)

    baselines = [side * float(mm) for side in (1, -1) for mm in np.arange(25, 101, 12.5)]
    candidates = (Triangulation(baseline=baseline, bridged=px) for baseline in baselines for px in (2, 3, 4, 5))
    least, best = min(((distance(candidate), candidate) for candidate in candidates), key=lambda found: found[0])
    if least >= (1 - _LEAST_GAIN) * distance(Triangulation()):
        best = Triangulation()
    scale, phase = find_steps(real())
    return replace(best, scale=scale, phase=phase)


def _asymmetry(frames: Iterable[Array]) -> tuple[Floats, Floats]:
    """Return by how much gaps are wider where the left side is nearer, and the smaller number of gaps of both sides.

    (jumps, widths): the cumulative share of gaps up to each width, left minus right; and (jumps,).
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


def unlit(disparity: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which pixels, bool (H, W), the projector does not reach, given the disparity of each in px, (H, W).

    In the projector's view a pixel lies `disparity` px farther right. It is hidden where another one lies within a
    pixel of it there and is nearer, with a disparity more than 1 px larger.
    """
    height, width = disparity.shape
    first = int(disparity.min())
    reach = width + int(disparity.max()) - first + 3  # the last places of a row stay empty
    places = np.rint(disparity + np.arange(-first, width - first, dtype=np.float32)).astype(np.int64)
    places += np.arange(height)[:, None] * reach
    nearest = np.zeros(height * reach, np.float32)
    np.maximum.at(nearest, places.reshape(-1), disparity.reshape(-1))
    around = functools.reduce(np.maximum, (nearest[places + side] for side in (-1, 0, 1)))
    hidden: NDArray[np.bool_] = around > disparity + np.float32(1)
    return hidden


def _between(there: Tensor) -> Tensor:
    """Return which places of (B, N) lie between the first and the last one that is there."""
    return (there.cumsum(1) > 0) & (there.flip(1).cumsum(1).flip(1) > 0)


def opening(mask: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """Return the opening of a mask (H, W) by a square of `size` px, to the bit as `cv2.morphologyEx` computes it."""
    padding = ((size // 2, size - 1 - size // 2), (0, 0))
    for function, outside in ((np.minimum, True), (np.maximum, False)):
        for _ in ("down", "across"):
            padded = np.pad(mask, padding, constant_values=outside)
            mask = functools.reduce(function, (padded[k : k + len(mask)] for k in range(size))).T
    return mask
