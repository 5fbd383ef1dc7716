"""Hands: depth of 224×224 pixels in mm, a cube of 300 mm about the hand (section 3.3 of the paper), with joints."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simgan.domains.base import PAPER, PATCHES, Domain, Label, Layer, Recipe, SurfaceWeight, Terms, Words
from simgan.measures.depth import depth_realism, measure_depth_realism, measure_surface_shift, surface_shift
from simgan.measures.statistics import Floats
from simgan.preparation.triangulation import learn_triangulation

SIDE = 224
JOINTS = (
    "little fingertip", "little middle", "ring tip", "ring middle", "middle tip", "middle middle", "index tip",
    "index middle", "thumb tip", "thumb middle", "thumb base", "wrist left", "wrist right", "palm",
)  # fmt: skip
"""The joints of a hand in the order of every label: those 14 of NYU's 36 on which methods are compared."""
_BONES = ((0, 1, 13), (2, 3, 13), (4, 5, 13), (6, 7, 13), (8, 9, 10, 13), (11, 13, 12))  # numbers of joints

PAPER_LAYERS: tuple[Layer, ...] = (
    ("conv", 7, 4, 96),
    ("conv", 5, 2, 64),
    ("pool", 3, 2, 0),
    ("conv", 3, 2, 32),
    ("conv", 1, 1, 32),
    ("conv", 1, 1, 2),
)
EMBEDDED = {"synthetic": ("simulator:hands",), "real": ("camera:hands",)}
RECIPES = {
    # A depth camera changes images within a few pixels (jagged edges, holes, steps), so small patches are enough. A
    # pixel half-way between hand and background looks fake, so the refiner is slow to move edges. So edges, where a
    # sensor errs, are hardly regularized, and the discriminator is trained first. λ cannot be steered: surfaces do not
    # move until it is far too low. Nothing is mirrored, as the projector stands to one side of the camera, and its
    # shadows fall to one side.
    "hands": Recipe(
        {"width": 12, "kernel_size": 7, "blocks": 4, "predict_residual": True, "padding": "reflect"},
        {"layers": PATCHES},
        EMBEDDED
        | {
            "limit": 4000,
            "window": 64,
            "steps": 800,
            "transform": "identity",
            "discriminator_warm_up": 500,
            "regularization_weight": 0.1,
            "label_weight": 50.0,
            "flip": False,
            "max_shift": 6.0,
            "max_median_shift": 3.0,
        },
    ),
    "hands-paper": Recipe(
        {"width": 64, "kernel_size": 7, "blocks": 10},
        {"layers": PAPER_LAYERS},
        {**PAPER, **EMBEDDED, "refiner_warm_up": 500},
    ),
}


def outlines(labels: Mapping[str, Any]) -> list[Floats]:
    """Return the bones of an image's labelled joints as lines."""
    return [np.asarray(labels["joints"])[list(bone), :2] for bone in _BONES]


_FLIP = (-1.0, 1.0, 1.0)  # x changes sides
LABELS = {
    "joints": Label((len(JOINTS), 3), in_pixels=True),
    "joints_mm": Label((len(JOINTS), 3), mirror=_FLIP),
    "own_joints": Label((-1, 3), in_pixels=True),
    "own_joints_mm": Label((-1, 3), mirror=_FLIP),
}

TERMS = {
    "nyu": Terms("NYU Hand Pose (Tompson et al. 2014)", "research", "for research"),
    "msra": Terms("MSRA hand gestures (Sun et al. 2015)", "research", "for research"),
    "icvl": Terms("ICVL hand postures (Tang et al. 2014)", "research", "for research"),
}

WORDS = Words(
    images="depth images of hands",
    purpose="It makes rendered depth of hands of the kind below look like what the real camera below measures, before "
    "a hand pose network is\ntrained on it with its joints. It is not for other depth cameras or scales (a crop shows "
    "300 mm in 224 px), for bodies and rooms, for\nimproving a camera's own images, or for decisions about a person.",
    example="hand.png",
    takes="depth image of 16 bits, millimetres, 0 = no reading, of at least 16×16 pixels, the hand nearest to the "
    "camera",
    types="PIL, NumPy (uint16)",
    legend="grey: nothing moved; white or black: 10 mm farther or nearer; orange: reading lost; blue: gained",
    distance="Mean of two sliced Wasserstein distances of 7×7 patches at two scales: of depth without its median over "
    "5×5 pixels, and of the mask of readings.",
    part="surface",
    unit="mm",
    where="mm",
    missed="No reading was left",
    paper="Median and percentile are over the pixels of an image that have a reading before and after.",
    task="hands",
    tag="hand-pose-estimation",
    networks="hand pose networks",
    labels="Joints within 5 px",
    figure="share_within_5px",
    metric="joints-within-5px",
    scale=100,
    sign=" %",
    limits=(
        "Annotation shift is measured on the surface, where both images have a reading; joints lie below it.",
        "The refiner is deterministic and local: it adds no noise of its own, moves no finger, casts no shadow beyond "
        "its receptive field, and cannot correct a wrong crop.",
        "Depth of more than 300 mm behind the nearest reading is background for it, and stays as it is.",
    ),
)

HANDS = Domain(
    name="hands",
    codec="depth16",
    size=(SIDE, SIDE),
    recipes=RECIPES,
    words=WORDS,
    realism=depth_realism,
    shift=surface_shift,
    edges_left=None,
    measure_realism=measure_depth_realism,
    measure_shift=measure_surface_shift,
    labels=LABELS,
    terms=TERMS,
    weight=SurfaceWeight(edge=0.12, reach=3),
    learn_triangulation=learn_triangulation,
    outlines=outlines,
)
