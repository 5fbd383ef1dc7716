"""Codecs: how one kind of image is checked, stored, turned into a tensor and back, blended, and shown to people.

A refiner's config.json names its codec. The rest of simgan asks the codec and knows no other difference between kinds
of images. A *stored* image is uint8 or uint16, (H, W) or (H, W, C), alpha included, as `simgan.images.arrays` and
`simgan.images.depth` describe it; its *planes* are what a network takes, without alpha and in the codec's channels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from simgan.errors import ConfigError, ImageError
from simgan.images import colours, depth
from simgan.images.arrays import Array, check_stored, luminance, to_array, to_pil, to_stored, to_tensor
from simgan.images.depth import Window, find_window

Windows = Sequence[Window] | None


class Codec:
    """Grey or colour images of 8 or 16 bits; their brightest value becomes 1, black −1. `Depth` differs.

    A codec of one channel takes colour too: the network changes its luminance, and all colours change by as much. A
    codec of three channels takes grey as colour, and returns grey.
    """

    dtype: type[np.unsignedinteger[Any]] = np.uint8  # of a stored image in training
    unit = ""  # of a stored value; "" for brightness
    is_depth = False  # each image has its own window of values
    background: float | None = None  # the tensor value of pixels without a reading, where there are such pixels
    interpolates = True  # neighbouring pixels may be averaged, as in resizing
    change = 127.0  # the difference between two images that is shown as white, in levels of 255 or the unit
    legend = ""  # of what `show` returns

    def __init__(self, name: str, channels: int) -> None:
        self.name, self.channels = name, channels

    def check(self, image: Image.Image | Array, name: str = "the image") -> Array:
        """Return a PIL image or an array as a stored image; `ImageError` with `name` where it is of another kind."""
        stored = to_stored(image, name) if isinstance(image, Image.Image) else image
        check_stored(stored, name)
        return stored

    def restore(self, stored: Array, like: Image.Image | Array) -> Image.Image | Array:
        """Return a stored image as what `like` is, from which it was made: a PIL image of its mode, or an array."""
        return to_pil(stored, like.mode) if isinstance(like, Image.Image) else stored

    def planes(self, images: Array) -> Array:
        """Return stored images (B, H, W) or (B, H, W, C) as planes (B, H, W) or (B, H, W, 3)."""
        visible, _ = split_alpha(images)
        if self.channels == 1:
            return luminance(visible) if visible.ndim == 4 else visible
        return visible if visible.ndim == 4 else np.repeat(visible[..., None], 3, -1)

    def windows(self, images: Array) -> list[Window] | None:
        """Return the range of depths that the tensor of each image (B, H, W) covers; None for brightness."""
        return None

    def to_tensor(self, planes: Array, windows: Windows = None) -> Tensor:
        """Return planes as (B, channels, H, W) float32 in [−1, 1], in their own `windows` if none are given."""
        return to_tensor(planes)

    def to_stored(self, tensor: Tensor, windows: Windows = None) -> Array:
        """Return (B, channels, H, W) in [−1, 1], clamped, as stored images of `dtype`: the inverse of `to_tensor`."""
        return to_array(tensor, self.dtype)

    def blend(
        self,
        images: Array,
        refined: Tensor,
        strength: float = 1.0,
        windows: Windows = None,
        finish: Callable[[Array], Array] | None = None,
    ) -> Array:
        """Return x + strength · (R(x) − x) as stored images of the type and shape of `images`, alpha kept.

        `images`: stored, (B, H, W) or (B, H, W, C). `refined`: R of them, (B, channels, H, W) in [−1, 1], in `windows`.
        `finish` is applied to refined depth in mm before it is blended.
        """
        visible, alpha = split_alpha(images)
        planes = self.planes(visible)
        x = to_tensor(planes)
        blended = to_array((x if planes is visible else to_tensor(visible)) + strength * (refined - x), images.dtype)
        if blended.ndim > visible.ndim:
            blended = blended.astype(np.float32).mean(-1).round().astype(images.dtype)
        if alpha is None:
            return blended.reshape(images.shape)
        return np.concatenate([blended if blended.ndim == 4 else blended[..., None], alpha], -1)

    def show(self, *images: Array) -> list[Array]:
        """Return stored images of one scene as RGB, uint8 (H, W, 3), without alpha, on a common scale.

        16 bits are scaled from the least to the greatest value of all of them.
        """
        shown = [split_alpha(image[None])[0][0] for image in images]
        if shown[0].dtype != np.uint8:
            least, greatest = (float(f([f(image) for image in shown])) for f in (np.min, np.max))
            scale = 255 / max(greatest - least, 1)
            shown = [((image - least) * scale).round().astype(np.uint8) for image in shown]
        return [image if image.ndim == 3 else np.repeat(image[..., None], 3, -1) for image in shown]

    def difference(self, before: Array, after: Array, change: float | None = None) -> Array:
        """Return the difference of two stored images as RGB, uint8 (H, W, 3): grey where there is none.

        White is `change` (the codec's own if not given) or more above `before`, black as much below.
        """
        first, second = (image.astype(np.float64) for image in self.show(before, after))
        scale = 127 / (change or self.change)
        return ((second - first) * scale + 128).round().clip(0, 255).astype(np.uint8)

    def describe(self, image: Array) -> str:
        """Return in a few words what a stored image is, such as "8-bit grey"."""
        kind = "colour" if split_alpha(image[None])[0].ndim == 4 else "grey"
        return f"{8 * image.dtype.itemsize}-bit {kind}"


class Depth(Codec):
    """Depth images, uint16 (H, W) in mm, 0 = no reading; see `simgan.images.depth` for their tensors.

    Each image has a window of depths. A strength between 0 and 1 blends the depths where input and refined image both
    have one. Whether a pixel has a depth cannot be blended: below strength 0.5 the input decides, above it the refined
    image. Readings in front of the window or behind it stay, unless R(x) has a reading there.
    """

    dtype = np.uint16
    unit = "mm"
    is_depth = True
    background = depth.BACKGROUND
    interpolates = False
    change = 10.0
    legend = "Bright is near, dark is far, and black is no reading."

    def check(self, image: Image.Image | Array, name: str = "the image") -> Array:
        """Return a PIL image or an array as uint16 (H, W) in mm; `ImageError` with `name` where it is no depth."""
        return depth.stored_depth(image, name)

    def restore(self, stored: Array, like: Image.Image | Array) -> Image.Image | Array:
        """Return depth as what `like` is, from which it was made; RGB of NYU's kind stays so."""
        return super().restore(depth.restored(stored, np.asarray(like)), like)

    def planes(self, images: Array) -> Array:
        """Return the images themselves."""
        return images

    def windows(self, images: Array) -> list[Window]:
        """Return the window of each image (B, H, W)."""
        return [find_window(image) for image in images]

    def to_tensor(self, planes: Array, windows: Windows = None) -> Tensor:
        """Return (B, H, W) in mm as (B, 1, H, W) float32 in [−1, 1]."""
        return depth.to_tensor(planes, windows)

    def to_stored(self, tensor: Tensor, windows: Windows = None) -> Array:
        """Return (B, 1, H, W) as uint16 (B, H, W) in mm; depth has no meaning without its `windows`."""
        if windows is None:
            raise ImageError("depth cannot be restored without its windows: give those that its tensor was made with")
        return depth.to_depth(tensor, windows)

    def blend(
        self,
        images: Array,
        refined: Tensor,
        strength: float = 1.0,
        windows: Windows = None,
        finish: Callable[[Array], Array] | None = None,
    ) -> Array:
        """Return the refined depth of each image's window, blended; see the class and `Codec.blend`."""
        windows = self.windows(images) if windows is None else windows
        blended = np.empty_like(images)
        for image, after, window, out in zip(images, self.to_stored(refined, windows), windows, blended, strict=True):
            after, seen = finish(after) if finish else after, window.holds(image)
            found = after > 0
            mixed = np.rint(image + strength * (after.astype(np.float64) - image))
            if strength < 0.5:
                out[:] = np.where(seen & found, mixed, image)
            else:
                out[:] = np.where(found, np.where(seen, mixed, after), np.where(seen, 0, image))
        return blended

    def show(self, *images: Array) -> list[Array]:
        """Return depth in viridis, from the nearest (bright) to the farthest reading of the first image's window."""
        shown = colours.span(images[0])
        return [colours.colour(image, shown) for image in images]

    def difference(self, before: Array, after: Array, change: float | None = None) -> Array:
        """Return how far the surface moved, white for `change` mm farther; see `simgan.images.colours.difference`."""
        return colours.difference(before, after, change or self.change)

    def describe(self, image: Array) -> str:
        """Return the window of a depth image in words."""
        window = find_window(image)
        return f"16-bit depth, its nearest object within {window.near:.0f}–{window.near + window.depth:.0f} mm"


def split_alpha(images: Array) -> tuple[Array, Array | None]:
    """Split stored images (B, H, W[, C]) into (B, H, W) or (B, H, W, 3) and alpha (B, H, W, 1), None without one."""
    if images.ndim == 3:
        return images, None
    has_alpha = images.shape[-1] in (2, 4)
    visible, alpha = (images[..., :-1], images[..., -1:]) if has_alpha else (images, None)
    return visible[..., 0] if visible.shape[-1] == 1 else visible, alpha


GREY8, RGB8, DEPTH16 = Codec("grey8", 1), Codec("rgb8", 3), Depth("depth16", 1)
CODECS = {codec.name: codec for codec in (GREY8, RGB8, DEPTH16)}


def get(name: str) -> Codec:
    """Return the codec of that name; an unknown name raises `ConfigError`."""
    if name not in CODECS:
        raise ConfigError(f"unknown codec {name!r}: choose one of {', '.join(CODECS)}")
    return CODECS[name]


def fitting(name: str, channels: int) -> str:
    """Return the name of the codec for that many channels: grey8 instead of rgb8, or the other way round."""
    return next((codec.name for codec in (GREY8, RGB8) if codec.channels == channels and not get(name).is_depth), name)
