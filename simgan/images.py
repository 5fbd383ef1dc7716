"""Where files, PIL images and arrays become model tensors and come back with their size, mode and bit depth.

A *stored* image is uint8 (H, W) or (H, W, 3), or uint16 (H, W); a model tensor is (B, C, H, W) float32 in [−1, 1].
Alpha is kept as it is. Of a colour image a one-channel model refines the luminance and leaves the chroma alone.
Modes of Pillow that say the same otherwise (grey palettes, 16 bits in 32 or big-endian) are taken and come back; what
would lose something on the way (colour palettes, 1 bit, CMYK, floats of unknown range) is refused. NumPy files are
read and written as the arrays that they hold. How a refiner of hands sees depth is told by `simgan.depth`.
"""

import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from simgan.errors import ImageError

Array = NDArray[Any]
MAXIMUM_PIXELS = 64_000_000
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".jp2", ".pgm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
ARRAYS = ".npy"
# What Pillow decodes by itself; others start programs (EPS) or are no images that a refiner takes.
FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "TIFF", "WEBP")
MODES = ("L", "LA", "RGB", "RGBA", "I;16")
REMEDIES = {
    "P": "it has a colour palette, which refined colours do not fit: convert it to RGB",
    "1": "it has 1 bit, and a refined image needs 8: convert it to L",
    "I": "it has values that do not fit 16 bits: scale it to 16",
    "F": "its floats have no known range: save it with 8 or 16 bits, or give a tensor in [-1, 1]",
}


def open_image(source: str | Path | bytes, name: str | None = None) -> Image.Image:
    """Read a still image of 8 or 16 bits whole, from a file or its bytes; `ImageError` names one that is none."""
    path = name or ("the image" if isinstance(source, bytes) else str(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if (frames := getattr(image, "n_frames", 1)) > 1:
                raise ImageError(f"{path} is animated ({frames} frames): save the frame to be refined")
            if image.width * image.height > MAXIMUM_PIXELS:
                raise ImageError(f"{path} has {image.width}×{image.height} pixels, more than {MAXIMUM_PIXELS:,}")
            if image.mode in ("LA", "RGB", "RGBA") and any(";16" in str(tile[3]) for tile in image.tile):
                raise ImageError(f"{path} has 16 bits a channel, of which Pillow keeps 8: read it as an array instead")
            image.load()
            return image
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path} has too many pixels: more than {MAXIMUM_PIXELS:,}") from error
    except UnidentifiedImageError as error:
        empty = not (source if isinstance(source, bytes) else Path(source).stat().st_size)
        told = "it is empty" if empty else "it is of no known format, or has no pixels"
        raise ImageError(f"{path} cannot be read as an image: {told}") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{path} cannot be read as an image: {error}") from error


def read(source: str | Path | bytes, name: str | None = None) -> Image.Image | Array:
    """Read a file or its bytes: a NumPy file gives an array, all else a PIL image; `ImageError` names what is none."""
    start = source[:6] if isinstance(source, bytes) else b""
    if start != np.lib.format.MAGIC_PREFIX and (isinstance(source, bytes) or Path(source).suffix.lower() != ARRAYS):
        return open_image(source, name)
    path = name or ("the array" if isinstance(source, bytes) else str(source))
    try:
        array = np.load(io.BytesIO(source) if isinstance(source, bytes) else source, allow_pickle=False)
    except FileNotFoundError as error:
        raise ImageError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError) as error:
        raise ImageError(f"{path} cannot be read as a NumPy array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ImageError(f"{path} is an archive of arrays: save each as one .npy file")
    if array.size > 4 * MAXIMUM_PIXELS:
        raise ImageError(f"{path} has {array.size:,} values, more than {MAXIMUM_PIXELS:,} pixels of 4")
    return array


def pictures(names: Iterable[str]) -> list[str]:
    """Give those of some file names that are images, by suffix; NumPy files are where there is none with another.

    So arrays that lie beside images may be labels. Hidden files are none.
    """
    suffixes = {name: PurePosixPath(name).suffix.lower() for name in names}
    suffixes = {name: suffix for name, suffix in suffixes.items() if not PurePosixPath(name).name.startswith(".")}
    images = [name for name, suffix in suffixes.items() if suffix in SUFFIXES]
    return images or [name for name, suffix in suffixes.items() if suffix == ARRAYS]


def to_stored(image: Image.Image, name: str = "the image") -> Array:
    """Give a PIL image as an array (H, W) or (H, W, C), alpha included, in its own bit depth; `to_pil` goes back."""
    if image.mode in MODES:
        return np.array(image)
    if image.mode == "P" and _has_grey_palette(image):
        return np.array(image.convert("L"))
    if image.mode in ("I;16B", "I;16L", "I;16N", "I"):
        values = np.array(image)
        if values.min() >= 0 and values.max() <= 65535:
            return values.astype(np.uint16)
    remedy = REMEDIES.get(image.mode, f"convert it to one of {', '.join(MODES)}")
    raise ImageError(f"{name} has mode {image.mode}: {remedy}")


def to_pil(array: Array, mode: str) -> Image.Image:
    """Give a stored image as a PIL image of a mode that `to_stored` takes."""
    if mode == "P":
        return Image.fromarray(array).convert("P")  # with the grey palette
    if mode == "I":
        return Image.fromarray(array.astype(np.int32))
    return Image.fromarray(array.astype(">u2") if mode == "I;16B" else array)


def _has_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return "transparency" not in image.info and bool((palette == palette[:, :1]).all())


def check_stored(array: Array, name: str = "the image") -> None:
    """Raise `ImageError` where an array is no stored image: uint8 or uint16, (H, W), (H, W, 3) or with alpha."""
    if array.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name} has type {array.dtype}: give uint8 or uint16 (or a tensor in [-1, 1])")
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (2, 3, 4)):
        raise ImageError(f"{name} has shape {array.shape}: give (H, W), (H, W, 3), or either with alpha")
    if array.shape[0] < 16 or array.shape[1] < 16:
        raise ImageError(f"{name} is {array.shape[1]}×{array.shape[0]} pixels: at least 16×16 are needed")


def equalize(array: Array) -> Array:
    """Histogram-equalize (H, W), uint8 or uint16, as MPIIGaze's crops are; all but the identity when repeated."""
    if array.dtype == np.uint8:
        return cv2.equalizeHist(np.ascontiguousarray(array))
    values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(values) == 1:
        return array.copy()
    rank = np.cumsum(counts) - counts[0]
    return (rank * (65535 / rank[-1])).round().astype(array.dtype)[inverse].reshape(array.shape)


def to_tensor(planes: Array) -> Tensor:
    """Map stored images (B, H, W) or (B, H, W, C) to (B, C, H, W) float32 in [−1, 1]."""
    maximum = np.iinfo(planes.dtype).max
    values = torch.from_numpy(planes.astype(np.float32) * np.float32(2 / maximum) - 1)
    return values[:, None] if values.ndim == 3 else values.permute(0, 3, 1, 2)


def to_array(tensor: Tensor, dtype: Any) -> Array:
    """Map (B, C, H, W) in [−1, 1], clamped, to stored images (B, H, W) or (B, H, W, C), rounded to the nearest."""
    maximum = np.iinfo(dtype).max
    values = (tensor.float().clamp(-1, 1) + 1) * (maximum / 2)
    array = values.permute(0, 2, 3, 1).round().cpu().numpy().astype(dtype)
    return array[..., 0] if array.shape[-1] == 1 else array


def decode(data: bytes | str | Path, name: str | None = None) -> Array:
    """Read a file or its bytes as a stored image; `ImageError` names it (or `name`) where it is none."""
    image = read(data, name)
    told = name or ("the image" if isinstance(data, bytes) else str(data))
    return image if isinstance(image, np.ndarray) else to_stored(image, told)


def encode_png(array: Array) -> bytes:
    """Give a stored image, (H, W) or (H, W, C), alpha included, as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def encode_like(image: Image.Image | Array, source: Image.Image | Array, kind: str | None = None) -> bytes:
    """Give `image` as a file of that kind, its source's if not told; an array as a NumPy file.

    What a format holds beside pixels (profile, EXIF, texts) is the source's.
    """
    if not isinstance(image, Image.Image) or not isinstance(source, Image.Image):
        file = io.BytesIO()
        np.save(file, np.asarray(image))
        return file.getvalue()
    info, kind = source.info, kind or source.format
    settings: dict[str, Any] = {key: info[key] for key in ("icc_profile", "exif", "dpi") if info.get(key)}
    if kind == "JPEG":
        kept = getattr(source, "quantization", None)
        settings |= (
            {"qtables": kept, "subsampling": get_sampling(source)} if kept else {"quality": 95, "subsampling": 0}
        )
    elif kind == "WEBP":
        settings |= {"lossless": True, "exact": True}
    elif kind == "PNG":
        settings["pnginfo"] = PngInfo()
        for key, text in getattr(source, "text", {}).items():
            settings["pnginfo"].add_itxt(key, text)
    elif kind == "TIFF" and info.get("compression") in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        settings["compression"] = info["compression"]
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()
