"""What `Refiner.refine` does: images of any kind in; the same kind, size, mode, bit depth and order out."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from numbers import Real
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from simgan.errors import ImageError, Stopped
from simgan.images import codecs
from simgan.images.arrays import MINIMUM_SIZE, Array
from simgan.refining.kinds import (
    Numbers,
    from_nchw,
    from_stored_images,
    is_alone,
    opened,
    to_floats,
    to_nchw,
    to_stored_images,
)
from simgan.refining.pixels import refine_pixels
from simgan.runtime import has_fast_bfloat16

BATCH = 64  # images that are read ahead
BATCH_ON_GPU = 256  # a GPU spends more time on starting kernels than on a small batch
PIECE = 2**20  # values of a layer's maps that go through the network together, so that they fit the cache
STRIP = 2**20  # pixels of a strip of a large image, so that memory does not grow with the image

ShouldStop = Callable[[], bool] | None


class RefinerLike(Protocol):
    """What refining takes of a `simgan.Refiner`, which a room above makes."""

    config: Any

    def to(self, *target: Any, **layout: Any) -> Any: ...  # noqa: D102
    def parameters(self) -> Iterator[nn.Parameter]: ...  # noqa: D102
    def state_dict(self) -> dict[str, Tensor]: ...  # noqa: D102
    def prepare(self, x: Tensor, /, *, equalized: bool = ...) -> Tensor: ...  # noqa: D102
    def convolve(self, prepared: Tensor, /) -> Tensor: ...  # noqa: D102


def refine(
    refiner: RefinerLike,
    images: Any,
    strength: float = 1.0,
    batch_size: int | None = None,
    should_stop: ShouldStop = None,
    *,
    value_range: tuple[float, float] | None = None,
    layout: str | None = None,
) -> Any:
    """Refine one image or many; see `Refiner.refine`."""
    check_strength(strength)
    if batch_size is not None and batch_size < 1:
        raise ImageError(f"a batch of {batch_size} images cannot be refined: give at least 1, or none")
    size = batch_size or (BATCH if _device(refiner) == "cpu" else BATCH_ON_GPU)
    numbers = Numbers(value_range, layout)
    if is_alone(images):
        return next(_refine_many(refiner, [images], strength, size, should_stop, numbers))
    if not isinstance(images, Iterable):
        raise ImageError(f"cannot refine a {type(images).__name__}: give a path, image, array, tensor or list of them")
    refined = _refine_many(refiner, images, strength, size, should_stop, numbers)
    return list(refined) if isinstance(images, list | tuple) else refined


def check_strength(strength: Any) -> None:
    """Raise `ImageError` where a strength is no number from 0 to 1."""
    if not isinstance(strength, Real) or not 0 <= float(strength) <= 1:  # NaN too
        raise ImageError(f"strength must lie between 0 (the input) and 1 (refined), not {strength}")


def check(refiner: RefinerLike, image: Any, name: str) -> Array:
    """Return a PIL image or an array as a stored image; `ImageError` with `name` where the refiner cannot take it."""
    if not isinstance(image, Image.Image | np.ndarray):
        raise ImageError(f"{name} is a {type(image).__name__}: give a path, a PIL image, an array or a tensor")
    return codecs.get(refiner.config.codec).check(image, name)


def _refine_many(
    refiner: RefinerLike,
    images: Iterable[Any],
    strength: float,
    batch_size: int,
    should_stop: ShouldStop,
    numbers: Numbers,
) -> Iterator[Any]:
    """Read `batch_size` images ahead, no more, and refine those of one size together."""
    codec, numbered = codecs.get(refiner.config.codec), enumerate(images)
    while batch := list(islice(numbered, batch_size)):
        results: dict[int, Any] = dict.fromkeys(number for number, _ in batch)
        groups: dict[tuple[Any, ...], list[tuple[int, Any, Array]]] = {}
        for number, image in batch:
            image, name = opened(image, f"image {number}")
            has_floats = isinstance(image, np.ndarray) and image.dtype.kind == "f"
            if isinstance(image, Tensor) or (has_floats and numbers.value_range):
                results[number] = _refine_floats(refiner, image, name, strength, should_stop, numbers)
            elif has_floats and not codec.unit:
                raise ImageError(
                    f"{name} has type {image.dtype}, whose values may mean anything: give those of black and white, "
                    "such as value_range=(0, 1)"
                )
            elif isinstance(image, np.ndarray) and (numbers.layout or image.ndim == 4):
                axes = numbers.axes(image, name)
                stored = to_stored_images(image, axes)
                refined = refine(refiner, list(stored), strength, batch_size, should_stop)
                results[number] = from_stored_images(np.array(refined, stored.dtype).reshape(stored.shape), axes)
            else:
                stored = check(refiner, image, name)
                groups.setdefault((stored.shape, stored.dtype), []).append((number, image, stored))
        for members in groups.values():
            stack = np.stack([stored for *_, stored in members])
            refined = _refine_stored(refiner, stack, strength, should_stop)
            for (number, image, _), array in zip(members, refined, strict=True):
                results[number] = codec.restore(array, image)
        yield from results.values()


def _refine_floats(
    refiner: RefinerLike, image: Tensor | Array, name: str, strength: float, should_stop: ShouldStop, numbers: Numbers
) -> Tensor | Array:
    """Refine a tensor or an array of floats, one image or a batch; with a gradient where the tensor requires one."""
    config, axes = refiner.config, numbers.axes(image, name)
    given = image if isinstance(image, Tensor) else to_floats(image, name)
    if not given.is_floating_point():
        raise ImageError(f"{name} is a tensor of type {given.dtype}: give floats, or an array by its numpy()")
    x = to_nchw(given, axes)
    if x.shape[1] != config.channels or min(x.shape[2:]) < MINIMUM_SIZE:
        raise ImageError(
            f"{name} has shape {tuple(image.shape)}, axes {axes}: this refiner takes floats with "
            f"C = {config.channels}, H and W of at least {MINIMUM_SIZE}"
        )
    if config.triangulation and strength and (config.triangulation.scale or config.triangulation.baseline):
        raise ImageError(
            f"{name} has floats, whose depth in mm is unknown, so this refiner cannot give it the steps and shadows of "
            "its camera: give uint16 in mm, or call forward for the network alone"
        )
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    signed = numbers.to_signed(x, name)
    if strength == 0:
        return image.clone() if isinstance(image, Tensor) else image.copy()
    if x.requires_grad and torch.is_grad_enabled():
        raise_if_stopped(should_stop)
        output = refiner.convolve(refiner.prepare(signed.to(next(refiner.parameters()).device))).clamp(-1, 1)
    else:
        output = run_network(refiner, signed, should_stop=should_stop)
    refined = from_nchw(x + strength * (numbers.from_signed(output.to(x)) - x), axes).to(given)
    return refined if isinstance(image, Tensor) else refined.numpy().astype(image.dtype)


def _refine_stored(refiner: RefinerLike, images: Array, strength: float, should_stop: ShouldStop) -> Array:
    """Refine stored images of one shape and type, (B, H, W) or (B, H, W, C)."""
    if strength == 0:
        return images.copy()
    codec, device, weights = codecs.get(refiner.config.codec), _device(refiner), next(refiner.parameters())
    on_readings = codec.background is not None and device == "cpu"  # a GPU takes whole images in less time

    def network(x: Tensor) -> Tensor:
        if on_readings:
            return run_on_readings(refiner, x, float(codec.background or 0), should_stop)
        return run_network(refiner, x, equalized=True, fast=images.dtype == np.uint8, should_stop=should_stop)

    with torch.inference_mode():
        count = len(images) if on_readings else _piece(refiner, images.shape[1] * images.shape[2])
        pieces = torch.from_numpy(images).split(count)
        refined = [refine_pixels(refiner.config, piece.to(weights.device), strength, network) for piece in pieces]
        return torch.cat(refined).cpu().numpy()


def _piece(refiner: RefinerLike, pixels: int) -> int:
    """Return how many images of so many pixels go through the network together."""
    config = refiner.config
    most = PIECE * config.grid**2 // config.width if _device(refiner) == "cpu" else STRIP
    return max(1, most // pixels)


def run_network(
    refiner: RefinerLike, x: Tensor, *, equalized: bool = False, fast: bool = False, should_stop: ShouldStop = None
) -> Tensor:
    """Return R(x) of (B, C, H, W) in float32, clamped to [−1, 1]; see `Refiner.prepare` for `equalized`.

    `fast`: bfloat16 may be used. For what ships it is at most 0.26 of an 8-bit level off on average, 1 or none in 99 %
    of pixels, and 8 at worst (1,000 renders), so machines may differ by that much.
    """
    layout: Any = {"memory_format": torch.channels_last}
    if not all(kernel.is_contiguous(**layout) for kernel in refiner.parameters() if kernel.ndim == 4):
        with torch.inference_mode(False):
            refiner.to(**layout)  # all kernels, as those of one channel seem to have both layouts; values stay
    weights, device = next(refiner.parameters()), _device(refiner)
    fast = fast and weights.dtype == torch.float32 and has_fast_bfloat16(device)
    count = _piece(refiner, x.shape[2] * x.shape[3])
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=fast):
        pieces = [
            torch.cat([strip.float() for strip in _strips(refiner, prepared, should_stop)], 2)
            for prepared in (refiner.prepare(piece.to(weights.device), equalized=equalized) for piece in x.split(count))
        ]
        return torch.cat(pieces).clamp_(-1, 1)


def _strips(refiner: RefinerLike, prepared: Tensor, should_stop: ShouldStop) -> Iterator[Tensor]:
    """Yield R(x) in strips, top to bottom, whose inputs overlap by the receptive field: less memory, nothing else."""
    height, width = prepared.shape[2:]
    number = max(1, min(-(-height * width // STRIP), height // 16))
    reach, grid = refiner.config.reach, refiner.config.grid
    for top, bottom in pairwise([*(height * i // number // grid * grid for i in range(number)), height]):
        raise_if_stopped(should_stop)
        above = min(top, reach)
        yield refiner.convolve(prepared[:, :, top - above : bottom + reach])[:, :, above : above + bottom - top]


def raise_if_stopped(should_stop: ShouldStop) -> None:
    """Raise `Stopped` where `should_stop` returns True."""
    if should_stop and should_stop():
        raise Stopped("refining was stopped before it was done")


def _device(refiner: RefinerLike) -> str:
    return next(refiner.parameters()).device.type


def run_on_readings(refiner: RefinerLike, x: Tensor, background: float, should_stop: ShouldStop = None) -> Tensor:
    """Return R(x) of (B, 1, H, W), where all that is not `background` fills a part of the images.

    The network runs on the bounding box of the readings plus its receptive field; the rest is filled with R of an image
    of background. The box is cut out with a rim, so that the padding at the cut changes nothing: one pixel where
    reflecting continues the background, the receptive field where zeros do not. The image's own border is padded as
    always.
    """
    reach, grid = refiner.config.reach, refiner.config.grid
    rim = reach if refiner.config.padding == "zeros" else grid
    out, filling = torch.empty_like(x), None
    for image, refined in zip(x, out, strict=True):
        kept, cut, inner = [slice(None)], [slice(None)], [slice(None)]
        for axis, length in enumerate(image.shape[1:]):
            lines = torch.nonzero((image[0] != background).any(1 - axis))[:, 0].tolist() or [0]
            box = _widened(slice(lines[0], lines[-1] + 1), reach, length, grid)
            wide = _widened(box, max(rim, MINIMUM_SIZE - (box.stop - box.start)), length, grid)
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


def _widened(span: slice, by: int, length: int, grid: int) -> slice:
    """Widen a part of a line, to places of `grid` pixels that begin where those of the whole line do."""
    first, last = (span.start - by) // grid * grid, -(-(span.stop + by) // grid) * grid
    return slice(max(0, first), min(length, last))


def _run_on_background(refiner: RefinerLike, size: tuple[int, ...], background: float) -> Tensor:
    """Return R of an image (1, H, W) of background alone: away from the border it is one value, so few are computed."""
    reach, grid = refiner.config.reach, refiner.config.grid
    enough = -(-max(2 * reach + 1, MINIMUM_SIZE) // grid) * grid
    least = [min(length, enough + length % grid) for length in size]
    values = run_network(refiner, torch.full((1, 1, *least), background))[0]
    rows, columns = (
        torch.tensor([i if i < reach else max(reach, i - length + small) for i in range(length)])
        for length, small in zip(size, least, strict=True)
    )
    return values[:, rows][:, :, columns]
