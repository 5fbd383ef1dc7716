"""What a visitor may send: sizes of files and images, how many, and how much work that is."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import IO

from numpy.lib.format import MAGIC_PREFIX, read_array_header_1_0, read_array_header_2_0, read_magic
from PIL import Image
from torch import nn

from simgan.errors import ImageError
from simgan.images.files import FORMATS, open_image

UPLOAD_BYTES = 64 * 2**20  # of any file: what Gradio takes
FILE_BYTES = 16 * 2**20  # of an image
PIXELS = 4_000_000  # of an image
COUNT = 32  # images of one event
WORK = 10**12  # multiplications of one event: about ten seconds on two cores


def open_upload(path: str | Path) -> Image.Image:
    """Read an image that a visitor sent; `ImageError`, which names the file alone, where it is none or too large."""
    file = Path(path)
    if (size := file.stat().st_size) > FILE_BYTES:
        raise ImageError(f"{file.name} has {size / 2**20:.0f} MB: at most {FILE_BYTES / 2**20:.0f} are taken here")
    count_pixels(file, file.name)
    return open_image(file.read_bytes(), file.name)


def count_pixels(file: Path | IO[bytes], name: str) -> int:
    """Give the pixels of an image by its header alone; `ImageError` where it is none that is taken here."""
    try:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as opened:
            is_array = opened.read(len(MAGIC_PREFIX)) == MAGIC_PREFIX
            opened.seek(0)
            width, height = _array_size(opened) if is_array else _image_size(opened)
    except (OSError, SyntaxError, ValueError, KeyError, Image.DecompressionBombError) as error:
        raise ImageError(f"{name} is no image that can be read here: send one of {', '.join(FORMATS)}") from error
    if width * height > PIXELS:
        raise ImageError(f"{name} has {width}×{height} pixels: at most {PIXELS:,} are taken here")
    return width * height


def _image_size(file: IO[bytes]) -> tuple[int, int]:
    with Image.open(file, formats=FORMATS) as image:
        return image.size


def _array_size(file: IO[bytes]) -> tuple[int, int]:
    read_header = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}[read_magic(file)]
    height, width = read_header(file)[0][:2]
    return width, height


def check_count(files: Sequence[object]) -> None:
    """Raise `ImageError` where one event brings no image or too many."""
    if not files:
        raise ImageError("There is no image yet: upload one, paste one, or pick an example")
    if len(files) > COUNT:
        raise ImageError(f"{len(files)} images are too many at once: at most {COUNT} are taken here")


def check_work(network: nn.Module, pixels: int) -> None:
    """Raise `ImageError` where refining that many pixels would hold up all others."""
    weights = sum(parameter.numel() for parameter in network.parameters())
    if weights * pixels > WORK:
        raise ImageError(f"This model takes {WORK // weights:,} pixels at once here, not {pixels:,}: use fewer of them")


def name(path: str | Path) -> str:
    """Give the name under which a visitor knows a file."""
    return Path(path).name
