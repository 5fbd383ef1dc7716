"""The refiner R_θ: a fully convolutional network that makes a synthetic image look real (section 2.1, appendix).

The paper's: conv k×k → `width` maps, `blocks` residual blocks of two k×k convolutions, a 1×1 convolution to the image's
channels; no stride, no pooling, no normalization: it changes pixels and leaves the geometry, hence the labels, alone.

With `fold` the blocks see each square of 2×2 pixels as one place with all four of them (space to depth, Shi et al.
2016), so nothing is lost, a block costs a quarter, and sees twice as far. What they say is enlarged by
interpolation, which draws no grid, and two layers on the pixels themselves follow. No activation follows a sum (He et
al. 2016b): maps that it held at zero would learn nothing any more.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from simgan.domains import DEFAULT, find
from simgan.errors import ConfigError, require
from simgan.hub.pretrained import Pretrained
from simgan.images import codecs
from simgan.images.arrays import MINIMUM_SIZE, equalize_tensor
from simgan.images.codecs import Codec
from simgan.preparation.noise import NOISE_MAPS, noise_maps
from simgan.preparation.photometry import Photometry
from simgan.preparation.triangulation import Triangulation
from simgan.refining.engine import ShouldStop, refine
from simgan.refining.export import to_onnx
from simgan.runtime import enlarge, reflect_pad

_ENLARGED, _FINE = 8, 12  # maps that come from the blocks of a folded network, and that its last layers make of them


@dataclass(frozen=True)
class RefinerConfig:
    """All that rebuilds a refiner, and what its input must be; the codec is one of `simgan.images.codecs`."""

    domain: str = DEFAULT.name  # what kind of image it refines
    codec: str = ""  # if not given that of the domain
    channels: int = 1  # or 3, colour
    width: int = 64  # feature maps; this and the next two as in the paper's table
    kernel_size: int = 3
    blocks: int = 4  # residual ones
    predict_residual: bool = False  # compute R(x) − x and start as the identity; the paper's computes R(x)
    equalize: bool = False  # images are histogram-equalized first; `Refiner.refine` does it
    fold: bool = False  # blocks see each square of 2×2 pixels as one place; the paper's see single pixels
    padding: str = "zeros"  # as in the paper, or reflect, which draws no lines along the border
    noise: bool = False  # the network also takes noise, so that its output is not the mean of all possible ones
    photometry: bool = False  # light, tones and sharpness of real images come first
    triangulation: Triangulation | None = None  # the steps and shadows of a depth camera

    def __post_init__(self) -> None:
        if isinstance(self.triangulation, dict):  # as JSON holds it
            object.__setattr__(self, "triangulation", Triangulation(**self.triangulation))
        require(self.channels in (1, 3), f"a refiner takes 1 or 3 channels, not {self.channels}")
        codec = codecs.get(self.codec or codecs.fitting(find(self.domain).codec, self.channels))
        object.__setattr__(self, "codec", codec.name)
        fits = codec.channels == self.channels
        require(fits, f"the codec {codec.name} needs channels = {codec.channels}, not {self.channels}")
        require(
            not codec.unit or not (self.equalize or self.noise or self.photometry),
            f"equalize, noise and photometry are for brightness: they would change the {codec.unit}",
        )
        require(
            not self.triangulation or codec.unit == "mm",
            f"triangulation is for depth, which images of the codec {codec.name} do not hold",
        )
        for name in ("width", "kernel_size", "blocks"):
            value = getattr(self, name)
            require(type(value) is int and value > 0, f"{name} must be a whole number of at least 1, not {value!r}")
        require(self.kernel_size % 2, f"kernel_size must be odd so that the size is kept, not {self.kernel_size}")
        require(self.padding in ("zeros", "reflect"), f"padding must be zeros or reflect, not {self.padding!r}")

    @property
    def grid(self) -> int:
        """Width and height in pixels of what the blocks see as one place."""
        return 2 if self.fold else 1

    @property
    def reach(self) -> int:
        """How many pixels to each side a pixel of R(x) depends on at most, a multiple of `grid`."""
        places = self.kernel_size // 2 * (1 + 2 * self.blocks)
        return self.grid * (places + 2 * self.fold)  # two of interpolation and of the layer on pixels


class ResidualBlock(nn.Module):
    """Two k×k convolutions and a skip connection (appendix, figure of the residual block).

    In the paper a ReLU follows the sum; with `linear` none does.
    """

    def __init__(self, width: int, kernel_size: int, padding: str, linear: bool) -> None:
        super().__init__()
        self.first = Convolution(width, width, kernel_size, padding)
        self.second = Convolution(width, width, kernel_size, padding)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width, H, W) to the same shape."""
        total = x + self.second(torch.relu(self.first(x)))
        return total if self.linear else torch.relu(total)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size; its padding by reflection can be deterministic on a GPU."""

    def __init__(self, maps: int, width: int, kernel_size: int, padding: str) -> None:
        super().__init__(maps, width, kernel_size, padding=kernel_size // 2, padding_mode=padding)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, maps, H, W) to (B, width, H, W)."""
        if self.padding_mode == "zeros":
            return super().forward(x)
        return F.conv2d(reflect_pad(x, self.kernel_size[0] // 2), self.weight, self.bias)


class Refiner(Pretrained):
    """R_θ(x): (B, C, H, W) float in [−1, 1] → the same shape, not clamped; any H × W ≥ 16 × 16.

    `Refiner.from_preset(preset)` builds it untrained, `Refiner.from_pretrained(name)` loads trained weights: of a
    shipped name, a folder, or a Hub repository. `refine` takes images of every kind.
    """

    config: RefinerConfig
    config_class = RefinerConfig
    subfolder = ""
    shape = ("width", "kernel_size", "blocks", "predict_residual", "fold", "padding", "noise")
    entering = ("stem.weight", "fine.weight")

    def __init__(self, config: RefinerConfig | None = None) -> None:
        super().__init__(config)
        c = self.config
        self.photometry = Photometry() if c.photometry else nn.Identity()
        maps = c.channels + NOISE_MAPS * c.noise
        self.stem = Convolution(maps * c.grid**2, c.width, c.kernel_size, c.padding)
        self.blocks = nn.Sequential(
            *(ResidualBlock(c.width, c.kernel_size, c.padding, linear=c.fold) for _ in range(c.blocks))
        )
        if c.fold:
            self.narrow = nn.Conv2d(c.width, _ENLARGED, 1)
            self.fine = Convolution(maps + _ENLARGED, _FINE, 3, c.padding)
        self.head = nn.Conv2d(_FINE if c.fold else c.width, c.channels, 1)
        if c.predict_residual:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor, *, equalized: bool = False, prepared: bool = False) -> Tensor:
        """Refine a batch (B, C, H, W) in [−1, 1]; `ConfigError` where type, C or size does not fit.

        It does what `refine` does, but for steps and shadows of a depth camera, and does not clamp. `equalized`: the
        images are equalized already, and so may require a gradient, which equalization has not. `prepared`: they also
        have light, tones and sharpness of real ones, as those of a run's bank.
        """
        fits = x.is_floating_point() and x.ndim == 4 and x.shape[1] == self.config.channels
        if not fits or min(x.shape[2:]) < MINIMUM_SIZE:
            raise ConfigError(
                f"this refiner takes float (B, {self.config.channels}, H, W) with H and W of at least {MINIMUM_SIZE}, "
                f"not {str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
            )
        return self.convolve(self.with_noise(x) if prepared else self.prepare(x, equalized=equalized))

    def prepare(self, x: Tensor, *, equalized: bool = False) -> Tensor:
        """Return the network's input for images (B, C, H, W), in the type of its weights.

        Images are equalized (unless they are `equalized`), light, tones and sharpness changed, and noise maps added, in
        float32 at least: the light and the noise of an image are picked by a hash of its pixels.
        """
        kind = self.head.weight.dtype
        require(
            kind in (torch.float16, torch.bfloat16, torch.float32, torch.float64),
            f"a refiner whose weights are {kind} cannot refine: call its float(), half() or bfloat16() first",
        )
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if self.config.equalize and not equalized:
            require(
                not (x.requires_grad and torch.is_grad_enabled()),
                "this refiner equalizes images, which has no gradient: equalize them first, such as by "
                "simgan.images.arrays.equalize_tensor, and call forward(x, equalized=True) for a gradient",
            )
            x = equalize_tensor(x)
        return self.with_noise(self.photometry(x))

    def with_noise(self, x: Tensor) -> Tensor:
        """Return images (B, C, H, W) and, where the network takes them, maps of noise, in the type of its weights."""
        x = torch.cat([x, noise_maps(x)], 1) if self.config.noise else x
        return x.to(self.head.weight.dtype)

    def convolve(self, prepared: Tensor) -> Tensor:
        """Apply the convolutional network to a prepared input."""
        folded, grid = prepared, self.config.grid
        for axis in (2, 3):  # the last line twice where their number is odd
            last = folded.narrow(axis, -1, folded.shape[axis] % grid)
            folded = torch.cat([folded, last], axis)
        maps = self.blocks(torch.relu(self.stem(F.pixel_unshuffle(folded, grid))))
        if self.config.fold:
            enlarged = enlarge(self.narrow(maps), grid)[:, :, : prepared.shape[2], : prepared.shape[3]]
            maps = torch.relu(self.fine(torch.cat([prepared, enlarged.to(prepared)], 1)))
        out: Tensor = self.head(maps)
        return prepared[:, : self.config.channels] + out if self.config.predict_residual else out

    @property
    def codec(self) -> Codec:
        """How its images are stored, turned into tensors, and shown."""
        return codecs.get(self.config.codec)

    def refine(
        self,
        images: Any,
        strength: float = 1.0,
        batch_size: int | None = None,
        should_stop: ShouldStop = None,
        *,
        value_range: tuple[float, float] | None = None,
        layout: str | None = None,
    ) -> Any:
        """Make images look real; their labels stay true.

        `images`: a path, the bytes of a file, a file open in binary mode, a cell of an image column of `datasets`
        ({"bytes", "path"}), a PIL image, an array (uint8 or uint16, (H, W) or (H, W, 3)), a tensor of floats ((C, H, W)
        or (B, C, H, W) in [−1, 1]), or a list or iterator of them. Returns the same kind, size, mode, bit depth and
        order; a file in any form gives a PIL image, or an array where it is of NumPy.

        `value_range`: the values of black and white in tensors and arrays of floats, which come back in it and in their
        type. Arrays of floats need it, and so do tensors that are not in [−1, 1], or that have values in [0, 1] alone.
        `layout`: the order of axes in tensors and arrays, "NCHW", "NHWC" or "NHW"; one image leaves out N. Without it a
        tensor is NCHW and an array one image, (H, W) or (H, W, C): a batch of arrays needs it.

        `strength` s blends x + s · (R(x) − x): 0 gives the input back, 1 the refined image. A refiner of depth takes
        uint16 (H, W) in mm, 0 = no reading: `simgan.images.codecs.Depth` says what becomes of it. One with steps and
        shadows of a camera takes no floats, as it needs mm. `should_stop` is called between pieces of work, also within
        a large image; once it returns True, `Stopped` is raised.

        A tensor that requires a gradient gets one, as do the refiner's parameters that require it; without
        `torch.no_grad()` this takes the memory of the whole image's feature maps. All else runs in inference mode. A
        refiner that equalizes has no such gradient: `ConfigError` tells the way round it. Weights may be
        float16, bfloat16, float32 or float64. In a process made by fork PyTorch computes with one thread.

        Bad input raises `ImageError`, which names the image and what is wrong with it.
        """
        return refine(self, images, strength, batch_size, should_stop, value_range=value_range, layout=layout)

    def export(self, kind: Literal["onnx"]) -> bytes:
        """Return the refiner as a file for another engine; `simgan.refining.export` says what goes in and comes out.

        `ConfigError` for another kind, where the packages for it are not installed, or where the weights are not
        float32 on a CPU.
        """
        require(kind == "onnx", f"a refiner can be exported as 'onnx', not as {kind!r}")
        return to_onnx(self)
