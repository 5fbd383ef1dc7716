"""What `Refiner.refine` does: images of any kind in; the same kind, size, mode, bit depth and order out."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from simgan.errors import ImageError, Stopped
from simgan.images import codecs
from simgan.images.arrays import MINIMUM_SIZE, Array, equalize, equalize_images, to_array, to_tensor
from simgan.images.files import read
from simgan.runtime import has_fast_bfloat16

BATCH = 32  # images that are read ahead
BATCH_ON_GPU = 256  # a GPU spends more time on starting kernels than on a small batch
PIECE = 2**14  # pixels that go through the network together: their maps fit the cache
STRIP = 2**20  # pixels of a strip of a large image, so that memory does not grow with the image

ShouldStop = Callable[[], bool] | None


class RefinerLike(Protocol):
    """What refining takes of a `simgan.Refiner`, which a room above makes."""

    config: Any

    def to(self, *target: Any, **layout: Any) -> Any: ...  # noqa: D102
    def parameters(self) -> Iterator[nn.Parameter]: ...  # noqa: D102
    def state_dict(self) -> dict[str, Tensor]: ...  # noqa: D102
    def prepare(self, x: Tensor, /) -> Tensor: ...  # noqa: D102
    def convolve(self, prepared: Tensor, /) -> Tensor: ...  # noqa: D102


def refine(
    refiner: RefinerLike,
    images: Any,
    strength: float = 1.0,
    batch_size: int | None = None,
    should_stop: ShouldStop = None,
) -> Any:
    """Refine one image or many; see `Refiner.refine`."""
    if not 0 <= strength <= 1:
        raise ImageError(f"strength must lie between 0 (the input) and 1 (refined), not {strength}")
    if batch_size is not None and batch_size < 1:
        raise ImageError(f"a batch of {batch_size} images cannot be refined: give at least 1, or none")
    size = batch_size or (BATCH if _device(refiner) == "cpu" else BATCH_ON_GPU)
    if isinstance(images, str | Path | Image.Image | np.ndarray | Tensor):
        return next(_refine_many(refiner, [images], strength, 1, should_stop))
    if not isinstance(images, Iterable):
        raise ImageError(f"cannot refine a {type(images).__name__}: give a path, image, array, tensor or list of them")
    refined = _refine_many(refiner, images, strength, size, should_stop)
    return list(refined) if isinstance(images, list | tuple) else refined


def check(refiner: RefinerLike, image: Any, name: str) -> Array:
    """Return a PIL image or an array as a stored image; `ImageError` with `name` where the refiner cannot take it."""
    if not isinstance(image, Image.Image | np.ndarray):
        raise ImageError(f"{name} is a {type(image).__name__}: give a path, a PIL image, an array or a tensor")
    return codecs.get(refiner.config.codec).check(image, name)


def _refine_many(
    refiner: RefinerLike, images: Iterable[Any], strength: float, batch_size: int, should_stop: ShouldStop
) -> Iterator[Any]:
    """Read `batch_size` images ahead, no more, and refine those of one size together."""
    codec, numbered = codecs.get(refiner.config.codec), enumerate(images)
    while batch := list(islice(numbered, batch_size)):
        results: dict[int, Any] = dict.fromkeys(number for number, _ in batch)
        groups: dict[tuple[Any, ...], list[tuple[int, Any, Array]]] = {}
        for number, image in batch:
            name = str(image) if isinstance(image, str | Path) else f"image {number}"
            image = read(image) if isinstance(image, str | Path) else image
            if isinstance(image, Tensor):
                results[number] = _refine_tensor(refiner, image, strength, name, should_stop)
            else:
                stored = check(refiner, image, name)
                groups.setdefault((stored.shape, stored.dtype), []).append((number, image, stored))
        for members in groups.values():
            stack = np.stack([stored for *_, stored in members])
            refined = _refine_stored(refiner, stack, strength, should_stop)
            for (number, image, _), array in zip(members, refined, strict=True):
                results[number] = codec.restore(array, image)
        yield from results.values()


def _refine_tensor(refiner: RefinerLike, image: Tensor, strength: float, name: str, should_stop: ShouldStop) -> Tensor:
    if not image.is_floating_point() or not torch.isfinite(image).all() or image.abs().max() > 1:
        raise ImageError(f"{name} is a tensor with values that are not float in [-1, 1]")
    x = image if image.ndim == 4 else image[None]
    if x.ndim != 4 or x.shape[1] != refiner.config.channels or min(x.shape[2:]) < MINIMUM_SIZE:
        raise ImageError(
            f"{name} is a tensor of shape {tuple(image.shape)}: give (C, H, W) or (B, C, H, W) with "
            f"C = {refiner.config.channels}, H and W of at least {MINIMUM_SIZE}"
        )
    if strength == 0:
        return image.clone()
    entering = x
    if refiner.config.equalize:
        entering = to_tensor(equalize(to_array(x.flatten(0, 1)[:, None], np.uint8))).reshape(x.shape)
    refined = run_network(refiner, entering, should_stop=should_stop).to(image)
    return (x + strength * (refined - x)).reshape(image.shape)


def _refine_stored(refiner: RefinerLike, images: Array, strength: float, should_stop: ShouldStop) -> Array:
    """Refine stored images of one shape and type, (B, H, W) or (B, H, W, C)."""
    if strength == 0:
        return images.copy()
    config, codec = refiner.config, codecs.get(refiner.config.codec)
    entering = planes = codec.planes(images)
    windows = codec.windows(planes)
    if config.equalize:
        entering = equalize_images(planes)
    if config.triangulation:
        entering = np.stack([config.triangulation.shade(image) for image in planes])
    x = codec.to_tensor(entering, windows)
    if codec.background is None or _device(refiner) != "cpu":
        refined = run_network(refiner, x, fast=images.dtype == np.uint8, should_stop=should_stop)
    else:  # a GPU takes less time for whole images together than for the readings of one after the other
        refined = run_on_readings(refiner, x, codec.background, should_stop)
    return codec.blend(images, refined, strength, windows, config.triangulation and config.triangulation.snap)


def run_network(refiner: RefinerLike, x: Tensor, *, fast: bool = False, should_stop: ShouldStop = None) -> Tensor:
    """Return R(x) of (B, C, H, W) in float32 on the CPU, clamped to [−1, 1].

    `fast`: bfloat16 may be used. For what ships it is at most 0.26 of an 8-bit level off on average, 1 or none in 99 %
    of pixels, and 8 at worst (1,000 renders), so machines may differ by that much.
    """
    layout: Any = {"memory_format": torch.channels_last}
    if not all(kernel.is_contiguous(**layout) for kernel in refiner.parameters() if kernel.ndim == 4):
        refiner.to(**layout)  # all kernels, as those of one channel seem to have both layouts; values stay
    weights, device = next(refiner.parameters()), _device(refiner)
    fast = fast and weights.dtype == torch.float32 and has_fast_bfloat16(device)
    count = max(1, (PIECE if device == "cpu" else STRIP) // (x.shape[2] * x.shape[3]))
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=fast):
        pieces = [
            torch.cat([strip.float().cpu() for strip in _strips(refiner, piece.to(weights), should_stop)], 2)
            for piece in x.split(count)
        ]
        return torch.cat(pieces).clamp_(-1, 1)


def _strips(refiner: RefinerLike, x: Tensor, should_stop: ShouldStop) -> Iterator[Tensor]:
    """Yield R(x) in strips, top to bottom, whose inputs overlap by the receptive field: less memory, nothing else."""
    height, width = x.shape[2:]
    number = max(1, min(-(-height * width // STRIP), height // 16))
    prepared, reach = refiner.prepare(x), _reach(refiner)
    for top, bottom in pairwise(height * i // number for i in range(number + 1)):
        raise_if_stopped(should_stop)
        above = min(top, reach)
        yield refiner.convolve(prepared[:, :, top - above : bottom + reach])[:, :, above : above + bottom - top]


def raise_if_stopped(should_stop: ShouldStop) -> None:
    """Raise `Stopped` where `should_stop` returns True."""
    if should_stop and should_stop():
        raise Stopped("refining was stopped before it was done")


def _device(refiner: RefinerLike) -> str:
    return next(refiner.parameters()).device.type


def _reach(refiner: RefinerLike) -> int:  # pixels that a pixel of R(x) sees to each side
    return int((refiner.config.kernel_size // 2) * (1 + 2 * refiner.config.blocks))


def run_on_readings(refiner: RefinerLike, x: Tensor, background: float, should_stop: ShouldStop = None) -> Tensor:
    """Return R(x) of (B, 1, H, W), where all that is not `background` fills a part of the images.

    The network runs on the bounding box of the readings plus its receptive field; the rest is filled with R of an image
    of background. The box is cut out with a rim, so that the padding at the cut changes nothing: one pixel where
    reflecting continues the background, the receptive field where zeros do not. The image's own border is padded as
    always.
    """
    reach = _reach(refiner)
    rim = reach if refiner.config.padding == "zeros" else 1
    out, filling = torch.empty_like(x), None
    for image, refined in zip(x, out, strict=True):
        kept, cut, inner = [slice(None)], [slice(None)], [slice(None)]
        for axis, length in enumerate(image.shape[1:]):
            lines = torch.nonzero((image[0] != background).any(1 - axis))[:, 0].tolist() or [0]
            box = _widened(slice(lines[0], lines[-1] + 1), reach, length)
            wide = _widened(box, max(rim, MINIMUM_SIZE - (box.stop - box.start)), length)
            kept.append(box)
            cut.append(wide)
            inner.append(slice(box.start - wide.start, box.stop - wide.start))
        # Float32: bfloat16 moved one depth in 20 by a mm, and where holes open some by 2.6 mm, more than a Kinect's
        # step (1.5 mm at 0.7 m); without predict_residual it moved one in 4 (refiners of 12 maps, on a frame of NYU's).
        part = run_network(refiner, image[tuple(cut)][None], should_stop=should_stop)[0]
        if part.shape == image.shape:
            refined[:] = part
            continue
        filling = _run_on_background(refiner, tuple(image.shape[1:]), background) if filling is None else filling
        refined[:] = filling
        refined[tuple(kept)] = part[tuple(inner)]
    return out


def _widened(span: slice, by: int, length: int) -> slice:
    return slice(max(0, span.start - by), min(length, span.stop + by))


def _run_on_background(refiner: RefinerLike, size: tuple[int, ...], background: float) -> Tensor:
    """Return R of an image (1, H, W) of background alone: away from the border it is one value, so few are computed."""
    reach = _reach(refiner)
    least = [min(length, max(2 * reach + 1, MINIMUM_SIZE)) for length in size]
    values = run_network(refiner, torch.full((1, 1, *least), background))[0]
    rows, columns = (
        torch.tensor([i if i < reach else max(reach, i - length + small) for i in range(length)])
        for length, small in zip(size, least, strict=True)
    )
    return values[:, rows][:, :, columns]
