"""Image files: read whole as PIL images or arrays, or refused by `ImageError`; written in the format they came in."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo

from simgan.errors import ImageError
from simgan.images.names import is_stray

Array = np.ndarray[Any, Any]

MAXIMUM_PIXELS = 64_000_000
FRAMES = 8  # of a file; no more are counted, because a file of a few megabytes can hold a million
SCANS = 100  # of a JPEG file; progressive ones have about 10, and each costs as much time as the whole image
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".jp2", ".pgm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
ARRAYS = ".npy"
# The formats that Pillow decodes by itself. Others start programs (EPS), or are no images that a refiner takes.
FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "TIFF", "WEBP")
Source = str | Path | bytes | IO[bytes]


def open_image(source: Source, name: str | None = None) -> Image.Image:
    """Read a still image of 8 or 16 bits from a file or its bytes; `ImageError` says what is wrong with another one."""
    with _decoding(source, name, "an image") as (file, path), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ImageError(f"{path} has {image.width}×{image.height} pixels, more than {MAXIMUM_PIXELS:,}")
        frames = 1  # counted here, as `n_frames` walks through all of them
        with suppress(EOFError):
            while getattr(image, "is_animated", False) and frames < FRAMES:
                image.seek(frames)
                frames += 1
        if frames > 1:
            more = " or more" if frames == FRAMES else ""
            raise ImageError(f"{path} is animated ({frames}{more} frames): save the frame to be refined")
        if image.mode in ("LA", "RGB", "RGBA") and any(";16" in str(tile[3]) for tile in image.tile):
            raise ImageError(f"{path} has 16 bits a channel, of which Pillow keeps 8: read it as an array instead")
        if image.format == "JPEG":
            file.seek(0)
            scans = file.read().count(b"\xff\xda")  # the marker that begins one
            if scans > SCANS:
                raise ImageError(f"{path} is a JPEG file of {scans:,} scans, which takes too long: save it again")
        image.load()
        return image


def read(source: str | Path | bytes, name: str | None = None) -> Image.Image | Array:
    """Read a file or its bytes: a NumPy file as an array, others as PIL images; `ImageError` where it is neither."""
    is_array = source[:6] == npy.MAGIC_PREFIX if isinstance(source, bytes) else Path(source).suffix.lower() == ARRAYS
    if not is_array:
        return open_image(source, name)
    with _decoding(source, name, "a NumPy array") as (file, path):
        shape, dtype = _read_header(file)
        values, begin = math.prod(shape), file.tell()
        if values > 4 * MAXIMUM_PIXELS:
            raise ImageError(f"{path} has {values:,} values, more than {MAXIMUM_PIXELS:,} pixels of 4")
        if values * dtype.itemsize > file.seek(0, io.SEEK_END) - begin:
            raise ImageError(f"{path} ends before its {values:,} values of {dtype}: the file is truncated")
        file.seek(0)
        return np.load(file, allow_pickle=False)


class Kind(NamedTuple):
    """What the header of an image tells."""

    width: int
    height: int
    channels: int  # 1 (grey) or 3 (colour), alpha not counted
    deep: bool  # more than 8 bits


def read_kind(source: Source, name: str | None = None) -> Kind:
    """Return what an image or a NumPy file is by its header alone; `ImageError` where it is neither."""
    with _decoding(source, name, "an image") as (file, _):
        is_array = file.read(6) == npy.MAGIC_PREFIX
        file.seek(0)
        if is_array:
            shape, dtype = _read_header(file)
            return Kind(shape[1], shape[0], 3 if shape[2:] in ((3,), (4,)) else 1, dtype.itemsize > 1)
        with Image.open(file, formats=FORMATS) as image:
            deep = image.mode in ("I", "F") or ";16" in image.mode
            return Kind(*image.size, 1 if deep or image.mode in ("1", "L", "LA") else 3, deep)


_REASONS = (
    (FileNotFoundError, "does not exist"),
    (Image.DecompressionBombError, f"has too many pixels: more than {MAXIMUM_PIXELS:,}"),
    (MemoryError, "takes more memory to read than there is: save it in another format"),
    (UnidentifiedImageError, "cannot be read as an image: it is empty, of no known format, or has no pixels"),
)


@contextmanager
def _decoding(source: Source, name: str | None, kind: str) -> Iterator[tuple[IO[bytes], str]]:
    """Open a file, or its bytes, and tell its name; all that a decoder raises becomes an `ImageError` that has it."""
    path = name or ("the image" if isinstance(source, bytes) else str(source))
    try:
        if isinstance(source, bytes):
            source = io.BytesIO(source)
        with Path(source).open("rb") if isinstance(source, str | Path) else source as file:
            yield file, path
    except ImageError:
        raise
    except Exception as error:  # TypeError, OverflowError, struct.error and others, by format
        other = f"cannot be read as {kind}: {str(error) or type(error).__name__}"
        raise ImageError(f"{path} {next((told for t, told in _REASONS if isinstance(error, t)), other)}") from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of a NumPy file of plain numbers; `ValueError` where it is none."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in readers:
        raise ValueError(f"its version {version} is none of plain numbers")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject or dtype.fields or dtype.itemsize == 0 or any(length < 0 for length in shape):
        raise ValueError(f"it holds no plain numbers, but {dtype} of shape {shape}")
    return shape, dtype


def pictures(names: Iterable[str]) -> list[str]:
    """Return the images that are not stray; NumPy files, which may be labels, only if there are no others."""
    suffixes = {name: PurePosixPath(name).suffix.lower() for name in names if not is_stray(name)}
    images = [name for name, suffix in suffixes.items() if suffix in SUFFIXES]
    return images or [name for name, suffix in suffixes.items() if suffix == ARRAYS]


def decode(data: bytes | str | Path, name: str | None = None) -> Array:
    """Read a file or its bytes as a stored image; `ImageError` names it (or `name`) where it is none."""
    from simgan.images.arrays import to_stored  # needs PyTorch, which nothing else here does

    image = read(data, name)
    with _decoding(data, name, "an image") as (_, path):
        return image if isinstance(image, np.ndarray) else to_stored(image, path)


def encode_png(array: Array) -> bytes:
    """Return a stored image, (H, W) or (H, W, C) with or without alpha, as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def detach(image: Image.Image) -> tuple[Image.Image, dict[str, Any]]:
    """Return an image without its file, which can be pickled, and the attributes that `encode_like` needs beside it."""
    plain = image.copy()
    used = ("icc_profile", "exif", "dpi", "compression", "transparency")
    plain.info = {key: value for key, value in image.info.items() if key in used}
    attributes = {key: getattr(image, key, None) for key in ("format", "quantization", "text")}
    return plain, attributes | {"subsampling": get_sampling(image)}


def attach(image: Image.Image, attributes: dict[str, Any]) -> Image.Image:
    """Return the image that was detached: with a format, though without a file."""
    for key, value in attributes.items():
        if value is not None:
            setattr(image, key, value)
    return image


def encode_like(image: Image.Image | Array, source: Image.Image | Array, kind: str | None = None) -> bytes:
    """Return the bytes of a file as `source`, with its profile, EXIF, texts and JPEG tables, or of another `kind`."""
    if not isinstance(image, Image.Image) or not isinstance(source, Image.Image):
        file = io.BytesIO()
        np.save(file, np.asarray(image))
        return file.getvalue()
    info, kind = source.info, kind or source.format
    settings: dict[str, Any] = {key: info[key] for key in ("icc_profile", "exif", "dpi") if info.get(key)}
    if kind == "JPEG":
        kept = getattr(source, "quantization", None)
        sampling = source.subsampling if hasattr(source, "subsampling") else get_sampling(source)  # of `attach`
        settings |= {"qtables": kept, "subsampling": sampling} if kept else {"quality": 95, "subsampling": 0}
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
