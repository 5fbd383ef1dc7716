"""simgan: Simulated+Unsupervised learning (SimGAN, Shrivastava et al. 2017).

A refiner makes labelled synthetic images look real without losing their labels.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simgan.discriminator import Discriminator, DiscriminatorConfig
    from simgan.domains import Domain, register
    from simgan.errors import (
        ConfigError,
        ImageError,
        ModelError,
        PublishError,
        SimGANError,
        SourceError,
        TrainingError,
    )
    from simgan.refiner import Refiner, RefinerConfig

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Discriminator",
    "DiscriminatorConfig",
    "Domain",
    "ImageError",
    "ModelError",
    "PublishError",
    "Refiner",
    "RefinerConfig",
    "SimGANError",
    "SourceError",
    "TrainingError",
    "register",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: PyTorch takes two seconds, `simgan --help` does not need it."""
    if name not in __all__:
        raise AttributeError(f"module 'simgan' has no attribute {name!r}")
    if name in ("Domain", "register"):
        return getattr(import_module("simgan.domains"), name)
    room = name.removesuffix("Config").lower() if name.startswith(("Refiner", "Discriminator")) else "errors"
    return getattr(import_module(f"simgan.{room}"), name)


def __dir__() -> list[str]:
    """Names for completion."""
    return [*globals(), *__all__]
