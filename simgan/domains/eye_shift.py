"""Annotation shift of eyes: how far irises and lids move when an image is refined, and what is left of them.

By optical flow about the labelled points. Where no image has such labels, an iris finder tells how far the iris moved.
Its error is larger than what most refiners move, so it is stated beside the figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simgan.domains.iris import WIDTH, Images, iris_shift
from simgan.images.marks import is_known
from simgan.measures.realism import grey
from simgan.measures.shift import Shift, likeness, measure_shift, part_shift
from simgan.measures.statistics import Floats

PUPIL, IRIS, LIDS = ("pupil",), ("pupil", "iris"), ("lids",)  # columns of the labels of a part
FAR = 3.0  # px at 55 px width
LEFT = 0.6  # of an edge that is still there: photographs of the scenes that were rendered have as much in 98 %
FINDER = (
    "The shift is that of the iris alone, measured by a finder, not at labels. The finder has errors of its own: in "
    "unrefined renders of `simulator:eyes`, whose irises are known, 0.6 px in the median, and more than 3 px in 3 %."
)


def eye_shift(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> Floats:
    """Return how far the iris moved, and the part that moved most, in px at 55 px width: (N, 2).

    Parts are the iris with its pupil, and the lids. By `part_shift` about their labelled points; where no image has
    those of irises, lids alone. Without such labels by `iris_shift`, both columns the same. NaN where it cannot be
    measured.
    """
    if parts := [points for columns in (IRIS, LIDS) if (points := _points(labels, columns))]:
        moved = [part_shift(before, after, points) for points in parts]
        most = np.where(np.isfinite(moved[0]), np.fmax.reduce(moved), np.nan)
        return np.stack([moved[0], most], 1) * (WIDTH / before.shape[2])
    return iris_shift(before, after, labels)


def eye_edges_left(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> Floats:
    """Return how much is left of the iris with its pupil, or of the pupil alone if that is less, (N,) in [−1, 1].

    By `likeness` about their labelled points; NaN in images without such labels. A pupil that is gone would hardly show
    among the edges of the iris, so it counts by itself, too. Lids do not count: real lashes change them.
    """
    points = [points for columns in (PUPIL, IRIS) if (points := _points(labels, columns))]
    none = np.full(len(before), np.nan)
    return np.fmin.reduce([none, *(likeness(before, after, of_part) for of_part in points)])


def measure_eye_shift(before: Images, after: Images, labels: Mapping[str, Sequence[Any]], *, seed: int = 0) -> Shift:
    """Measure how far labelled parts (without labels: irises) moved, of N ≥ 2 images, also by gaze and person.

    The median is that of the iris, other shifts are of the part that moved most. An iris has faded, or changed its
    tones, where less than 60 % of it or its pupil is left. A second iris beside it is not seen. The repeatability is
    the median of what the measure errs by where the first image is blurred a little (σ 0.6 px) and gets noise (σ 4 of
    255) instead of being refined. `ImageError` where images or labels do not fit.
    """
    import cv2

    distances, left = eye_shift(before, after, labels), eye_edges_left(before, after, labels)
    noise = np.random.default_rng(seed).normal(0, 4, before.shape[:3])
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 0.6) for image in grey(before)]).astype(np.float32)
    disturbed = np.clip(blurred + noise, 0, 255).round().astype(np.uint8)
    errors = eye_shift(grey(before), disturbed, labels)[:, 0]
    labelled = bool(_points(labels, (*IRIS, *LIDS)))
    irises = int(np.isfinite(left).sum())
    of_edges = {
        "edges left of irises": (left, 100, 1, " %"),
        "irises faded or changed": (_share(left < LEFT, left), irises, 0, f" of {irises}"),
    }
    return measure_shift(
        distances,
        labels,
        moved="labelled parts" if labelled else "iris",
        unit="px",
        groups={"gaze": gaze_directions(labels["pitch"], labels["yaw"])} if {"pitch", "yaw"} <= labels.keys() else {},
        further={
            "iris, mean": (distances[:, 0], 1, 2, " px"),
            "beyond 3 px": (_share(distances[:, 1] > FAR, distances[:, 1]), 100, 1, " %"),
        }
        | (of_edges if labelled else {}),
        repeatability=float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan"),
        note=(
            "The median is that of the iris, the other shifts are of the part that moved most. An iris has faded or "
            "changed where less than 60 % of it or its pupil is left. "
            if labelled
            else f"{FINDER} "
        )
        + "The paper reports a mean of 1.1 px and a standard deviation of 0.8 px, of 100 pairs marked by hand.",
        seed=seed,
    )


def _share(is_so: Any, values: Floats) -> Floats:
    """Return 1 where it is so and 0 where not, NaN where the value is not known."""
    return np.where(np.isfinite(values), is_so, np.nan)


def gaze_directions(pitch: Sequence[float], yaw: Sequence[float]) -> list[str]:
    """Return where eyes look in the image: ahead (within 10°), up, down, left, right or unknown. Angles in radians."""
    up, left = np.degrees(np.column_stack([pitch, yaw]).astype(float)).T
    rules = {
        "unknown": ~np.isfinite(up + left),
        "ahead": np.maximum(np.abs(up), np.abs(left)) <= 10,
        "up": (np.abs(up) >= np.abs(left)) & (up > 0),
        "down": np.abs(up) >= np.abs(left),
        "left": left > 0,
    }
    return np.select(list(rules.values()), list(rules), "right").tolist()  # by the first rule that holds


def _points(labels: Mapping[str, Sequence[Any]], parts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the points of these columns in each image, as the column `points`; {} where no image has any."""
    columns = [labels[part] for part in parts if part in labels]
    points = [
        [point for value in values if is_known(value) for point in np.reshape(value, (-1, 2)).tolist()]
        for values in zip(*columns, strict=True)
    ]
    return {"points": points} if any(points) else {}
