"""Images of any kind, in grey or colour: the domain of whatever is no eye and no hand."""

from simgan.domains.base import PATCHES, Domain, Label, Recipe, Words
from simgan.images.marks import COLUMNS

RECIPES = {
    "images": Recipe(
        {"width": 12, "kernel_size": 7, "blocks": 4, "predict_residual": True, "padding": "reflect"},
        {"layers": PATCHES},
        {"transform": "gradients", "preparation": False},
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
