"""What a visitor may send: the size of a file, of an image, and of all files of one event.

Files are measured before they are read: by their length and by the image's header.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from PIL import Image

from simgan.errors import ImageError
from simgan.images.files import FORMATS, open_image, read_size

UPLOAD_BYTES = 64 * 2**20  # of a file; Gradio refuses longer ones
FILE_BYTES = 16 * 2**20  # of an image
EVENT_BYTES = 64 * 2**20  # of all images of an event
PIXELS = 4_000_000  # of an image
EVENT_PIXELS = 16_000_000  # of all images of an event
COUNT = 32  # images of an event


def check_files(paths: Sequence[str]) -> None:
    """Raise `ImageError` where an event has no image, too many, or too many bytes."""
    if not paths:
        raise ImageError("There is no image yet: upload one, paste one, or pick an example")
    if len(paths) > COUNT:
        raise ImageError(f"{len(paths)} images are too many at once: at most {COUNT} are taken here")
    sizes = [Path(path).stat().st_size for path in paths]
    largest = max(sizes)
    if largest > FILE_BYTES:
        raise ImageError(f"{name(paths[sizes.index(largest)])} has {_megabytes(largest, FILE_BYTES)}")
    if sum(sizes) > EVENT_BYTES:
        raise ImageError(f"The images have {_megabytes(sum(sizes), EVENT_BYTES)}: send fewer at once")


def check_pixels(pixels: Sequence[int]) -> None:
    """Raise `ImageError` where the images of an event have too many pixels together."""
    if sum(pixels) > EVENT_PIXELS:
        raise ImageError(f"The images have {sum(pixels):,} pixels: at most {EVENT_PIXELS:,} are taken at once here")


def _megabytes(size: int, limit: int) -> str:
    return f"{size / 2**20:.0f} MB: at most {limit / 2**20:.0f} are taken here"


def open_upload(path: str | Path) -> Image.Image:
    """Read an image that a visitor sent; `ImageError` names the file, without its folder."""
    file = Path(path)
    check_files([str(path)])
    count_pixels(file, file.name)
    return open_image(file.read_bytes(), file.name)


def count_pixels(file: Path | IO[bytes], name: str) -> int:
    """Return the number of pixels of an image by its header; `ImageError` where it is no image, or too large."""
    try:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
            width, height = read_size(opened, name)
    except ImageError as error:
        raise ImageError(f"{name} is no image that can be read here: send one of {', '.join(FORMATS)}") from error
    if width * height > PIXELS:
        raise ImageError(f"{name} has {width}×{height} pixels: at most {PIXELS:,} are taken here")
    return width * height


def name(path: str | Path) -> str:
    """Return the name by which a visitor knows a file."""
    return Path(path).name
