"""The stacked hourglass (Newell et al. 2016): from an image to a heat map for each joint, and from maps to places.

A stem reduces the image to a quarter of its width. Each hourglass pools down to 4×4 and upsamples again, with a skip
connection at every scale. The heat maps of each hourglass are trained, and given to the next one with its features. A
map is trained as a distribution over its pixels, by cross-entropy. With squared errors, as in that paper, almost all of
the loss comes from empty pixels, and after 200 steps a quarter as many joints were found.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

SCALE = 4  # pixels of the network's input for one pixel of a heat map


class _Residual(nn.Module):
    """1×1, 3×3 and 1×1 convolutions at half the maps, each after normalization and ReLU, and a skip connection."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        half = after // 2
        layers = _activated(before, half, 1) + _activated(half, half, 3) + _activated(half, after, 1)
        self.change = nn.Sequential(*layers)
        self.skip = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.skip(x) + self.change(x)
        return out


class _Hourglass(nn.Module):
    """Pool `depth` times and upsample again: (B, maps, H, W) to the same shape, H and W multiples of 2^depth."""

    def __init__(self, maps: int, depth: int) -> None:
        super().__init__()
        self.skip, self.down = _Residual(maps, maps), _Residual(maps, maps)
        self.inner = _Hourglass(maps, depth - 1) if depth > 1 else _Residual(maps, maps)
        self.up = _Residual(maps, maps)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(functional.max_pool2d(x, 2))))
        out: Tensor = self.skip(x) + functional.interpolate(low, scale_factor=2.0, mode="nearest")
        return out


class StackedHourglass(nn.Module):
    """Images (B, channels, 4S, 4S) in [−1, 1] to the logarithms of heat maps (B, stacks, joints, S, S).

    S is `size`, a power of 2 from 8 up. `width`: maps as a share of the paper's 256.
    """

    def __init__(self, joints: int, *, size: int = 64, width: float = 1.0, stacks: int = 2, channels: int = 1) -> None:
        super().__init__()
        maps = max(8, 4 * round(256 * width / 4))
        self.stem = nn.Sequential(
            nn.Conv2d(channels, maps // 4, 7, stride=2, padding=3),
            _Residual(maps // 4, maps // 2),
            nn.MaxPool2d(2),
            _Residual(maps // 2, maps // 2),
            _Residual(maps // 2, maps),
        )
        depth = int(math.log2(size // 4))  # down to 4 px
        self.hourglasses = nn.ModuleList(
            nn.Sequential(_Hourglass(maps, depth), _Residual(maps, maps), *_activated(maps, maps, 1))
            for _ in range(stacks)
        )
        self.heads = nn.ModuleList(nn.Conv2d(maps, joints, 1) for _ in range(stacks))
        self.returns = nn.ModuleList(nn.Conv2d(maps + joints, maps, 1) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the heat maps of every hourglass; the last are the result."""
        x = self.stem(x)
        heats = []
        for number, (hourglass, head) in enumerate(zip(self.hourglasses, self.heads, strict=True)):
            features = hourglass(x)
            heats.append(head(features))
            if number < len(self.returns):
                x = x + self.returns[number](torch.cat([features, heats[-1]], 1))
        return torch.stack(heats, 1)


def draw_heat(places: Tensor, size: int) -> Tensor:
    """Return Gaussians of σ 1 px, (B, joints, size, size), around places (B, joints, 2): x, y in px of the map."""
    axis = torch.arange(size, device=places.device)
    across, down = (torch.exp(-((axis - places[..., k, None]) ** 2) / 2) for k in (0, 1))
    return down[..., :, None] * across[..., None, :]


def heat_loss(levels: Tensor, places: Tensor) -> Tensor:
    """Return the cross-entropy of maps (B, stacks, joints, S, S), as logits, and Gaussians around places.

    `places` (B, joints, 2) in px; the sum over stacks of the mean over joints. Joints outside the map do not count.
    """
    heat = draw_heat(places, levels.shape[-1]).flatten(2)
    wanted = heat / heat.sum(2, keepdim=True).clamp(min=1e-3)  # a joint whose map sums to less is outside of it
    return -(functional.log_softmax(levels.flatten(3), 3) * wanted[:, None]).sum(3).mean((0, 2)).sum()


def find_peaks(levels: Tensor) -> Tensor:
    """Return places (B, joints, 2), x and y in px, of the peaks of maps (B, joints, S, S), as logits.

    They lie between pixels, by the parabola through the peak and its neighbours along each axis: exact for a Gaussian.
    """
    count, joints, _, wide = levels.shape
    best = levels.flatten(2).argmax(2)
    x, y = best % wide + 1, best // wide + 1  # of the padded maps
    level = functional.pad(levels, (1, 1, 1, 1), mode="replicate")
    rows, numbers = torch.arange(count)[:, None], torch.arange(joints)
    middle = level[rows, numbers, y, x]
    between = []
    for right, down in ((1, 0), (0, 1)):
        before, after = (level[rows, numbers, y + way * down, x + way * right] for way in (-1, 1))
        bend = (2 * middle - before - after).clamp(min=1e-6)
        between.append(((after - before) / (2 * bend)).clamp(-0.5, 0.5))
    return torch.stack([x - 1, y - 1], 2) + torch.stack(between, 2)


def _activated(before: int, after: int, kernel: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, after, kernel, padding=kernel // 2)]
