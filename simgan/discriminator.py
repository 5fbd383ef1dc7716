"""The discriminator D_φ: tells refined from real patches (sections 2.1 and 2.2, appendix).

Fully convolutional with two output maps: the *local* adversarial loss takes one decision a patch. The *global* variant
averages the maps to one decision an image and exists for the paper's ablation. Label polarity: see `simgan.losses`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from simgan.domains import EYES_DISCRIMINATOR, Layer, get_preset
from simgan.errors import ConfigError
from simgan.hub import Pretrained

REAL, REFINED = 0, 1  # the two output maps
_BRANCH = -3  # the last two convolutions, and what is between them


@dataclass(frozen=True)
class DiscriminatorConfig:
    """All that rebuilds a discriminator: its layers (kind, kernel size, stride, maps) as in the paper's table.

    `scope` is "local" (one decision a patch) or "global" (one an image). `whole`: layers of a branch that leaves before
    the last two of `layers`; its mean over the image, what speaks of all of it, adds to the logits of each patch.
    `slope` below zero of what follows a convolution: 0 for the paper's ReLU, else a leaky one.
    """

    domain: str = "eyes"
    channels: int = 1
    layers: tuple[Layer, ...] = EYES_DISCRIMINATOR
    scope: str = "local"
    whole: tuple[Layer, ...] = ()
    slope: float = 0.0

    def __post_init__(self) -> None:
        for name in ("layers", "whole"):  # JSON holds lists
            object.__setattr__(self, name, tuple(tuple(layer) for layer in getattr(self, name)))
        if self.scope not in ("local", "global"):
            raise ConfigError(f"scope must be 'local' or 'global', not {self.scope!r}")
        every = self.layers + self.whole
        if any(len(layer) != 4 or not all(type(number) is int for number in layer[1:]) for layer in every):
            raise ConfigError("a layer is a kind and three whole numbers: kernel size, stride and maps")
        if self.channels not in (1, 3):
            raise ConfigError(f"a discriminator takes 1 or 3 channels, not {self.channels}")
        if not self.layers or not {layer[0] for layer in every} <= {"conv", "pool"}:
            raise ConfigError("layers must be 'conv' or 'pool', and there must be some")
        if any(part and (part[-1][0] != "conv" or part[-1][3] != 2) for part in (self.layers, self.whole)):
            raise ConfigError("the last of the layers must be a 'conv' with 2 maps (real, refined)")
        if self.whole and (self.layers[-2:][0][0] != "conv" or "conv" not in {kind for kind, *_ in self.layers[:-2]}):
            raise ConfigError("a branch leaves before the last two layers, both 'conv', after another 'conv'")
        if not 0 <= self.slope < 1:
            raise ConfigError(f"slope must lie in [0, 1), not {self.slope}")


@dataclass(frozen=True)
class ReceptiveField:
    """What a patch of the map sees, along either axis: patch i sees pixels `first + i * stride` and `size - 1` more.

    `first` is negative where the first patch also sees padding.
    """

    first: int
    size: int
    stride: int


def receptive_field(layers: tuple[Layer, ...]) -> ReceptiveField:
    """Compute from kernel sizes, strides and paddings (kernel_size // 2) what each patch of a discriminator sees."""
    first, size, stride = 0, 1, 1
    for _, kernel_size, step, _ in layers:
        first -= kernel_size // 2 * stride
        size += (kernel_size - 1) * stride
        stride *= step
    return ReceptiveField(first, size, stride)


def _stacked(layers: tuple[Layer, ...], maps: int, slope: float) -> nn.Sequential:
    """Build layers on so many maps; a (leaky) ReLU follows each convolution but the last."""
    built: list[nn.Module] = []
    for kind, kernel_size, stride, width in layers:
        if kind == "pool":
            built.append(nn.MaxPool2d(kernel_size, stride, padding=kernel_size // 2))
        else:
            convolution = nn.Conv2d(maps, width, kernel_size, stride, padding=kernel_size // 2)
            built += [convolution, nn.LeakyReLU(slope) if slope else nn.ReLU()]
            maps = width
    return nn.Sequential(*built[:-1])


class Discriminator(Pretrained):
    """D_φ: (B, C, H, W) in [−1, 1] → logits (B, 2, h, w), map 0 real and map 1 refined; (B, 2, 1, 1) where global.

    Each convolution but the last is followed by a (leaky) ReLU; the softmax over the two maps is left to the loss.
    """

    config_class = DiscriminatorConfig
    subfolder = "discriminator"

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config: DiscriminatorConfig = config or DiscriminatorConfig()
        c = self.config
        self.layers = _stacked(c.layers, c.channels, c.slope)
        if c.whole:
            maps = next(width for kind, _, _, width in reversed(c.layers[:-2]) if kind == "conv")
            self.whole = _stacked(c.whole, maps, c.slope)

    @classmethod
    def from_preset(cls, name: str, *, channels: int = 1, scope: str = "local") -> "Discriminator":
        """Build the untrained discriminator of a preset; an unknown name raises `ConfigError`."""
        preset = get_preset(name)
        return cls(DiscriminatorConfig(domain=preset.domain, channels=channels, scope=scope, **preset.discriminator))

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of a batch (B, C, H, W) in [−1, 1]."""
        if self.config.whole:
            maps = self.layers[:_BRANCH](x)
            logits = self.layers[_BRANCH:](maps) + self.whole(maps).mean((2, 3), keepdim=True)
        else:
            logits = self.layers(x)
        return logits.mean((2, 3), keepdim=True) if self.config.scope == "global" else logits

    @torch.inference_mode()
    def probability_real(self, images: Tensor) -> Tensor:
        """Give 1 − D_φ, the probability of being real, patch by patch: (B, h, w) in [0, 1].

        `images`: a batch (B, C, H, W) in [−1, 1].
        """
        return self(images.to(next(self.parameters()))).softmax(1)[:, REAL]
