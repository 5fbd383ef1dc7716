"""What `Refiner.refine` does: images of any kind in, the same kind, size, mode, bit depth and order out."""

from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from simgan.errors import ImageError
from simgan.images.arrays import Array, check_stored, equalize, to_array, to_pil, to_stored, to_tensor
from simgan.images.depth import BACKGROUND, THRESHOLD, find_window, restored, stored_depth
from simgan.images.files import read
from simgan.preparation.triangulation import Triangulation
from simgan.runtime import has_fast_bfloat16

if TYPE_CHECKING:
    from simgan.refiner import Refiner

BATCH = 32  # images that are read ahead
BATCH_ON_GPU = 256  # where a small batch waits longer for its kernels to start than for what they compute
PIECE = 2**14  # pixels that go through the network together: their maps fit the cache
LEAST = 16  # pixels of a side that a refiner takes
STRIP = 2**20  # pixels of a strip of a large image, so that memory does not grow with it


def refine(refiner: "Refiner", images: Any, strength: float = 1.0, batch_size: int | None = None) -> Any:
    """Refine one image or many; see `Refiner.refine`."""
    if not 0 <= strength <= 1:
        raise ImageError(f"strength must lie between 0 (the input) and 1 (refined), not {strength}")
    if batch_size is not None and batch_size < 1:
        raise ImageError(f"a batch of {batch_size} images cannot be refined: give at least 1, or none")
    size = batch_size or (BATCH if _device(refiner) == "cpu" else BATCH_ON_GPU)
    if isinstance(images, str | Path | Image.Image | np.ndarray | Tensor):
        return next(_refine_many(refiner, [images], strength, 1))
    if isinstance(images, list | tuple):
        return list(_refine_many(refiner, images, strength, size))
    if isinstance(images, Iterable):
        return _refine_many(refiner, images, strength, size)
    raise ImageError(f"cannot refine a {type(images).__name__}: give a path, an image, an array, a tensor or a list")


def _refine_many(refiner: "Refiner", images: Iterable[Any], strength: float, batch_size: int) -> Iterator[Any]:
    """Read `batch_size` images ahead, no more, and refine those of one size together."""
    source, first = iter(images), 0
    while batch := list(islice(source, batch_size)):
        named = [_open(image, f"image {first + i}") for i, image in enumerate(batch)]
        yield from _refine_batch(refiner, named, strength)
        first += len(batch)


def _open(image: Any, name: str) -> tuple[str, Any]:
    return (str(image), read(image)) if isinstance(image, str | Path) else (name, image)


def _refine_batch(refiner: "Refiner", named: list[tuple[str, Any]], strength: float) -> list[Any]:
    results: list[Any] = [None] * len(named)
    groups: dict[tuple[Any, ...], list[tuple[int, Array]]] = {}
    for i, (name, image) in enumerate(named):
        if isinstance(image, Tensor):
            results[i] = _refine_tensor(refiner, image, strength, name)
            continue
        stored = checked(refiner, image, name)
        groups.setdefault((stored.shape, stored.dtype), []).append((i, stored))
    refine_group = refine_depth if is_of_depth(refiner) else _refine_stored
    for members in groups.values():
        refined = refine_group(refiner, np.stack([stored for _, stored in members]), strength)
        for (i, _), array in zip(members, refined, strict=True):
            image = named[i][1]
            if is_of_depth(refiner):
                array = restored(array, np.asarray(image))
            results[i] = to_pil(array, image.mode) if isinstance(image, Image.Image) else array
    return results


def is_of_depth(refiner: "Refiner") -> bool:
    """Tell whether a refiner takes depth images in mm."""
    return refiner.config.domain == "hands"


def checked(refiner: "Refiner", image: Any, name: str) -> Array:
    """Give a PIL image or an array as it is stored, if the refiner takes it; else raise `ImageError` that names it."""
    if not isinstance(image, Image.Image | np.ndarray):
        raise ImageError(f"{name} is a {type(image).__name__}: give a path, a PIL image, an array or a tensor")
    if is_of_depth(refiner):
        return stored_depth(image, name)
    stored = to_stored(image, name) if isinstance(image, Image.Image) else image
    check_stored(stored, name)
    return stored


def _device(refiner: "Refiner") -> str:
    """The kind of device that a refiner is on."""
    return next(refiner.parameters()).device.type


def _network(refiner: "Refiner", x: Tensor, *, fast: bool = False) -> Tensor:
    """R(x) in float32 on the CPU, clamped.

    `fast`: bfloat16 will do. For what ships it is at most 0.26 of an 8-bit level off on average, 1 or none in 99 % of
    pixels, and 8 at worst (1,000 renders), so machines may differ by that much.
    """
    layout: Any = {"memory_format": torch.channels_last}
    if not all(kernel.is_contiguous(**layout) for kernel in refiner.parameters() if kernel.ndim == 4):
        refiner.to(**layout)  # values stay; only the first call has to move them
    weights, device = next(refiner.parameters()), _device(refiner)
    fast = fast and weights.dtype == torch.float32 and has_fast_bfloat16(device)
    pixels = x.shape[2] * x.shape[3]
    count = max(1, (PIECE if device == "cpu" else STRIP) // pixels)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=fast):
        pieces = [_strips(refiner, refiner.prepare(piece.to(weights))).float().cpu() for piece in x.split(count)]
        return torch.cat(pieces).clamp_(-1, 1)


def _strips(refiner: "Refiner", x: Tensor) -> Tensor:
    """R of what `Refiner.prepare` gives, large images in strips that overlap by what R sees: as one, in less memory."""
    height, width = x.shape[2:]
    number = min(-(-height * width // STRIP), height // 16)
    if number < 2:
        return refiner.retexture(x)
    reach = _reach(refiner)
    edges = [height * i // number for i in range(number + 1)]
    strips = []
    for top, bottom in pairwise(edges):
        above = min(top, reach)
        refined = refiner.retexture(x[:, :, top - above : bottom + reach])
        strips.append(refined[:, :, above : above + bottom - top])
    return torch.cat(strips, 2)


def _reach(refiner: "Refiner") -> int:
    """How many pixels a pixel of R sees to each side."""
    return (refiner.config.kernel_size // 2) * (1 + 2 * refiner.config.blocks)


def _refine_tensor(refiner: "Refiner", image: Tensor, strength: float, name: str) -> Tensor:
    if not image.is_floating_point() or not torch.isfinite(image).all() or image.abs().max() > 1:
        raise ImageError(f"{name} is a tensor with values that are not float in [-1, 1]")
    x = image if image.ndim == 4 else image[None]
    if x.ndim != 4 or x.shape[1] != refiner.config.channels or min(x.shape[2:]) < 16:
        raise ImageError(
            f"{name} is a tensor of shape {tuple(image.shape)}: give (C, H, W) or (B, C, H, W) with "
            f"C = {refiner.config.channels}, H and W of at least 16"
        )
    if strength == 0:
        return image.clone()
    entering = x
    if refiner.config.equalize:
        planes = to_array(x.flatten(0, 1)[:, None], np.uint8)
        entering = to_tensor(np.stack([equalize(plane) for plane in planes])).reshape(x.shape)
    refined = _network(refiner, entering).to(image)
    return (x + strength * (refined - x)).reshape(image.shape)


def _refine_stored(refiner: "Refiner", images: Array, strength: float) -> Array:
    """Refine stored images of one shape, (B, H, W) or (B, H, W, C), alpha and chroma left alone."""
    if strength == 0:
        return images.copy()
    has_alpha = images.ndim == 4 and images.shape[-1] in (2, 4)
    visible, alpha = (images[..., :-1], images[..., -1:]) if has_alpha else (images, None)
    if visible.ndim == 4 and visible.shape[-1] == 1:
        visible = visible[..., 0]
    colour = visible.ndim == 4
    if refiner.config.channels == 3:
        out = _blend(refiner, visible if colour else np.repeat(visible[..., None], 3, -1), strength)
        if not colour:
            out = out.astype(np.float32).mean(-1).round().astype(images.dtype)
    elif colour:
        converted = [cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2YCrCb) for image in visible]
        luminance = _blend(refiner, np.stack([image[..., 0] for image in converted]), strength)
        for image, y in zip(converted, luminance, strict=True):
            image[..., 0] = y
        out = np.stack([cv2.cvtColor(image, cv2.COLOR_YCrCb2RGB) for image in converted])
    else:
        out = _blend(refiner, visible, strength)
    if alpha is None:
        return out
    return np.concatenate([out if out.ndim == 4 else out[..., None], alpha], -1)


def _blend(refiner: "Refiner", planes: Array, strength: float) -> Array:
    """x + s·(R(x) − x) on stored images, where R equalizes first if it was trained so."""
    x, entering = to_tensor(planes), planes
    if refiner.config.equalize:
        flat = planes if planes.ndim == 3 else np.moveaxis(planes, -1, 1).reshape(-1, *planes.shape[1:3])
        entering = np.stack([equalize(plane) for plane in flat])
        if planes.ndim == 4:
            entering = np.moveaxis(entering.reshape(len(planes), -1, *planes.shape[1:3]), 1, -1)
    refined = _network(refiner, to_tensor(entering), fast=planes.dtype == np.uint8)
    return to_array(x + strength * (refined - x), planes.dtype)


def refine_depth(refiner: "Refiner", images: Array, strength: float = 1.0) -> Array:
    """Refine depth images, uint16 (B, H, W) in mm, each within the window that `find_window` gives.

    Where the refined value is background, a reading of the window becomes 0, a hole; one that lies nearer or farther
    (the body, the wall) stays, and so does what was a hole. Elsewhere the refined depth is taken. A strength between 0
    and 1 blends the depths where input and refined image both have one. Whether a pixel has one can only be told by
    either: by the input below 0.5, by the refined image from there on. 0 gives the input back. A refiner that has
    learnt how a camera triangulates takes what lies in shadow away first, and gives depth in steps.
    """
    if strength == 0:
        return images.copy()
    windows = [find_window(image) for image in images]
    camera = refiner.config.triangulation or Triangulation()
    values = [torch.from_numpy(w.to_values(camera.shade(image))) for w, image in zip(windows, images, strict=True)]
    refined: Iterable[Tensor]
    if _device(refiner) == "cpu":
        background: dict[tuple[int, int], Tensor] = {}
        refined = (_around_readings(refiner, x, background) for x in values)
    else:  # whole images together take a GPU less time than the readings of one after the other
        refined = _network(refiner, torch.stack(values)[:, None])[:, 0]
    return np.stack(
        [
            _as_readings(image, camera.snap(window.to_depth(y.numpy())), window.holds(image), strength)
            for image, window, y in zip(images, windows, refined, strict=True)
        ]
    )


def _as_readings(image: Array, refined: Array, seen: Array, strength: float) -> Array:
    """Blend an image, whose readings within its window are `seen`, and what was `refined` of it, both in mm."""
    found = refined > 0
    blended = np.rint(image + strength * (refined.astype(np.float64) - image)).astype(image.dtype)
    if strength < 0.5:
        return np.where(seen & found, blended, image)
    return np.where(found, np.where(seen, blended, refined), np.where(seen, 0, image)).astype(image.dtype)


def _around_readings(refiner: "Refiner", x: Tensor, known: dict[tuple[int, int], Tensor]) -> Tensor:
    """R(x) of (H, W), computed only as far from the readings as they reach: beyond, R sees background alone.

    There the values are those of an image of background, kept in `known` by its size. What is computed is cut out so
    that the border made by cutting does not show. Reflecting padding goes on with the background by itself, where at
    least one pixel more of it is there than any layer reaches; zeros are none, so a rim as wide as R sees is computed
    and thrown away. An image's own border is padded as ever.
    """
    reach = _reach(refiner)
    rim = reach if refiner.config.padding == "zeros" else 1
    places, inner = [], []
    for axis, size in enumerate(x.shape):
        lines = torch.nonzero((x <= THRESHOLD).any(1 - axis))[:, 0].tolist()
        kept = _grown(slice(lines[0], lines[-1] + 1), reach, size)
        cut = _grown(kept, max(rim, LEAST - (kept.stop - kept.start)), size)
        places.append((kept, cut))
        inner.append(slice(kept.start - cut.start, kept.stop - cut.start))
    (rows, rows_cut), (columns, columns_cut) = places
    # Float32: bfloat16 moved one depth in 20 by a mm, and where holes open some by 2.6 mm, more than a Kinect's step
    # (1.5 mm at 0.7 m); without predict_residual it moved one in 4 (refiners of 12 maps, trained on a frame of NYU's).
    part = _network(refiner, x[rows_cut, columns_cut][None, None])[0, 0]
    if part.shape == x.shape:
        return part
    high, wide = x.shape
    if (high, wide) not in known:
        known[high, wide] = _background(refiner, high, wide)
    out = known[high, wide].clone()
    out[rows, columns] = part[inner[0], inner[1]]
    return out


def _grown(span: slice, by: int, size: int) -> slice:
    return slice(max(0, span.start - by), min(size, span.stop + by))


def _background(refiner: "Refiner", high: int, wide: int) -> Tensor:
    """R of an image (H, W) of background alone: away from the border, it is one value."""
    reach = _reach(refiner)
    least = [min(size, max(2 * reach + 1, LEAST)) for size in (high, wide)]
    values = _network(refiner, torch.full((1, 1, *least), BACKGROUND))[0, 0]
    rows, columns = (
        torch.tensor([i if i < reach else max(reach, i - size + small) for i in range(size)])
        for size, small in zip((high, wide), least, strict=True)
    )
    return values[rows][:, columns]
