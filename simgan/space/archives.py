"""Which archives a visitor may send; each error names the file, the limit, and what to do instead.

Everything is measured before it is unpacked or decoded: an image by its header, an archive by its directory. `zipfile`
reads no more of a file than the directory says.
"""

import re
import stat
import struct
import zipfile
from collections import Counter
from pathlib import Path

from simgan.errors import ImageError, SourceError
from simgan.images.files import SUFFIXES, pictures
from simgan.space import limits

FILES = 2_000  # in an archive, or at once
UNPACKED = 256 * 2**20  # bytes of all files of an archive
RATIO = 200  # unpacked to packed; photographs reach 2, renders with plain backgrounds 50
DIRECTORY = 4 * 2**20  # bytes of an archive's directory, which is read whole
NAME = 200  # bytes of each part of a file's name

_END = struct.Struct("<4s4H2LH")  # the record that ends an archive (APPNOTE 4.3.16)
_END_64 = b"PK\x06\x07"  # in archives beyond 4 GiB or 65,535 files


def check_count(count: int) -> None:
    """Raise `SourceError` for more files at once than are allowed."""
    if count > FILES:
        raise SourceError(f"{count:,} files are too many: send at most {FILES:,} at once")


def check_size(unpacked: int, name: str) -> None:
    """Raise `SourceError` for files with more bytes together than are allowed."""
    if unpacked > UNPACKED:
        raise SourceError(f"{name} unpacks to {unpacked / 2**20:,.0f} MB: send at most {UNPACKED // 2**20} MB at once")


def check_archive(file: Path, name: str) -> dict[str, int]:
    """Return the images of a ZIP and their numbers of pixels; `SourceError` or `ImageError` if it is refused.

    That is an archive that is broken, encrypted, too large, or too strongly compressed, one with links, with names that
    lead out of it, or with a name twice. An archive in the archive is copied as a file.
    """
    if (size := file.stat().st_size) > limits.UPLOAD_BYTES:
        raise SourceError(f"{name} has {size / 2**20:.0f} MB: at most {limits.UPLOAD_BYTES / 2**20:.0f} are taken here")
    _check_directory(file, name)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(entries, size, name)
            images = {}
            for image in pictures(entry.filename for entry in entries):
                with archive.open(image) as member:
                    images[image] = limits.count_pixels(member, f"{image} in {name}")
    except (ImageError, SourceError):
        raise
    except Exception as error:  # broken archives raise any: zlib.error, IndexError, NotImplementedError, …
        raise SourceError(f"{name} cannot be read as a ZIP archive: {error}") from error
    if not images:
        raise SourceError(f"{name} holds no images; their names end in {', '.join(sorted(SUFFIXES))}")
    return images


def check_name(name: str, archive: str) -> None:
    """Raise `SourceError` for the name of a file in an archive that leads out of it, or that no folder takes."""
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise SourceError(f"{archive} holds {name!r}, a name that leads out of it: pack it again")
    if not name or not name.isprintable() or any(len(part.encode()) > NAME for part in parts) or len(parts) > 20:
        raise SourceError(f"{archive} holds the name {name[:60]!r}, which no folder takes: name the file otherwise")


def _check_directory(file: Path, name: str) -> None:
    """Raise `SourceError` where the directory of an archive is too large, before `zipfile` reads all of it."""
    with file.open("rb") as archive:
        archive.seek(max(0, file.stat().st_size - _END.size - 2**16))
        tail = archive.read()
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + _END.size:
        raise SourceError(f"{name} is no whole ZIP archive: pack the folder as .zip and send that")
    length = _END.unpack_from(tail, place)[5]
    if length > DIRECTORY or _END_64 in tail[max(0, place - 20) : place]:
        raise SourceError(f"{name} lists more files than are taken: send at most {FILES:,}")


def _check_entries(entries: list[zipfile.ZipInfo], packed: int, name: str) -> None:
    if len(entries) > FILES:
        raise SourceError(f"{name} holds {len(entries):,} files: send at most {FILES:,}")
    for entry in entries:
        check_name(entry.filename, name)
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise SourceError(f"{name} holds a link, {entry.filename}: pack the file that it points to")
        if entry.flag_bits & 1:
            raise SourceError(f"{name} is encrypted: pack it without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile reads others without bound
            raise SourceError(f"{name} is packed by a rare method: pack it with deflate, as most programs do")
    twice = [entry for entry, count in Counter(entry.filename for entry in entries).items() if count > 1]
    if twice:
        raise SourceError(f"{name} holds {twice[0]} more than once: pack it again")
    unpacked = sum(entry.file_size for entry in entries)
    check_size(unpacked, name)
    if unpacked > RATIO * packed:
        raise SourceError(f"{name} unpacks to {unpacked // packed:,} times its size, as no folder of images does")
