"""A domain that simgan has never heard of, as a user writes one: plates with two screws, 96×72 in colour.

This file, and an entry point that names `PLATES`, are all that it takes.
"""

import cv2
import numpy as np

from simgan.domains import Domain, Label, PointsWeight, Recipe, Terms, Words
from simgan.domains.base import PATCHES
from simgan.measures.realism import grey

AROUND = 12  # px to each side of a screw that are compared


def screw_shift(before, after, labels):
    """How far the surroundings of both screws moved, in px, by phase correlation."""
    rows = []
    for first, second, points in zip(grey(before), grey(after), labels["screws"], strict=True):
        moved = []
        for x, y in np.round(points).astype(int):
            part = np.s_[max(y - AROUND, 0) : y + AROUND, max(x - AROUND, 0) : x + AROUND]
            one, other = (np.ascontiguousarray(image[part], np.float32) for image in (first, second))
            moved.append(np.hypot(*cv2.phaseCorrelate(one, other)[0]))
        rows.append(np.quantile(moved, (0.5, 0.9)))
    return np.array(rows)


PLATES = Domain(
    name="plates",
    codec="rgb8",
    size=(96, 72),
    recipes={
        "plates": Recipe(
            {"width": 8, "kernel_size": 3, "blocks": 2, "predict_residual": True, "padding": "reflect"},
            {"layers": PATCHES},
            {"transform": "channel-mean", "preparation": False, "label_weight": 3.0, "max_shift": 2.0},
        )
    },
    words=Words(
        images="pictures of plates",
        purpose="It makes rendered plates look like photographs of plates.",
        example="plate.png",
        takes="photograph of a plate",
        types="PIL, NumPy (uint8), tensors",
        part="screws",
        shift="mean without the worst 5 %",
        short="mean of 95 %",
        missed="No screw was found",
        paper="Each screw is compared with itself by phase correlation.",
        tag="object-detection",
        limits=("Plates without screws cannot be measured.",),
    ),
    shift=screw_shift,
    labels={"screws": Label((2, 2), in_pixels=True)},
    terms={"plateworks": Terms("plates of a plateworks", "apache-2.0", "Apache-2.0")},
    weight=PointsWeight(("screws",), radius=7.5),
)
