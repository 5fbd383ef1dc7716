"""Image files: read whole as PIL images or arrays, or refused by `ImageError`; written in the format they came in."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo

from simgan.errors import ImageError
from simgan.images.names import is_stray

Array = np.ndarray[Any, Any]

MAXIMUM_PIXELS = 64_000_000
FRAMES = 8  # of a file; no more are counted, because a file of a few megabytes can hold a million
SCANS = 100  # of a JPEG file; progressive ones have about 10, and each costs as much time as the whole image
SUFFIXES = {
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".jp2"),
    *(".pgm", ".ppm", ".pnm", ".tga", ".tif", ".tiff", ".webp"),
}
_RAW = dict.fromkeys((".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"), "a raw photograph")
_OTHERS = {
    **{".avif": "AVIF", ".heic": "HEIC", ".heif": "HEIF", ".jxl": "JPEG XL", ".mpo": "MPO", ".psd": "Photoshop's"},
    **{
        ".exr": "OpenEXR",
        ".hdr": "Radiance HDR",
        ".pfm": "PFM, of floats",
        ".dds": "DDS",
        ".svg": "SVG",
        ".dcm": "DICOM",
    },
    **{".pbm": "PBM, of 1 bit", ".pam": "PAM", ".qoi": "QOI", ".j2k": "JPEG 2000 without a header", ".dib": "DIB"},
    **_RAW,
}
ARRAYS = ".npy"
# The formats that Pillow decodes by itself. Others start programs (EPS), or are no images that a refiner takes.
FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "TIFF", "WEBP")
_TURNS = dict(enumerate((0, 3, 1, 5, 4, 6, 2), start=2))  # by EXIF orientation, as `Image.Transpose`
Source = str | Path | bytes | IO[bytes]


def open_image(source: Source, name: str | None = None) -> Image.Image:
    """Read a still image of 8 or 16 bits from a file or its bytes; `ImageError` says what is wrong with another one.

    Pixels are as they are stored, see `upright`. 16 bits of PGM keep the numbers of the file, whose greatest is
    `info["maxval"]` where that is not 65535.
    """
    with _decoding(source, name, "an image") as (file, path), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAXIMUM_PIXELS:
            raise ImageError(f"{path} has {image.width}×{image.height} pixels, more than {MAXIMUM_PIXELS:,}")
        if image.format == "MPO":  # a photograph of a camera or a phone, with smaller ones or maps of it behind
            image.format = "JPEG"
        else:
            _check_frames(image, path)
        if image.mode in ("LA", "RGB", "RGBA") and _is_deep(image, file):
            raise ImageError(f"{path} has 16 bits a channel, of which Pillow keeps 8: read it as an array instead")
        if image.format == "JPEG":
            file.seek(0)
            scans = file.read().count(b"\xff\xda")  # the marker that begins one
            if scans > SCANS:
                raise ImageError(f"{path} is a JPEG file of {scans:,} scans, which takes too long: save it again")
        maxval = image.tile[0][3][1] if image.format == "PPM" and isinstance(image.tile[0][3], tuple) else None
        image.load()
        return _unscaled(image, int(maxval)) if image.mode == "I" and maxval else image


def _check_frames(image: ImageFile, path: str) -> None:
    frames = 1  # counted here, as `n_frames` walks through all of them
    with suppress(EOFError):
        while getattr(image, "is_animated", False) and frames < FRAMES:
            image.seek(frames)
            frames += 1
    more = " or more" if frames == FRAMES else ""
    if frames > 1 and image.format == "TIFF":
        raise ImageError(f"{path} has {frames}{more} pages: save the page to be refined")
    if frames > 1:
        raise ImageError(f"{path} is animated ({frames}{more} frames): save the frame to be refined")


def _is_deep(image: ImageFile, file: IO[bytes]) -> bool:
    """Return whether the channels of an image have more bits in the file than the 8 that Pillow reads."""
    settings: Any = image.tile[0][3] if image.tile else ()
    if image.format == "JPEG2000":
        file.seek(0)
        _, _, sizes = file.read().partition(b"\xff\x51")  # of the codestream, with the bits of each channel
        return sizes[38] & 127 > 7
    is_ppm = image.format == "PPM" and isinstance(settings, tuple)
    return int(settings[1]) > 255 if is_ppm else ";16" in str(settings)


def _unscaled(image: Image.Image, maxval: int) -> Image.Image:
    """Return a PGM image of 16 bits with the numbers of its file, which Pillow scaled to 65535."""
    values = np.rint(np.asarray(image) * (maxval / 65535))
    found = Image.fromarray(values.astype(np.uint16))
    found.format, found.info = "PPM", {"maxval": maxval}
    return found


def upright(image: Image.Image | Array) -> Image.Image | Array:
    """Return an image turned as its EXIF orientation says: so every viewer shows it."""
    turn = _TURNS.get(_orientation(image)) if isinstance(image, Image.Image) else None
    return image if turn is None else image.transpose(Image.Transpose(turn))


def _orientation(image: Image.Image) -> Any:
    """Return the EXIF orientation by what is read of a file so far: 1 where there is none, or broken EXIF."""
    try:
        return Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except Exception:  # of all kinds; viewers show such images as they are stored, too
        return 1


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
    """Return what an image, upright, or a NumPy file is by its header alone; `ImageError` where it is neither."""
    with _decoding(source, name, "an image") as (file, _):
        is_array = file.read(6) == npy.MAGIC_PREFIX
        file.seek(0)
        if is_array:
            shape, dtype = _read_header(file)
            return Kind(shape[1], shape[0], 3 if shape[2:] in ((3,), (4,)) else 1, dtype.itemsize > 1)
        with Image.open(file, formats=FORMATS) as image:
            deep = image.mode in ("I", "F") or ";16" in image.mode
            turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
            size = image.size[::-1] if turned else image.size  # of TIFF Pillow has turned it
            return Kind(*size, 1 if deep or image.mode in ("1", "L", "LA") else 3, deep)


_REASONS = (
    (FileNotFoundError, "does not exist"),
    (Image.DecompressionBombError, f"has too many pixels: more than {MAXIMUM_PIXELS:,}"),
    (MemoryError, "takes more memory to read than there is: save it in another format"),
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
    except UnidentifiedImageError as error:
        if other := unread(path):
            raise ImageError(f"{path} is {other}, which is not read: save it as PNG") from error
        raise ImageError(
            f"{path} cannot be read as an image: it is empty, of no known format, or has no pixels"
        ) from error
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


def unread(name: str) -> str | None:
    """Return of which kind an image is that is not read, by its name; None for images that are, and other files."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES and suffix.startswith(tuple(SUFFIXES)):
        return f"an image with the suffix {suffix}"
    return _OTHERS.get(suffix) if not is_stray(name) else None


def decode(data: bytes | str | Path, name: str | None = None) -> Array:
    """Read a file or its bytes as a stored image, upright; `ImageError` names it (or `name`) where it is none."""
    from simgan.images.arrays import to_stored  # needs PyTorch, which nothing else here does

    image = upright(read(data, name))
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
    used = ("icc_profile", "exif", "dpi", "compression", "transparency", "maxval")
    plain.info = {key: value for key, value in image.info.items() if key in used}
    attributes = {key: getattr(image, key, None) for key in ("format", "quantization", "text")}
    return plain, attributes | {"subsampling": get_sampling(image)}


def attach(image: Image.Image, attributes: dict[str, Any]) -> Image.Image:
    """Return the image that was detached: with a format, though without a file."""
    for key, value in attributes.items():
        if value is not None:
            setattr(image, key, value)
    return image


HOLDS = {
    "JPEG": ("L", "RGB"),
    "BMP": ("L", "RGB"),
    "GIF": ("L",),
    "PPM": ("L", "RGB", "I", "I;16", "I;16B"),
    "TGA": ("L", "LA", "RGB", "RGBA"),
    "WEBP": ("L", "LA", "RGB", "RGBA"),
}
"""Modes that a format holds without a loss of bits or alpha; the other formats hold all."""


def encode_like(
    image: Image.Image | Array, source: Image.Image | Array, kind: str | None = None, name: str = "the file"
) -> bytes:
    """Return the bytes of a file as `source`, with its profile, EXIF, texts and JPEG tables, or of another `kind`.

    `ImageError` names the file where that kind would lose bits, colours or alpha.
    """
    if not isinstance(image, Image.Image) or not isinstance(source, Image.Image):
        file = io.BytesIO()
        np.save(file, np.asarray(image))
        return file.getvalue()
    info, kind = source.info, kind or source.format
    if kind != source.format:
        image = image.convert("L") if image.mode == "P" else image  # of greys
        if image.mode not in HOLDS.get(str(kind), (image.mode,)):
            raise ImageError(f"{name} cannot hold an image of mode {image.mode} as {kind}: name it .png or .tiff")
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
        if isinstance(info.get("transparency"), int | tuple) and source.mode != "P":
            image, settings["transparency"] = _with_key(image, source), info["transparency"]
    elif kind == "TIFF" and info.get("compression") in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        settings["compression"] = info["compression"]
    elif kind == "PPM" and "maxval" in image.info:
        values = np.asarray(image)
        top = image.info["maxval"] if values.max() <= image.info["maxval"] else 65535
        return b"P5\n%d %d\n%d\n" % (*image.size, top) + values.astype(">u2").tobytes()
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def _with_key(image: Image.Image, source: Image.Image) -> Image.Image:
    """Return a refined image in which those pixels alone have the colour that means transparent that had it before."""
    key, before, after = np.array(source.info["transparency"]), np.asarray(source), np.array(image)
    clear, alike = (np.all(np.atleast_3d(values == key), 2) for values in (before, after))
    after[alike] ^= 1  # the next level
    after[clear] = key
    return Image.fromarray(after)
