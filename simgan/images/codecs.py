"""Codecs: how one kind of image is checked, stored, turned into a tensor, and shown to people.

The rest of simgan asks the codec and knows no other difference between kinds of images. *Stored* images are described
in `simgan.images.arrays` and `depth`; their *planes* are what a network takes, without alpha, in the codec's channels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from simgan.errors import ConfigError, ImageError
from simgan.images import depth
from simgan.images.arrays import Array, check_size, luminance, to_pil, to_stored, to_tensor
from simgan.images.depth import Window, find_window, is_packed, pack, unpack

Windows = Sequence[Window] | None
LOST, WON = (230, 159, 0), (86, 180, 233)  # of readings: orange and sky blue of Okabe and Ito
# Viridis at 33 evenly spaced values; linear in between, it is at most 2 of 255 off.
_ANCHORS = bytes.fromhex(
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c"
    "1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e21aeae51afde725"
)
_LEVELS, _RGB = np.linspace(0, 255, 33).round(), np.frombuffer(_ANCHORS, np.uint8).reshape(33, 3)
VIRIDIS = np.stack([np.interp(np.arange(256), _LEVELS, channel) for channel in _RGB.T], 1).round().astype(np.uint8)


class Codec:
    """Grey or colour images of 8 or 16 bits; their brightest value becomes 1, black −1. `Depth` differs.

    A codec of one channel takes colour too: the network changes its luminance, and all colours change by as much. A
    codec of three channels takes grey as colour, and returns grey.
    """

    dtype: type[np.unsignedinteger[Any]] = np.uint8  # of a stored image in training
    unit = ""  # of a stored value; "" for brightness
    is_depth = False  # each image has its own window of values, and neighbouring pixels must not be averaged
    background: float | None = None  # the tensor value of pixels without a reading, where there are such pixels
    change = 127.0  # the difference between two images that is shown as white, in levels of 255 or the unit
    legend = ""  # of what `show` returns

    def __init__(self, name: str, channels: int) -> None:
        self.name, self.channels = name, channels

    def check(self, image: Image.Image | Array, name: str = "the image") -> Array:
        """Return a PIL image or an array as a stored image; `ImageError` with `name` where it is of another kind."""
        stored = to_stored(image, name) if isinstance(image, Image.Image) else image
        if isinstance(image, Image.Image) and "maxval" in image.info:  # of a PGM file: the brightest value
            stored = np.rint(stored * (65535 / image.info["maxval"])).astype(np.uint16)
        fits = stored.ndim > 1 and stored.shape[2:] in ((), (2,), (3,), (4,))
        if stored.dtype not in (np.uint8, np.uint16) or not fits:
            kind = f"type {stored.dtype} and shape {stored.shape}"
            raise ImageError(f"{name} has {kind}: give uint8 or uint16, (H, W) or (H, W, 3), or either with alpha")
        check_size(stored, name)
        return stored

    def restore(self, stored: Array, like: Image.Image | Array) -> Image.Image | Array:
        """Return a stored image as what `like` is, from which it was made: a PIL image of its mode, or an array."""
        return to_pil(stored, like.mode) if isinstance(like, Image.Image) else stored

    def planes(self, images: Array) -> Array:
        """Return stored images (B, H, W) or (B, H, W, C) as planes (B, H, W) or (B, H, W, 3)."""
        visible, _ = _split_alpha(images)
        if self.channels == 1:
            return luminance(visible) if visible.shape[-1] == 3 else visible[..., 0]
        return np.repeat(visible, 3 // visible.shape[-1], -1)

    def windows(self, images: Array) -> list[Window] | None:
        """Return the range of depths that the tensor of each image (B, H, W) covers; None for brightness."""
        return None

    def to_tensor(self, planes: Array, windows: Windows = None) -> Tensor:
        """Return planes as (B, channels, H, W) float32 in [−1, 1], in their own `windows` if none are given."""
        return to_tensor(planes)

    def subject(self, image: Array) -> Array:
        """Return where a stored image has what it is of, bool (H, W): everywhere, where there is no background."""
        return np.ones(image.shape[:2], bool)

    def show(self, *images: Array) -> list[Array]:
        """Return stored images of one scene as RGB, uint8 (H, W, 3); 16 bits from least to greatest value."""
        shown = [_split_alpha(image[None])[0][0] for image in images]
        if shown[0].dtype != np.uint8:
            least, greatest = (float(f([f(image) for image in shown])) for f in (np.min, np.max))
            scale = 255 / max(greatest - least, 1)
            shown = [((image - least) * scale).round().astype(np.uint8) for image in shown]
        return [np.repeat(image, 3 // image.shape[-1], -1) for image in shown]

    def difference(self, before: Array, after: Array) -> Array:
        """Return the difference as RGB, uint8 (H, W, 3): grey none, white `change` or more above, black below."""
        first, second = (image.astype(np.float64) for image in self.show(before, after))
        return ((second - first) * (127 / self.change) + 128).round().clip(0, 255).astype(np.uint8)

    def describe(self, image: Array) -> str:
        """Return in a few words what a stored image is, such as "8-bit grey"."""
        kind = "colour" if _split_alpha(image[None])[0].shape[-1] == 3 else "grey"
        return f"{8 * image.dtype.itemsize}-bit {kind}"


class Depth(Codec):
    """Depth images, uint16 (H, W) in mm, 0 = no reading; see `simgan.images.depth` for their tensors.

    A strength between 0 and 1 blends the depths where input and refined image both have one. Below 0.5 the input
    decides which pixels have a depth, above it R(x). Readings outside the window stay, unless R(x) has one there.
    """

    dtype = np.uint16
    unit = "mm"
    is_depth = True
    background = depth.BACKGROUND
    change = 10.0
    legend = "Bright is near, dark is far, and black is no reading."

    def check(self, image: Image.Image | Array, name: str = "the image") -> Array:
        """Return depth as uint16 (H, W) in mm, that in RGB of NYU's kind too; `ImageError` where it is no depth."""
        if isinstance(image, Image.Image):
            image = np.array(image) if image.mode == "F" else to_stored(image, name)
        stored = unpack(image) if is_packed(image) else image
        depth.check_depth(stored, name)
        return stored

    def restore(self, stored: Array, like: Image.Image | Array) -> Image.Image | Array:
        """Return depth as what `like` is, from which it was made; RGB of NYU's kind stays so."""
        found = super().restore(pack(stored) if is_packed(np.asarray(like)) else stored, like)
        if isinstance(found, Image.Image) and isinstance(like, Image.Image) and "maxval" in like.info:
            found.info["maxval"] = like.info["maxval"]
        return found

    def windows(self, images: Array) -> list[Window]:
        """Return the window of each image (B, H, W)."""
        return [find_window(image) for image in images]

    def to_tensor(self, planes: Array, windows: Windows = None) -> Tensor:
        """Return (B, H, W) in mm as (B, 1, H, W) float32 in [−1, 1]."""
        return depth.to_tensor(planes, windows)

    def subject(self, image: Array) -> Array:
        """Return where a depth image (H, W) has a reading in its window, bool (H, W)."""
        return find_window(image).holds(image)

    def show(self, *images: Array) -> list[Array]:
        """Return depth in viridis: the first image's nearest reading bright, its window's farthest dark; 0 is black."""
        inside = images[0][find_window(images[0]).holds(images[0])]
        near, far = int(inside.min()), int(inside.max())
        reach = max(1.0, 1.15 * (far - near))  # some colours are left for refined depth behind the farthest
        nearness = [(1 - (image - np.float64(near)) / reach).clip(0, 1) for image in images]
        shown = [VIRIDIS[(255 * values).round().astype(np.uint8)] for values in nearness]
        return [np.where(image[..., None] > 0, colours, 0) for image, colours in zip(images, shown, strict=True)]

    def difference(self, before: Array, after: Array) -> Array:
        """Return how far the surface moved, as `Codec.difference`; orange: the reading was lost, blue: one was won."""
        moved = (after.astype(np.float64) - before).clip(-self.change, self.change) * (127 / self.change) + 128
        shown = np.repeat(moved.round().astype(np.uint8)[..., None], 3, -1)
        shown[(before > 0) & (after == 0)] = LOST
        shown[(before == 0) & (after > 0)] = WON
        return shown

    def describe(self, image: Array) -> str:
        """Return the window of a depth image in words."""
        near = find_window(image).near
        return f"16-bit depth, its nearest object within {near:.0f}–{near + depth.CUBE:.0f} mm"


def _split_alpha(images: Array) -> tuple[Array, Array]:
    """Split stored images (B, H, W[, C]) into (B, H, W, 1 or 3) and alpha (B, H, W, 1), or (B, H, W, 0) without one."""
    images = images if images.ndim == 4 else images[..., None]
    colours = 1 if images.shape[-1] < 3 else 3
    return images[..., :colours], images[..., colours:]


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
