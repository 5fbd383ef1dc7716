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


@dataclass(frozen=True)
class DiscriminatorConfig:
    """All that rebuilds a discriminator: its layers (kind, kernel size, stride, maps) as in the paper's table.

    `scope` is "local" (one decision a patch) or "global" (one an image).
    """

    domain: str = "eyes"
    channels: int = 1
    layers: tuple[Layer, ...] = EYES_DISCRIMINATOR
    scope: str = "local"

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(tuple(layer) for layer in self.layers))  # JSON holds lists
        if self.scope not in ("local", "global"):
            raise ConfigError(f"scope must be 'local' or 'global', not {self.scope!r}")
        if any(len(layer) != 4 or not all(type(number) is int for number in layer[1:]) for layer in self.layers):
            raise ConfigError("a layer is a kind and three whole numbers: kernel size, stride and maps")
        if self.channels not in (1, 3):
            raise ConfigError(f"a discriminator takes 1 or 3 channels, not {self.channels}")
        kinds = {layer[0] for layer in self.layers}
        if not kinds <= {"conv", "pool"} or not self.layers or self.layers[-1][0] != "conv" or self.layers[-1][3] != 2:
            raise ConfigError("layers must be 'conv' or 'pool', and the last a 'conv' with 2 maps (real, refined)")


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


class Discriminator(Pretrained):
    """D_φ: (B, C, H, W) in [−1, 1] → logits (B, 2, h, w), map 0 real and map 1 refined; (B, 2, 1, 1) where global.

    Each convolution but the last is followed by ReLU; the softmax over the two maps is left to the loss.
    """

    config_class = DiscriminatorConfig
    subfolder = "discriminator"

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__()
        self.config: DiscriminatorConfig = config or DiscriminatorConfig()
        layers: list[nn.Module] = []
        maps = self.config.channels
        for kind, kernel_size, stride, width in self.config.layers:
            if kind == "pool":
                layers.append(nn.MaxPool2d(kernel_size, stride, padding=kernel_size // 2))
            else:
                layers += [nn.Conv2d(maps, width, kernel_size, stride, padding=kernel_size // 2), nn.ReLU()]
                maps = width
        self.layers = nn.Sequential(*layers[:-1])  # no ReLU after the last

    @classmethod
    def from_preset(cls, name: str, *, channels: int = 1, scope: str = "local") -> "Discriminator":
        """Build the untrained discriminator of a preset; an unknown name raises `ConfigError`."""
        preset = get_preset(name)
        return cls(DiscriminatorConfig(domain=preset.domain, channels=channels, scope=scope, **preset.discriminator))

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of a batch (B, C, H, W) in [−1, 1]."""
        logits: Tensor = self.layers(x)
        return logits.mean((2, 3), keepdim=True) if self.config.scope == "global" else logits

    @torch.inference_mode()
    def probability_real(self, images: Tensor) -> Tensor:
        """Give 1 − D_φ, the probability of being real, patch by patch: (B, h, w) in [0, 1].

        `images`: a batch (B, C, H, W) in [−1, 1].
        """
        return self(images.to(next(self.parameters()))).softmax(1)[:, REAL]
