"""The discriminator D_φ: classifies patches as refined or real (sections 2.1 and 2.2, appendix).

Fully convolutional with two output maps: the *local* adversarial loss takes one decision a patch. The *global* variant
averages the maps to one decision an image and exists for the paper's ablation. Label polarity: see `simgan.losses`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simgan.domains import DEFAULT
from simgan.domains.base import PATCHES, Layer
from simgan.errors import require
from simgan.hub.pretrained import Pretrained
from simgan.runtime import adaptive_average

REAL, REFINED = 0, 1  # the two output maps
GROUP = 4  # images that are compared with one another
_BRANCH = -3  # the last two convolutions and the activation between them
_PLACES = (6, 8)  # rows and columns to which maps of the whole image are averaged; maps of a 55×35 image have as many


@dataclass(frozen=True)
class DiscriminatorConfig:
    """All that rebuilds a discriminator."""

    domain: str = DEFAULT.name
    channels: int = 1
    layers: tuple[Layer, ...] = PATCHES  # kind, kernel size, stride and maps of each, as in the paper's table
    scope: str = "local"  # one decision a patch, or "global": one an image
    whole: int = 0  # maps of a branch before the last two layers that also judges the whole image; 0, the paper's: none
    slope: float = 0.0  # of the activation below zero; 0, the paper's: ReLU

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(map(tuple, self.layers)))  # JSON holds lists
        require(self.channels in (1, 3), f"a discriminator takes 1 or 3 channels, not {self.channels}")
        require(self.scope in ("local", "global"), f"scope must be 'local' or 'global', not {self.scope!r}")
        require(0 <= self.slope < 1, f"slope must lie in [0, 1), not {self.slope}")
        kinds = [layer[0] if [*map(type, layer)] == [str, int, int, int] else "" for layer in self.layers]
        require(
            {*kinds} <= {"conv", "pool"} and kinds[-1:] == ["conv"] and self.layers[-1][3] == 2,
            "layers must be lists of 'conv' or 'pool', kernel size, stride and maps; the last is a 'conv' of 2 maps",
        )
        can_branch = self.scope == "local" and kinds[-2:] == ["conv"] * 2 and "conv" in kinds[:-2]
        require(
            type(self.whole) is int and (self.whole == 0 or (self.whole > 0 and can_branch)),
            "whole must be a number of maps, or 0 for no branch that judges the whole image; it needs scope 'local' "
            f"and three 'conv' layers, two of them last; not {self.whole!r}",
        )


@dataclass(frozen=True)
class ReceptiveField:
    """The receptive field of patch i along either axis: `size` px from `first + i * stride` on; below 0 is padding."""

    first: int
    size: int
    stride: int


def receptive_field(layers: tuple[Layer, ...]) -> ReceptiveField:
    """Return the receptive field of a patch, from kernel sizes, strides and paddings (kernel_size // 2)."""
    first, size, stride = 0, 1, 1
    for _, kernel_size, step, _ in layers:
        first -= kernel_size // 2 * stride
        size += (kernel_size - 1) * stride
        stride *= step
    return ReceptiveField(first, size, stride)


class WholeImage(nn.Module):
    """Judges whole images: maps (B, maps, h, w) → logits (B, 2), also by how much images differ from one another.

    The standard deviation within groups of `GROUP` images (Karras et al. 2018) shows whether all refined images have
    the same light and grain; real ones do not.
    """

    def __init__(self, maps: int, width: int, slope: float) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(maps, width, 4, 2, padding=2)
        self.compare = nn.Conv2d(width + 1, width, 3, padding=1)
        self.mix = nn.Linear(width * _PLACES[0] * _PLACES[1], width)
        self.decide = nn.Linear(width, 2)
        self.slope = slope

    def forward(self, maps: Tensor, sides: int = 1) -> Tensor:
        """Return the logits. The batch holds `sides` kinds of images, as many of each; groups never mix them."""
        maps = F.leaky_relu(self.narrow(maps), self.slope)
        spread = torch.cat([_spread(side) for side in maps.chunk(sides)]).to(maps)
        spread = spread[:, None, None, None].expand(-1, 1, *maps.shape[2:])
        maps = F.leaky_relu(self.compare(torch.cat([maps, spread], 1)), self.slope)
        flat = adaptive_average(maps, _PLACES).flatten(1)
        logits: Tensor = self.decide(F.leaky_relu(self.mix(flat), self.slope))
        return logits


def _spread(maps: Tensor) -> Tensor:
    """Return the standard deviation in each image's group (B,), float32; the last image fills up the last group."""
    full = torch.cat([maps, maps[-1:].expand(-len(maps) % GROUP, -1, -1, -1)])
    groups = full.float().unflatten(0, (-1, GROUP))
    deviation = groups.var(1, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat_interleave(GROUP)[: len(maps)]


class Discriminator(Pretrained):
    """D_φ: (B, C, H, W) in [−1, 1] → logits (B, 2, h, w), map 0 real and map 1 refined; (B, 2, 1, 1) where global.

    A (leaky) ReLU follows each convolution but the last; the losses apply the softmax over the two maps.
    """

    config: DiscriminatorConfig
    config_class = DiscriminatorConfig
    subfolder = "discriminator"
    shape = ("layers", "whole", "slope")
    entering = ("layers.0.weight",)

    def __init__(self, config: DiscriminatorConfig | None = None) -> None:
        super().__init__(config)
        c, maps = self.config, [self.config.channels]
        layers: list[nn.Module] = []
        for kind, kernel_size, stride, width in c.layers:
            if kind == "pool":
                layers.append(nn.MaxPool2d(kernel_size, stride, kernel_size // 2))
            else:
                layers.append(nn.Conv2d(maps[-1], width, kernel_size, stride, kernel_size // 2))
                layers.append(nn.LeakyReLU(c.slope) if c.slope else nn.ReLU())
                maps.append(width)
        self.layers = nn.Sequential(*layers[:-1])
        if c.whole:
            self.whole = WholeImage(maps[-3], c.whole, c.slope)

    def forward(self, x: Tensor, sides: int = 1) -> Tensor:
        """Return the logits of a batch that holds `sides` kinds of images (refined, real) of equal number, in turn.

        With `whole` they are (B, 2, 2h, w): the h rows of patches, and below them h rows that repeat the decision on
        the whole image, so that a mean weighs both equally.
        """
        if self.config.whole:
            maps = self.layers[:_BRANCH](x)
            patches = self.layers[_BRANCH:](maps)
            whole = self.whole(maps, sides)[:, :, None, None]
            return torch.cat([patches, whole.expand_as(patches)], 2)
        logits: Tensor = self.layers(x)
        return logits.mean((2, 3), keepdim=True) if self.config.scope == "global" else logits

    @torch.inference_mode()
    def probability_real(self, images: Tensor) -> Tensor:
        """Return 1 − D_φ, the probability of being real, (B, h, w) in [0, 1], for images (B, C, H, W) in [−1, 1]."""
        return self.patches_real(images.to(next(self.parameters())))

    def patches_real(self, x: Tensor) -> Tensor:
        """Return what `probability_real` does, in any mode, for images in the type of the weights."""
        logits: Tensor = self.layers(x)  # without the branch that judges the whole image
        return (logits.mean((2, 3), keepdim=True) if self.config.scope == "global" else logits).softmax(1)[:, REAL]
