"""The iris finder: where an iris is, and how far it moves when an image is refined (section 3.1 of the paper).

The iris is found by its limbus. Circular arcs on both sides of the pupil (Daugman's integro-differential operator,
1993) give a first place. Edges along rays from there, not up, where the lid covers it, are fitted robustly, and an
ellipse through those that agree gives the centre. Noise and letters have such edges too: where no label says that there
is an iris, a linear classifier on oriented gradients decides, which `benchmarks/iris.py` trains and tests.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simgan.domains.base import FEWEST
from simgan.errors import ImageError, SourceError
from simgan.images.arrays import to_tensor
from simgan.measures.realism import grey
from simgan.measures.statistics import Floats
from simgan.preparation.photometry import Photometry

Images = NDArray[np.uint8]

WEIGHTS = Path(__file__).with_name("iris.npz")
WIDTH = 55  # px of a crop

_RADIUS, _SHOWN = 8.6, 8.5  # px of the iris at 55 px width: 11.7 mm through MPIIGaze's virtual camera; as it shows it
_ANGLES = np.radians(np.r_[-35:61:5, 120:216:5].astype(float))  # down is 90°
_RAYS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES), np.ones_like(_ANGLES)], axis=1)
_REACH, _STEP = 3.0, 0.25
_CHUNK = 64
_CELL, _ORIENTATIONS = 6, 8  # px at 55 px width


def iris_centres(images: Images, start: Floats | None = None) -> Floats:
    """Return the centre of the iris in each crop, uint8 (N, H, W) or (N, H, W, 3): (N, 2) of x and y in px, or NaN.

    `start` (N, 2): where it is finite, there is an iris near that place; elsewhere the classifier decides. For crops as
    MPIIGaze's (an iris about 17 of 55 pixels wide, equalized or not) at any scale. `ImageError` for other arrays.
    """
    images = grey(images)
    if images.dtype != np.uint8 or images.ndim != 3 or min(images.shape[1:]) < 16:
        raise ImageError(f"irises are found in uint8 (N, H, W) of 16×16 and more, not {images.dtype} {images.shape}")
    if start is None:
        start = np.full((len(images), 2), np.nan)
    weights, bias = _classifier()
    centres = np.zeros((len(images), 2))
    for chunk in (slice(first, first + _CHUNK) for first in range(0, len(images), _CHUNK)):
        some, near = images[chunk], start[chunk]
        known = np.isfinite(near[:, 0])
        found = _fit(some, near if known.all() else np.where(known[:, None], near, _seek(some)))
        doubtful = np.flatnonzero(~known & np.isfinite(found[:, 0]))
        if len(doubtful):
            found[doubtful[describe(some[doubtful], found[doubtful]) @ weights + bias <= 0]] = np.nan
        centres[chunk] = found
    return centres


def iris_distances(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
    """Return how far the iris moved between images, (N,) in px or NaN, and the place in `before`, (N, 2).

    It is sought from there in `after`, and from the label `pupil`, if any, in `before`. `ImageError`: sets do not fit.
    """
    if before.shape != after.shape:
        raise ImageError(f"pairs of images are needed, not {before.shape} and {after.shape}")
    pupils = [(np.nan, np.nan) if place is None else place for place in labels["pupil"]] if "pupil" in labels else None
    first = iris_centres(before, None if pupils is None else np.array(pupils, np.float64))
    places = iris_centres(before, first)  # from a place as near as that from which `after` is sought
    places[np.linalg.norm(places - first, axis=1) > 1] = np.nan  # found elsewhere: not found
    return np.linalg.norm(iris_centres(after, places) - places, axis=1), places


def iris_shift(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> Floats:
    """Return how far irises moved, in px at 55 px width, (N, 2): an iris is one part, so both columns are the same."""
    distances = iris_distances(before, after, labels)[0] * (WIDTH / before.shape[2])
    return np.stack([distances, distances], 1)


def share_of_irises(images: Images) -> float:
    """Return in which share of crops, uint8 (N, H, W) or (N, H, W, 3), an iris is found."""
    return float(np.isfinite(iris_centres(images)[:, 0]).mean())


def find_irises(images: Images) -> list[list[list[float]]]:
    """Return the centre and eight points of the border of each iris found in images of eyes (N, H, W), else none."""
    centres, found = _eyes(images)
    turns = np.arange(8) * np.pi / 4
    border = np.column_stack([np.cos(turns), np.sin(turns)])
    around = _SHOWN * images.shape[2] / WIDTH * np.concatenate([[(0, 0)], border])
    return [(centre + around).tolist() if there else [] for centre, there in zip(centres, found, strict=True)]


def fit_photometry(photometry: Photometry, synthetic: Images, real: Images) -> None:
    """Learn from real images, each with the synthetic one of nearest gaze; `SourceError` where hardly any is an eye."""
    from scipy.spatial import KDTree

    (centres, there), (places, usable) = _eyes(synthetic), _eyes(real)
    if not (there.any() and usable.any()):
        raise SourceError(
            "no iris is found in the synthetic or the real images: give crops of eyes or --no-preparation"
        )
    nearest = KDTree(centres[there]).query(places[usable])[1]
    photometry.learn(to_tensor(synthetic[there][nearest]), to_tensor(real[usable]))


def _eyes(images: Images) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the centres of irises (N, 2), and which images have one: none where too few do for images of eyes."""
    centres = iris_centres(images)
    found = np.isfinite(centres[:, 0])
    return centres, found & (found.mean() >= FEWEST)


def describe(images: Images, centres: Floats) -> NDArray[np.float32]:
    """Return oriented gradients around the centres, (N, 320): in cells of 6 px, 8 directions, normalized locally."""
    import cv2

    scale, (width, height) = images.shape[2] / WIDTH, (48, 30)  # at 55 px width
    windows = np.empty((len(images), height, width), np.float32)
    for window, image, (x, y) in zip(windows, images, centres, strict=True):
        place = np.array([[scale, 0, x - scale * (width - 1) / 2], [0, scale, y - scale * (height - 1) / 2]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(image.astype(np.float32), place, (width, height), None, flags, cv2.BORDER_REPLICATE)
        window[:] = cv2.GaussianBlur(image, (0, 0), 1.0)
    down, right = np.asarray(np.gradient(windows, axis=(1, 2)))
    turn = np.arctan2(down, right) / (2 * np.pi) * _ORIENTATIONS - np.arange(_ORIENTATIONS)[:, None, None, None]
    near = 1 - np.abs((turn + _ORIENTATIONS / 2) % _ORIENTATIONS - _ORIENTATIONS / 2)  # 1: along this direction
    maps = np.hypot(right, down) * np.maximum(0, near)
    cells = maps.reshape(_ORIENTATIONS, len(images), height // _CELL, _CELL, width // _CELL, _CELL).mean((3, 5))
    energy = np.square(cells).sum(0)
    around = np.stack([cv2.blur(one, (3, 3), borderType=cv2.BORDER_REPLICATE) for one in energy])
    values: NDArray[np.float32] = np.moveaxis(cells / np.sqrt(around + 4), 0, -1).reshape(len(images), -1)
    return values


@functools.cache
def _classifier() -> tuple[NDArray[np.float32], float]:
    with np.load(WEIGHTS) as values:
        return values["weights"].astype(np.float32), float(values["bias"])


def _smooth(images: Images, sigma: float) -> NDArray[np.float32]:
    import cv2

    return np.stack([cv2.GaussianBlur(image, (0, 0), sigma) for image in images]).astype(np.float32)


def _seek(images: Images) -> Floats:
    """Return first centres (N, 2), whole pixels: where arcs of three radii on both sides darken inwards to a disc."""
    from scipy import fft

    _, height, width = images.shape
    scale = width / WIDTH
    values = _smooth(images, scale)
    down, right = np.gradient(values * scale, axis=(1, 2))
    weight = 1 / np.sqrt(right**2 + down**2 + 60**2)
    pad = int(12 * scale)
    size = [fft.next_fast_len(side + 2 * pad) for side in (height, width)]
    planes = np.pad([right * weight, down * weight, 1 - values / 255], [(0, 0)] * 2 + [(pad, pad)] * 2)
    spectra = fft.rfft2(planes, size)
    y, x = np.mgrid[-pad : pad + 1, -pad : pad + 1] / scale
    rho, angle = np.hypot(x, y) + 1e-6, np.degrees(np.arctan2(y, x)) % 360

    def correlate(*kernels: tuple[Floats, NDArray[np.complex64]]) -> Floats:
        total = np.add.reduce([spectrum * np.conj(fft.rfft2(kernel, size)) for kernel, spectrum in kernels])
        return fft.irfft2(total, size, axes=(1, 2))[:, :height, :width]

    rows, columns = np.mgrid[:height, :width] / scale
    middle = ((columns - width / scale / 2) ** 2 * 0.3 + (rows - height / scale / 2) ** 2) / 250
    scores = []
    for radius in (7.5, 8.5, 9.5):
        ring = np.exp(-((rho - radius) ** 2) / (2 * 0.8**2))
        arcs = []
        for low, high in ((-30, 30), (150, 210), (50, 130)):
            arc = ring * ((angle - low) % 360 <= high - low)
            arc /= arc.sum()
            arcs.append(correlate((arc * x / rho, spectra[0]), (arc * y / rho, spectra[1])))
        disc = (rho < 0.8 * radius).astype(float)
        dark = correlate((disc / disc.sum(), spectra[2]))
        scores.append(arcs[0] + arcs[1] + 2 * np.minimum(arcs[0], arcs[1]) + 0.2 * arcs[2] + 1.5 * dark - middle)
    best = np.max(scores, axis=0).reshape(len(images), -1).argmax(axis=1)
    return np.stack([best % width, best // width], axis=1).astype(float)


def _fit(images: Images, start: Floats) -> Floats:
    """Return centres (N, 2) of ellipses through the limbus, sought from `start` (N, 2); NaN where there is none."""
    import cv2

    scale = images.shape[2] / WIDTH
    values = _smooth(images, 0.7 * scale)
    circles = np.column_stack([start / scale, np.full(len(start), _RADIUS)])
    prior = 0.05 * len(_RAYS)
    for _ in range(8):
        position, strength = _edges(values, circles, scale)
        weight = strength
        for _ in range(3):  # a circle near the last: its radius along a ray is r + dx·cos + dy·sin
            normal = np.einsum("na,ai,aj->nij", weight, _RAYS, _RAYS) + np.diag([1e-3, 1e-3, prior])
            right = np.einsum("na,na,ai->ni", weight, position, _RAYS)
            right[:, 2] += prior * (_RADIUS - circles[:, 2])
            change = np.linalg.solve(normal, right[..., None])[..., 0]
            residual = position - change @ _RAYS.T
            weight = strength / (1 + (residual / 0.7) ** 2)
        circles += np.clip(change, -1.5, 1.5)
    centres, agreed = circles[:, :2].copy(), weight > 0.3
    for n in np.flatnonzero(agreed.sum(1) >= 12):
        away = circles[n, 2] + residual[n, agreed[n], None]
        middle, axes, _ = cv2.fitEllipse((circles[n, :2] + away * _RAYS[agreed[n], :2]).astype(np.float32))
        if min(axes) > 0.75 * max(axes):  # an iris seen from 40° aside; flatter ones come of too short an arc
            centres[n] = middle
    sides = [weight[:, side].mean(axis=1) for side in (_RAYS[:, 0] > 0, _RAYS[:, 0] < 0)]
    inside = ((centres >= 0) & (centres < [WIDTH, images.shape[1] / scale])).all(axis=1)
    found = (np.minimum(*sides) > 0.12) & inside
    return np.where(found[:, None], centres * scale, np.nan)


def _edges(values: NDArray[np.float32], circles: Floats, scale: float) -> tuple[Floats, Floats]:
    """Return where rays brighten outwards near their circle: distances from it (N, rays), and weights in [0, 1)."""
    import cv2

    _, height, width = values.shape
    reach = np.arange(-_REACH - 1, _REACH + 1 + _STEP / 2, _STEP)
    radius = circles[:, 2, None] + reach
    places = (circles[:, None, None, :2] + radius[:, None, :, None] * _RAYS[:, None, :2]) * scale
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    linear: Any = {"interpolation": cv2.INTER_LINEAR, "borderMode": cv2.BORDER_REPLICATE}
    polar = np.stack([cv2.remap(plane, *place, **linear) for plane, *place in zip(values, x, y, strict=True)])
    one = round(1 / _STEP)
    rise = polar[:, :, 2 * one :] - polar[:, :, : -2 * one]
    away = reach[one:-one]
    inside = ((x > 0.5) & (x < width - 1.5) & (y > 0.5) & (y < height - 1.5))[:, :, one:-one]
    window = np.exp(-(away**2) / (2 * 2.0**2))
    energy = np.square(np.maximum(rise, 0), dtype=float) * inside * window
    total = energy.sum(axis=2) + 1e-3
    strength = np.sqrt(total / window.sum())
    return (energy * away).sum(axis=2) / total, strength / (strength + 20)
