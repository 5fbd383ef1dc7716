"""Eyes: grey crops of 55×35 pixels as MPIIGaze normalizes them (section 3.1 of the paper), with gaze and landmarks."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from simgan.domains.base import PAPER, PATCHES, Domain, Label, Layer, PointsWeight, Recipe, Terms, Words
from simgan.domains.eye_shift import FAR, FINDER, LEFT, eye_edges_left, eye_shift, measure_eye_shift
from simgan.domains.faces import find_eyes
from simgan.domains.iris import WIDTH, find_irises, fit_photometry, share_of_irises
from simgan.measures.statistics import Floats

HEIGHT = 35
ARROW, HEAD = 40.0, 3.0  # px: length of a gaze across the image, and of the arrow's head
PUPIL_DISTANCE = 63.0 * 960 / 600  # px, at the scale of such crops, of the 63 mm between pupils

LAYERS: tuple[Layer, ...] = (
    ("conv", 3, 1, 16),
    ("conv", 4, 2, 32),
    ("conv", 4, 2, 64),
    ("conv", 3, 1, 64),
    ("conv", 1, 1, 2),
)

EMBEDDED = {"synthetic": ("simulator:eyes",), "real": ("camera:eyes",)}
# Photographs by `camera:eyes` of the scenes that were rendered, in which nothing moved, are within these bounds: flow
# measures 0.2 px in the median and 1.7 px at most, and 68 % of the iris is left in 95 % of the images. Where
# the pupil is erased 23 % is left on average.
BOUNDS = {"max_shift": 0.8, "max_median_shift": 0.4, "max_single_shift": FAR, "max_faded_95": 1 - LEFT}
RECIPES = {
    # Blocks that see squares of pixels cost a third of a step of 12 maps of 7×7 on single ones, and see as far. Noise
    # gives each image a light and a grain of its own. A discriminator that also judges the whole image, with R1 and the
    # momentum that goes with it, makes refined images as various as the real ones; two updates of it for one of the
    # refiner show the refiner its grids and dots, which one leaves in. λ begins low, as from the identity a high one
    # never leaves it, and rises until labels stay. The falling rate calms both networks, so that the last steps are the
    # best ones. MPIIGaze's crops are histogram-equalized, so synthetic ones must be.
    "eyes": Recipe(
        {
            "width": 32,
            "kernel_size": 3,
            "blocks": 4,
            "fold": True,
            "noise": True,
            "predict_residual": True,
            "equalize": True,
            "padding": "reflect",
        },
        {"layers": LAYERS, "whole": 32, "slope": 0.2},
        {
            "steps": 1200,
            "refiner_updates": 1,
            "discriminator_updates": 2,
            "history_size": 0,
            "regularization_weight": 0.5,
            "label_weight": 10.0,
            "steer": True,
            "gradient_penalty": 0.4,
            "learning_rate": 1e-3,
            "betas": (0.0, 0.999),
            "decay": 0.5,
            "preparation": False,
            "augment": ("translation",),
            "evaluate_every": 100,
            **EMBEDDED,
            **BOUNDS,
        },
    ),
    "eyes-paper": Recipe(
        {"width": 64, "kernel_size": 3, "blocks": 4}, {"layers": PATCHES}, {**PAPER, **EMBEDDED, **BOUNDS}
    ),
}


def gaze_direction(pitch: Any, yaw: Any) -> list[Any]:
    """Return the unit vector (−cos p sin y, −sin p, −cos p cos y) of angles, or arrays of them, in radians."""
    return [-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)]


def outlines(labels: Mapping[str, Any]) -> list[Floats]:
    """Return iris and lids as closed lines, and the gaze as an arrow from the pupil, of an image's labels."""
    lines = [np.concatenate([line, line[:1]]) for line in (np.asarray(labels[name]) for name in ("iris", "lids"))]
    start, towards = np.asarray(labels["pupil"]), np.asarray(labels["gaze"])[:2]
    tip, length = start + ARROW * towards, np.hypot(*towards)
    along, across = (towards, towards[::-1] * (-1, 1)) if length else (towards, towards)
    barbs = [tip - HEAD * (along + side * across / 2) / max(length, 1e-6) for side in (1, -1)]
    return [*lines, np.stack([start, tip]), np.stack([barbs[0], tip, barbs[1]])]


_FLIP = (-1.0, 1.0, 1.0)  # x changes sides
LABELS = {
    "gaze": Label((3,), mirror=_FLIP, derive=(("pitch", "yaw"), gaze_direction)),
    "pitch": Label(),
    "yaw": Label(mirror=(-1.0,)),
    "across": Label(mirror=(-1.0,)),  # a place in an order across a screen, which grows with yaw
    "head_rotation": Label((9,), mirror=tuple(np.outer(_FLIP, _FLIP).ravel())),
    "pupil": Label((2,), in_pixels=True),
    "iris": Label((-1, 2), in_pixels=True),
    "lids": Label((-1, 2), in_pixels=True),
}

TERMS = {
    "mpiigaze": Terms("MPIIGaze (Zhang et al. 2015)", "cc-by-nc-sa-4.0", "CC BY-NC-SA 4.0: no commercial use"),
    "bioid": Terms("eyes of the BioID faces (Jesorsky et al. 2001)", "research", "for research"),
    "webcam": Terms("webcam eyes of students (jatinbhikadiya/eyeGaze)", "unknown", "none named"),
    "syntheseyes": Terms("SynthesEyes (Wood et al. 2015)", "research", "for research"),
    "unityeyes": Terms("UnityEyes (Wood et al. 2016)", "research", "for research"),
}

WORDS = Words(
    images="eye crops",
    purpose="It makes rendered eye crops of the kind below look like the real ones below, before a gaze or landmark "
    "network is trained on\nthem with their labels. It is not for whole faces, for crops at another scale (check with "
    "`simgan prepare --align`), for improving\nphotographs, or for decisions about a person.",
    example="eye.png",
    part="labelled parts",
    where="px at 55 px width",
    shift="part that moved most, mean without the worst 5 %",
    short="part that moved most",
    middle="median of the iris",
    left="edges left of iris or pupil, whichever is less (local correlation)",
    missed="They were not found again",
    unlabelled=FINDER,
    paper="The paper reports that pupil centres moved 1.1 ± 0.8 px, marked by hand.",
    task="gaze",
    tag="gaze-estimation",
    networks="gaze networks",
    labels="Gaze error",
    figure="error",
    metric="gaze-error",
    sign="°",
    limits=(
        "Annotation shift is measured by optical flow at labelled irises and lids. Known shifts are found within 0.2 "
        "px. Between renders and photographs of the same scenes, which have none, it is 0.2 px. A second iris beside "
        "the first is not seen. Without such labels a finder measures irises alone, and errs by more.",
        "The refiner is local: it moves no head and cannot correct a wrong crop. Noise that it adds follows from the "
        "image's pixels, so the same image is always refined alike.",
    ),
)

EYES = Domain(
    name="eyes",
    codec="grey8",
    size=(WIDTH, HEIGHT),
    recipes=RECIPES,
    words=WORDS,
    shift=eye_shift,
    edges_left=eye_edges_left,
    measure_shift=measure_eye_shift,
    labels=LABELS,
    terms=TERMS,
    recognize=share_of_irises,
    weight=PointsWeight(("iris", "pupil", "lids"), radius=3, find=find_irises),
    fit_photometry=fit_photometry,
    outlines=outlines,
    find_crops=partial(find_eyes, size=(WIDTH, HEIGHT), pupil_distance=PUPIL_DISTANCE),
    unusual_layout=0.85,
)
