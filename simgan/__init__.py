"""simgan: Simulated+Unsupervised learning (SimGAN, Shrivastava et al. 2017).

A refiner makes labelled synthetic images look real without losing their labels.
"""

from simgan.discriminator import Discriminator, DiscriminatorConfig
from simgan.errors import ConfigError, ImageError, ModelError, SimGANError, SourceError, TrainingError
from simgan.refiner import Refiner, RefinerConfig

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Discriminator",
    "DiscriminatorConfig",
    "ImageError",
    "ModelError",
    "Refiner",
    "RefinerConfig",
    "SimGANError",
    "SourceError",
    "TrainingError",
]
