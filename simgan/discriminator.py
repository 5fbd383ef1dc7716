"""The discriminator D_φ: tells refined from real patches (sections 2.1 and 2.2, appendix).

Fully convolutional with two output maps: the *local* adversarial loss takes one decision a patch. The *global* variant
averages the maps to one decision an image and exists for the paper's ablation. Label polarity: see `simgan.losses`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simgan.domains import DEFAULT, of_preset
from simgan.domains.base import PATCHES, Layer
from simgan.errors import ConfigError
from simgan.hub.pretrained import Pretrained

REAL, REFINED = 0, 1  # the two output maps
GROUP = 4  # images that are compared
_BRANCH = -3  # the last two convolutions, and what is between them
_PLACES = (6, 8)  # rows and columns that are told apart in the whole image: all, of crops of 55×35


@dataclass(frozen=True)
class DiscriminatorConfig:
    """All that rebuilds a discriminator: its layers (kind, kernel size, stride, maps) as in the paper's table.

    `scope` is "local" (one decision a patch) or "global" (one an image). `whole`: maps of a branch, leaving before the
    last two of `layers`, that judges the image as a whole beside its patches, 0 for none as in the paper. `slope` below
    zero of what follows a convolution: 0 for the paper's ReLU, else a leaky one.
    """

    domain: str = DEFAULT.name
    channels: int = 1
    layers: tuple[Layer, ...] = PATCHES
    scope: str = "local"
    whole: int = 0
    slope: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(tuple(layer) for layer in self.layers))  # JSON holds lists
        if self.scope not in ("local", "global"):
            raise ConfigError(f"scope must be 'local' or 'global', not {self.scope!r}")
        if any(len(layer) != 4 or not all(type(number) is int for number in layer[1:]) for layer in self.layers):
            raise ConfigError("a layer is a kind and three whole numbers: kernel size, stride and maps")
        if self.channels not in (1, 3):
            raise ConfigError(f"a discriminator takes 1 or 3 channels, not {self.channels}")
        kinds = [layer[0] for layer in self.layers]
        if not {*kinds} <= {"conv", "pool"} or not kinds or kinds[-1] != "conv" or self.layers[-1][3] != 2:
            raise ConfigError("layers must be 'conv' or 'pool', and the last a 'conv' with 2 maps (real, refined)")
        if type(self.whole) is not int or self.whole < 0:
            raise ConfigError(f"whole must be a number of maps, or 0 for no such branch, not {self.whole!r}")
        if self.whole and (self.scope == "global" or kinds[-2:] != ["conv"] * 2 or "conv" not in kinds[:-2]):
            raise ConfigError(
                "a branch that judges the whole leaves before the last two of three 'conv', of scope 'local'"
            )
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


class WholeImage(nn.Module):
    """Judges maps (B, maps, h, w) of an image as a whole, logits (B, 2), beside how much it differs from others.

    The standard deviation within groups of `GROUP` images (Karras et al. 2018) shows it where all refined images get
    the same light and grain, and real ones do not.
    """

    def __init__(self, maps: int, width: int, slope: float) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(maps, width, 4, 2, padding=2)
        self.compare = nn.Conv2d(width + 1, width, 3, padding=1)
        self.mix = nn.Linear(width * _PLACES[0] * _PLACES[1], width)
        self.decide = nn.Linear(width, 2)
        self.slope = slope

    def forward(self, maps: Tensor) -> Tensor:
        """Give the logits; a last group that is not full is filled up with its last image."""
        maps = F.leaky_relu(self.narrow(maps), self.slope)
        groups = torch.cat([maps, maps[-1:].expand(-len(maps) % GROUP, -1, -1, -1)]).float().unflatten(0, (-1, GROUP))
        spread = groups.var(1, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3)).repeat_interleave(GROUP)[: len(maps)]
        spread = spread.to(maps)[:, None, None, None].expand(-1, 1, *maps.shape[2:])
        maps = F.leaky_relu(self.compare(torch.cat([maps, spread], 1)), self.slope)
        flat = F.adaptive_avg_pool2d(maps, _PLACES).flatten(1)
        logits: Tensor = self.decide(F.leaky_relu(self.mix(flat), self.slope))
        return logits


class Discriminator(Pretrained):
    """D_φ: (B, C, H, W) in [−1, 1] → logits (B, 2, h, w), map 0 real and map 1 refined; (B, 2, 1, 1) where global.

    Where it judges the whole image too, that decision stands below those of the patches: see `forward`. Each
    convolution but the last is followed by a (leaky) ReLU; the softmax over the two maps is left to the loss.
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
            self.whole = WholeImage(maps, c.whole, c.slope)

    @classmethod
    def from_preset(cls, name: str, *, channels: int = 1, scope: str = "local") -> "Discriminator":
        """Build the untrained discriminator of a preset; an unknown name raises `ConfigError`."""
        domain, recipe = of_preset(name)
        return cls(DiscriminatorConfig(domain=domain.name, channels=channels, scope=scope, **recipe.discriminator))

    def forward(self, x: Tensor) -> Tensor:
        """Give the logits of a batch (B, C, H, W) in [−1, 1].

        With `whole`, (B, 2, 2h, w): below the h rows of patches as many with the decision on the whole image, so that a
        mean over all weighs both alike.
        """
        if self.config.whole:
            maps = self.layers[:_BRANCH](x)
            patches = self.layers[_BRANCH:](maps)
            return torch.cat([patches, self.whole(maps)[:, :, None, None].expand_as(patches)], 2)
        logits: Tensor = self.layers(x)
        return logits.mean((2, 3), keepdim=True) if self.config.scope == "global" else logits

    @torch.inference_mode()
    def probability_real(self, images: Tensor) -> Tensor:
        """Give 1 − D_φ, the probability of being real, patch by patch: (B, h, w) in [0, 1].

        `images`: a batch (B, C, H, W) in [−1, 1].
        """
        probability = self(images.to(next(self.parameters()))).softmax(1)[:, REAL]
        return probability[:, : probability.shape[1] // 2] if self.config.whole else probability
