"""Augmentation of training images, tensors (B, C, H, W) in [−1, 1]: where they lie, and how they look.

Images are moved by affine maps (B, 2, 3) from the result to the image, both with coordinates from −1 to 1. Looks are
drawn for each image with a generator of random numbers; they leave labels where they are.
"""

import math
from collections.abc import Callable, Collection, Sequence
from typing import Literal, get_args

import torch
from torch import Generator, Tensor
from torch.nn import functional

Look = Literal["blur", "noise", "colour", "randaugment"]
LOOKS: tuple[str, ...] = get_args(Look)

_BLUR, _NOISE = 1.2, 0.08  # the greatest σ: in px, and of a range of 2
_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = 0.3, 0.3, 0.5, 0.1 * math.pi  # of a range of 2, shares, radians; ±
_SHARPEN, _ERASED = 1.0, 0.4  # of the difference to a blurred image; the side of the hole as a share of the image's
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # luma, and two of colour


def _uniform(generator: Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator) * 2 - 1


def draw_maps(
    count: int,
    generator: Generator,
    *,
    rotate: float,
    zoom: float,
    shift: float,
    flip: bool = False,
    aspect: float = 1.0,
) -> Tensor:
    """Return random maps (count, 2, 3): degrees, share and share of the sides, each to both sides.

    `flip` mirrors half of them. `aspect` is width by height, so that a rotation does not shear.
    """
    angle = torch.deg2rad(rotate * _uniform(generator, count))
    scale = 1 + zoom * _uniform(generator, count)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    turn = torch.stack([torch.stack([cosine, -sine / aspect], 1), torch.stack([sine * aspect, cosine], 1)], 1)
    maps = torch.cat([turn, _uniform(generator, count, 2, 1) * (2 * shift)], 2)
    if flip:
        maps[:, 0] *= torch.randint(0, 2, (count, 1), generator=generator) * 2 - 1
    return maps


def warp(images: Tensor, maps: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Return images at the places that maps lead to, bilinear, their borders repeated; `size`: (height, width)."""
    grid = functional.affine_grid(maps, [*images.shape[:2], *(size or images.shape[2:])], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def move_points(points: Tensor, maps: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Map points (B, K, 2) in px of an image to px of its warped one; whole numbers are pixel centres in both.

    `before` and `after` are widths and heights.
    """
    sides = (points + 0.5) * (2 / torch.tensor(before)) - 1
    inside = torch.linalg.solve(maps[:, :, :2], (sides - maps[:, None, :, 2]).transpose(1, 2)).transpose(1, 2)
    return (inside + 1) * (torch.tensor(after) / 2) - 0.5


def change_looks(images: Tensor, wanted: Collection[str], generator: Generator) -> Tensor:
    """Return images with the wanted `LOOKS`, in that order, in [−1, 1]."""
    for kind in LOOKS:
        if kind in wanted:
            images = _CHANGES[kind](images, generator)
    return images.clamp(-1, 1)


def blur(images: Tensor, generator: Generator) -> Tensor:
    """Blur with a Gaussian of σ up to 1.2 px."""
    return _blurred(images, _BLUR * _uniform(generator, len(images)).abs())


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Add noise of σ up to 4 % of the range."""
    return images + torch.randn(images.shape, generator=generator) * (
        _NOISE * _uniform(generator, len(images), 1, 1, 1).abs()
    )


def colour(images: Tensor, generator: Generator) -> Tensor:
    """Change brightness (±15 % of the range), contrast (±30 %), and of colours saturation (±50 %) and hue (±18°)."""
    bright, contrast, saturation, hue = _uniform(generator, 4, len(images))
    gain = 1 + _CONTRAST * contrast[:, None, None, None]
    offset = _BRIGHTNESS * bright[:, None, None, None]
    if images.shape[1] == 3:
        richness, angle = 1 + _SATURATION * saturation, _HUE * hue
        turn = torch.eye(3).repeat(len(images), 1, 1)
        turn[:, 1, 1] = turn[:, 2, 2] = richness * angle.cos()
        turn[:, 2, 1] = richness * angle.sin()
        turn[:, 1, 2] = -turn[:, 2, 1]
        images = torch.einsum("bij,bjhw->bihw", torch.linalg.inv(_YIQ) @ turn @ _YIQ, images)
    return images * gain + offset


def sharpen(images: Tensor, generator: Generator) -> Tensor:
    """Add up to all of the difference to an image that is blurred with σ 1.2 px."""
    fine = images - _blurred(images, torch.full((len(images),), _BLUR))
    return images + _SHARPEN * _uniform(generator, len(images), 1, 1, 1).abs() * fine


def erase(images: Tensor, generator: Generator) -> Tensor:
    """Make a rectangle grey, with sides of up to 40 % of the image's."""
    sides = [torch.linspace(-1, 1, length) for length in images.shape[2:]]
    centre, reach = _uniform(generator, 2, len(images), 1), _ERASED * _uniform(generator, 2, len(images), 1).abs()
    down, across = ((side - c).abs() < r for side, c, r in zip(sides, centre, reach, strict=True))
    return images.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.0)


def randaugment(images: Tensor, generator: Generator) -> Tensor:
    """Change each image by a random half of colour, blur, noise, sharpness and a hole."""
    for change in (colour, blur, sharpen, noise, erase):
        chosen = torch.rand((len(images), 1, 1, 1), generator=generator) < 0.5
        images = torch.where(chosen, change(images, generator), images)
    return images


_CHANGES: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "blur": blur,
    "noise": noise,
    "colour": colour,
    "randaugment": randaugment,
}


def _blurred(images: Tensor, deviations: Tensor) -> Tensor:
    """Blur each of (B, C, H, W) by its own Gaussian, deviations (B,) in px."""
    count, channels = images.shape[:2]
    reach = round(3 * _BLUR)
    kernels = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviations.clamp(min=0.05)[:, None]) ** 2)
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None, None]  # a group each
    side_by_side = functional.pad(images, (reach, reach, reach, reach), mode="replicate").flatten(0, 1)[None]
    level = functional.conv2d(side_by_side, kernels, groups=count * channels)
    return functional.conv2d(level, kernels.transpose(2, 3), groups=count * channels).view(images.shape)
