"""What an image of a domain is, and the networks that each preset builds for it.

The paper treats two domains, eyes (section 3.1) and hands (section 3.3); the layers are those of its appendix. A
preset names the networks of a recipe: `eyes-paper` and `hands-paper` keep the paper's values, `eyes` and `hands` are
what ships. How a preset trains is told by the preset of the same name in `simgan.training.config`.
"""

from dataclasses import dataclass, field
from typing import Any

from simgan.errors import ConfigError


@dataclass(frozen=True)
class Domain:
    """An image domain: size in pixels, channels, and the type that a stored pixel has."""

    name: str
    width: int
    height: int
    channels: int
    stored: str  # "uint8" (grey, RGB) or "uint16" (depth in millimetres, 0 = no reading)


DOMAINS = {
    "eyes": Domain("eyes", width=55, height=35, channels=1, stored="uint8"),
    "hands": Domain("hands", width=224, height=224, channels=1, stored="uint16"),
}

JOINTS = (
    "little fingertip",
    "little middle",
    "ring tip",
    "ring middle",
    "middle tip",
    "middle middle",
    "index tip",
    "index middle",
    "thumb tip",
    "thumb middle",
    "thumb base",
    "wrist left",
    "wrist right",
    "palm",
)
"""The joints of a hand in the order of every label: those 14 of NYU's 36 on which methods are compared."""

# A layer of a discriminator: (kind, kernel size, stride, maps); a pool keeps its number of maps.
Layer = tuple[str, int, int, int]

EYES_DISCRIMINATOR: tuple[Layer, ...] = (
    ("conv", 3, 2, 96),
    ("conv", 3, 2, 64),
    ("pool", 3, 1, 0),
    ("conv", 3, 1, 32),
    ("conv", 1, 1, 32),
    ("conv", 1, 1, 2),
)
EYES_LARGE_DISCRIMINATOR: tuple[Layer, ...] = (
    ("conv", 3, 1, 32),
    ("conv", 4, 2, 64),
    ("conv", 4, 2, 128),
    ("conv", 3, 1, 128),
    ("conv", 1, 1, 2),
)
HANDS_DISCRIMINATOR: tuple[Layer, ...] = (
    ("conv", 7, 4, 96),
    ("conv", 5, 2, 64),
    ("pool", 3, 2, 0),
    ("conv", 3, 2, 32),
    ("conv", 1, 1, 32),
    ("conv", 1, 1, 2),
)


@dataclass(frozen=True)
class Preset:
    """The networks of a recipe, as the keyword arguments of their configurations."""

    domain: str
    refiner: dict[str, Any] = field(default_factory=dict)
    discriminator: dict[str, Any] = field(default_factory=dict)


PRESETS = {
    "eyes-paper": Preset("eyes", {"width": 64, "kernel_size": 3, "blocks": 4}, {"layers": EYES_DISCRIMINATOR}),
    "hands-paper": Preset("hands", {"width": 64, "kernel_size": 7, "blocks": 10}, {"layers": HANDS_DISCRIMINATOR}),
    # 12 maps of 7×7 train about as fast as 24 of 3×3, but a pixel sees 55 px instead of 19, so it knows lid from cheek,
    # and comes nearer to real images (the card of `eyes` has the figures). The residual starts as the identity, which
    # makes the warm-up of the refiner needless; MPIIGaze's crops are histogram-equalized, so its rivals must be.
    "eyes": Preset(
        "eyes",
        {"width": 12, "kernel_size": 7, "blocks": 4, "predict_residual": True, "equalize": True, "padding": "reflect"},
        {"layers": EYES_DISCRIMINATOR},
    ),
    # For thousands of real images: noise gives each image a light and a grain of its own, and a discriminator that also
    # judges the image as a whole holds the refiner to as many of them as the real ones have.
    "eyes-large": Preset(
        "eyes",
        {
            "width": 32,
            "kernel_size": 5,
            "blocks": 4,
            "predict_residual": True,
            "equalize": True,
            "padding": "reflect",
            "noise": True,
        },
        {"layers": EYES_LARGE_DISCRIMINATOR, "whole": 64, "slope": 0.2},
    ),
    # What a depth camera adds is a few pixels wide (jagged edges, holes, steps), so the patches are those of eyes.
    "hands": Preset(
        "hands",
        {"width": 12, "kernel_size": 7, "blocks": 4, "predict_residual": True, "padding": "reflect"},
        {"layers": EYES_DISCRIMINATOR},
    ),
}


def get_preset(name: str) -> Preset:
    """Return the preset `name`; an unknown name raises `ConfigError` that lists the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}: choose one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
