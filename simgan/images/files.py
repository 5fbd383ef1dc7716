"""Image files: read whole as PIL images or arrays, and written in the format that they came in."""

import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import get_sampling
from PIL.PngImagePlugin import PngInfo

from simgan.errors import ImageError
from simgan.images.arrays import Array, to_stored

MAXIMUM_PIXELS = 64_000_000
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".jp2", ".pgm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
ARRAYS = ".npy"
# What Pillow decodes by itself; others start programs (EPS) or are no images that a refiner takes.
FORMATS = ("PNG", "JPEG", "JPEG2000", "BMP", "GIF", "PPM", "TGA", "TIFF", "WEBP")


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
