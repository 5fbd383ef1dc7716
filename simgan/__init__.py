"""simgan: make labelled synthetic images look real without losing their labels (SimGAN, Shrivastava et al. 2017)."""

from typing import TYPE_CHECKING, Any

from simgan.errors import (
    ConfigError,
    ImageError,
    ModelError,
    PublishError,
    SimGANError,
    SourceError,
    Stopped,
    TrainingError,
)
from simgan.hub import VERSION as __version__

if TYPE_CHECKING:
    from simgan.discriminator import Discriminator, DiscriminatorConfig
    from simgan.domains import Domain, register
    from simgan.refine_batch import RefineBatch
    from simgan.refiner import Refiner, RefinerConfig
    from train_accelerate import train

__all__ = [
    "ConfigError",
    "Discriminator",
    "DiscriminatorConfig",
    "Domain",
    "ImageError",
    "ModelError",
    "PublishError",
    "RefineBatch",
    "Refiner",
    "RefinerConfig",
    "SimGANError",
    "SourceError",
    "Stopped",
    "TrainingError",
    "__version__",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import networks and domains when they are asked for: `simgan --help` need not wait two seconds for PyTorch."""
    if name not in __all__:
        raise AttributeError(f"module 'simgan' has no attribute {name!r}")
    if name == "train":  # needs what is installed for training
        import train_accelerate

        return train_accelerate.train
    from simgan import discriminator, domains, refine_batch, refiner

    modules = (refiner, refine_batch, discriminator, domains)
    return next(getattr(module, name) for module in modules if hasattr(module, name))


def __dir__() -> list[str]:
    """Names for completion."""
    return [*globals(), *__all__]
