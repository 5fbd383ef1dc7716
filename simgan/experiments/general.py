"""What experiments on images of any kind share: arms, rivals, and one mild geometric augmentation of all arms."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Generator, Tensor

from simgan.errors import ConfigError, ImageError
from simgan.experiments.augmentation import LOOKS, Look, change_looks, draw_maps, warp
from simgan.experiments.base import Experiment
from simgan.images.arrays import Array, to_tensor


@dataclass(frozen=True, kw_only=True)
class GeneralExperiment(Experiment):
    """Images of 8 bits, grey or in colour, of any size. All arms are turned, zoomed and moved alike in training."""

    arms: tuple[str, ...] = ()
    """What to train on: synthetic, refined, real; 4x-refined is four times as many images, synthetic+blur adds
    augmentation (see --augment); matched gives each synthetic image the colour statistics of an unlabelled real one,
    fda its low frequencies (Fourier domain adaptation). By default all that models and real images are given for, and
    synthetic ones with plain augmentations."""
    limit: int = 3000
    test_limit: int = 2000
    batch: int = 32
    augment: tuple[Look, ...] = ()
    """Augmentation of every arm, real ones too, in amounts drawn uniformly: blur with σ up to 1.2 px, noise with σ up
    to 4 % of the range, colour (brightness by up to 15 % of the range, contrast by up to 30 %, saturation by up to
    50 %, hue by up to 18°), randaugment (a random half of these, sharpness and a hole)."""
    rotate: float = 15.0  # degrees to each side, at most
    zoom: float = 0.1  # share of the size by which an image is scaled up or down, at most
    shift: float = 0.05  # share of the sides by which an image is moved, at most
    flip: bool = True  # mirror half of the images

    augmentations = LOOKS
    may_be_zero = ("rotate", "zoom", "shift", "flip")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.zoom >= 1:
            raise ConfigError(f"a zoom of {self.zoom} leaves no image: give a share below 1, such as 0.1")

    def chosen_arms(self) -> tuple[str, ...]:
        """Return the names of the arms: if not given all that there are models and real images for."""
        if self.arms:
            return self.arms
        refined = ["refined"] if self.model else []
        adapted = ["fda", "matched"] if self.train_real or self.unlabelled else []
        plain = ["synthetic+colour", "synthetic+blur+noise", "synthetic+randaugment"]
        return ("synthetic", *refined, *adapted, *plain, *(["real"] if self.train_real else []))

    def inputs(self, images: Array) -> Tensor:
        """Return images as tensors (N, C, H, W) in [−1, 1]."""
        return to_tensor(images)

    def draw(self, images: Array, generator: Generator, size: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """Return augmented images, of another (height, width) if given, and the maps by which they were moved."""
        high, wide = images.shape[1:3]
        amounts = {"rotate": self.rotate, "zoom": self.zoom, "shift": self.shift, "aspect": wide / high}
        maps = draw_maps(len(images), generator, flip=self.flip, **amounts)
        return change_looks(warp(to_tensor(images), maps, size), self.augment, generator), maps


def check_bits(images: Array, source: str) -> None:
    """Raise `ImageError` where images are not of 8 bits, or fewer than 2."""
    if images.dtype.itemsize != 1 or len(images) < 2:
        raise ImageError(f"{source} must have at least 2 images of 8 bits, not {len(images)} of {images.dtype}")
