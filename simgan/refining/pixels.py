"""From stored images to stored images on any device: what surrounds the network, in operations of PyTorch alone.

Whole numbers go in and come out, so that a GPU is sent no more than the pixels, and one graph can be exported.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from simgan.images import codecs
from simgan.images.arrays import equalize_levels, to_levels, to_signed
from simgan.images.depth import Windows

Network = Callable[[Tensor], Tensor]  # (B, C, H, W) in [−1, 1] to R(x) of that shape, clamped


def refine_pixels(config: Any, images: Tensor, strength: float | Tensor, network: Network) -> Tensor:
    """Return x + strength · (R(x) − x) of stored images x, uint8 or uint16 (B, H, W) or (B, H, W, C); alpha is kept.

    `config`: a `simgan.RefinerConfig`. `network` gets images that are equalized, and depth with the shadows of the
    camera, where the refiner was trained on such images.
    """
    levels = images.to(torch.int32)
    if codecs.get(config.codec).is_depth:
        return _refine_depth(config, levels, strength, network).to(images.dtype)
    top = 255 if images.dtype == torch.uint8 else 65535
    return _refine_brightness(config, levels, strength, network, top).to(images.dtype)


def _refine_brightness(config: Any, images: Tensor, strength: float | Tensor, network: Network, top: int) -> Tensor:
    """Refine levels: the network of one channel changes the luminance of colours, and all of them by as much."""
    levels = (images if images.ndim == 4 else images[..., None]).movedim(-1, 1)
    colours = 1 if levels.shape[1] < 3 else 3
    visible, alpha = levels[:, :colours], levels[:, colours:]
    planes = _planes(visible, config.channels)
    x = to_signed(planes, top)
    refined = network(to_signed(equalize_levels(planes, top), top) if config.equalize else x)
    before = x if colours == config.channels else to_signed(visible, top)
    blended = to_levels(before + strength * (refined - x), top)
    if colours < config.channels:  # grey, as the mean of its colours
        blended = blended.mean(1, keepdim=True).round()
    return torch.cat([blended.to(torch.int32), alpha], 1).movedim(1, -1).reshape(images.shape)


def see(config: Any, channels: int, images: Tensor) -> Tensor:
    """Return stored images of one scene as the discriminator of a refiner sees them, float32 (B, channels, H, W).

    `images`: uint8 or uint16 (B, H, W), or (B, H, W, 3). All depth is seen in the window of the first image.
    """
    levels = images.to(torch.int32)
    if codecs.get(config.codec).is_depth:
        return Windows.of(levels[:1]).to_values(levels)[:, None]
    top = 255 if images.dtype == torch.uint8 else 65535
    planes = _planes((levels if levels.ndim == 4 else levels[..., None]).movedim(-1, 1), channels)
    return to_signed(equalize_levels(planes, top) if config.equalize else planes, top)


def _planes(visible: Tensor, channels: int) -> Tensor:
    """Return whole numbers (B, 1 or 3, H, W) in the channels of a network."""
    return luminance(visible) if visible.shape[1] > channels else visible.expand(-1, channels, -1, -1)


def luminance(colours: Tensor) -> Tensor:
    """Return the luminance (B, 1, H, W) of whole numbers (B, 3, H, W), as `cv2.cvtColor` computes it."""
    red, green, blue = colours.split(1, 1)
    return (red * 4899 + green * 9617 + blue * 1868 + 8192) // 16384


def _refine_depth(config: Any, images: Tensor, strength: float | Tensor, network: Network) -> Tensor:
    """Refine depth in the window of each image; `simgan.images.codecs.Depth` says what becomes of all readings."""
    windows, camera = Windows.of(images), config.triangulation
    seen = windows.hold(images)
    entering = camera.shade_many(images, windows) if camera else images
    after = windows.to_depth(network(windows.to_values(entering)[:, None])[:, 0])
    after = camera.snap(after) if camera else after
    found = after > 0
    mixed = (images + strength * (after.double() - images)).round().to(torch.int32)
    other = torch.where((seen | found) & (strength >= 0.5), after, images)
    return torch.where(seen & found, mixed, other)
