"""Annotation shift of eyes: how far pupil, iris and lids move when an image is refined, and what is left of them.

By optical flow at the labelled points, as in images of any kind. Where no image has such labels, an iris finder tells
how far the iris moved. It errs by more than most refiners move anything, so its own error is told beside its figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simgan.domains.iris import WIDTH, Images, iris_shift
from simgan.images.marks import is_known
from simgan.measures.realism import grey
from simgan.measures.shift import Shift, edges_left, flow_shift, measure_shift
from simgan.measures.statistics import Floats

PARTS = ("pupil", "iris", "lids")  # columns of labels
FAR = 3.0  # px at 55 px width
CONTRAST = 0.5  # share of it that is enough: real light and sharpness alone leave edges 60 % of theirs
FINDER = (
    "The shift is that of the iris alone, measured by a finder, not at labels. The finder has errors of its own: in "
    "unrefined renders of `simulator:eyes`, whose irises are known, 0.5 px in the median, and more than 3 px in 17 %."
)


def eye_shift(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> Floats:
    """Return how far labelled points moved, in px at 55 px width: (N, 2), median and 90th percentile of each image.

    By `flow_shift` at edges about the points of pupil, iris and lids. Without such labels by `iris_shift`: an iris is
    one part, so both columns are the same. NaN where it cannot be measured.
    """
    if points := _points(labels, PARTS):
        return flow_shift(before, after, points) * (WIDTH / before.shape[2])
    return iris_shift(before, after, labels)


def eye_edges_left(before: Images, after: Images, labels: Mapping[str, Sequence[Any]]) -> Floats:
    """Return `edges_left` of pupil, iris or lids, whichever is least, (N,); NaN in images without such labels.

    One part alone: a pupil that is gone would hardly show among the edges of iris and lids.
    """
    points = [points for part in PARTS if (points := _points(labels, (part,)))]
    none = np.full(len(before), np.nan)
    return np.fmin.reduce([none, *(edges_left(before, after, of_part, enough=CONTRAST) for of_part in points)])


def measure_eye_shift(before: Images, after: Images, labels: Mapping[str, Sequence[Any]], *, seed: int = 0) -> Shift:
    """Measure how far labelled points (without labels: irises) moved, of N ≥ 2 images, also by gaze and person.

    The repeatability is the median of what the measure errs by where the first image is blurred a little (σ 0.6 px) and
    gets noise (σ 4 of 255) instead of being refined. `ImageError` where images or labels do not fit.
    """
    import cv2

    distances, left = eye_shift(before, after, labels), eye_edges_left(before, after, labels)
    noise = np.random.default_rng(seed).normal(0, 4, before.shape[:3])
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 0.6) for image in grey(before)]).astype(np.float32)
    disturbed = np.clip(blurred + noise, 0, 255).round().astype(np.uint8)
    errors = eye_shift(grey(before), disturbed, labels)[:, 0]
    middle, labelled = distances[:, 0], bool(_points(labels, PARTS))
    beyond = np.where(np.isfinite(middle), middle > FAR, np.nan)
    return measure_shift(
        distances,
        labels,
        moved="labelled parts" if labelled else "iris",
        unit="px",
        groups={"gaze": gaze_directions(labels["pitch"], labels["yaw"])} if {"pitch", "yaw"} <= labels.keys() else {},
        further={"mean": (middle, 1, 2, " px"), "beyond 3 px": (beyond, 100, 1, " %")}
        | ({"edges left": (left, 100, 1, " %"), "below 60 % left": (left < 0.6, 100, 1, " %")} if labelled else {}),
        repeatability=float(np.nanmedian(errors)) if np.isfinite(errors).any() else float("nan"),
        note=("Edges left are those of the part of which least is left. " if labelled else f"{FINDER} ")
        + "The paper reports a mean of 1.1 px and a standard deviation of 0.8 px, of 100 pairs marked by hand.",
        seed=seed,
    )


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
