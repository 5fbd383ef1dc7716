"""Images of any kind, in grey or colour: the domain of whatever is no eye and no hand."""

from simgan.domains.base import Domain, Label, Layer, Recipe, Words
from simgan.images.marks import COLUMNS

LAYERS: tuple[Layer, ...] = (
    ("conv", 4, 2, 32),
    ("conv", 4, 2, 64),
    ("conv", 3, 1, 96),
    ("conv", 3, 1, 64),
    ("conv", 1, 1, 2),
)

RECIPES = {
    # Colours, light and backgrounds may change, and edges may not: hence ψ is the structure of edges, whatever their
    # colours, and λ follows from the bounds on shift and fading. 7×7 kernels see 55 px, so that a part is told from its
    # background. Noise gives each image colours of its own. A discriminator of patches alone makes everything the
    # colour of the usual patch; one that also judges whole images (with R1, and the momentum that goes with it) keeps
    # parts and backgrounds apart. It sees images shifted, and not in other tones, as tones are what has to be learnt. A
    # low rate and a strong R1 keep smears away. `docs/evidence.md` has what was tried.
    "images": Recipe(
        {"width": 12, "kernel_size": 7, "blocks": 4, "predict_residual": True, "padding": "reflect", "noise": True},
        {"layers": LAYERS, "whole": 32, "slope": 0.2},
        {
            "steps": 600,
            "refiner_updates": 1,
            "history_size": 0,
            "transform": "structure",
            "steer": True,
            "regularization_weight": 2.0,
            "gradient_penalty": 4.0,
            "learning_rate": 2e-4,
            "betas": (0.0, 0.999),
            "augment": ("translation",),
            "preparation": False,
        },
    ),
}

WORDS = Words(
    images="images",
    purpose="It makes rendered images of the kind below look like the real ones below, before a network is trained on\n"
    "them with their labels. It is not for images of another kind or scale, or for improving photographs.",
)

_SHAPES: dict[str, tuple[int, ...]] = {"points": (-1, 2), "polygons": (-1, -1, 2), "mask": ()}  # of boxes: (−1, 4)

IMAGES = Domain(
    name="images",
    codec="rgb8",
    size=None,
    recipes=RECIPES,
    words=WORDS,
    labels={name: Label(_SHAPES.get(kind, (-1, 4)), in_pixels=True, marks=kind) for name, kind in COLUMNS.items()},
)
"""Also the domain of models whose own domain is not registered here."""
