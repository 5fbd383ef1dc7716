"""Folders and archives: the names of their files, what is in each, and archives written with the same names."""

import os
import re
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from simgan.errors import ImageError, SourceError
from simgan.refining.job import LOCK, RECORD
from simgan.refining.places import is_remote, listed

ARCHIVES = {
    ".zip": "zip",
    ".tar": "w",
    **dict.fromkeys((".tgz", ".tar.gz"), "w:gz"),
    **dict.fromkeys((".tbz2", ".tar.bz2"), "w:bz2"),
    **dict.fromkeys((".txz", ".tar.xz"), "w:xz"),
}
"""How archives are packed, by the ends of their names: "zip" or a mode of `tarfile`."""
UNREAD = (".7z", ".rar", ".zst", ".gz", ".bz2", ".xz", ".lz4", ".cab", ".iso")  # of other archives
_UTF8 = 0x800  # the flag of a ZIP entry whose name is UTF-8; in others it has the code page of whoever packed it


class Member(NamedTuple):
    """A file of a folder or an archive: the name that it is packed by, and the function that reads it."""

    packed: str | bytes  # bytes where a ZIP does not say which code page they have
    read: Callable[[], bytes]
    stamp: list[int] | None = None  # numbers that change when a remote file is exchanged


def kind_of(path: Any) -> Any:
    """Return how an archive is packed, by its name: "zip" or a mode of `tarfile`; None where it is no archive."""
    return next((kind for suffix, kind in ARCHIVES.items() if path.name.lower().endswith(suffix)), None)


def listing(source: Path) -> tuple[list[str], Callable[[str], bytes]]:
    """Return the names of all files in a folder or an archive, with "/", and the function that reads one of them.

    `SourceError`: a broken archive, or a name that leads out of it. Reading a broken member raises `ImageError`.
    """
    found = members(source)
    return list(found), lambda name: read_member(found, source, name)


def read_member(found: Mapping[str, Member], source: Path, name: str) -> bytes:
    """Return what a member holds; `ImageError` where it is broken."""
    try:
        return found[name].read()
    except Exception as error:
        raise ImageError(f"{name} in {source} cannot be read: {error}") from error


def members(source: Any) -> dict[str, Member]:
    """Return all files of a folder or an archive by their names, with "/" and no "./"; links are followed within it."""
    if is_remote(source):
        facts = {name: told for name, told in listed(source).items() if name not in (RECORD, LOCK)}
        return {name: Member(name, (source / name).read_bytes, _stamp(told)) for name, told in facts.items()}
    try:
        read = _of_folder if source.is_dir() else _of_zip if kind_of(source) == "zip" else _of_tar
        entries = [(PurePosixPath(name).as_posix(), member) for name, member in read(source)]
    except Exception as error:  # broken archives raise any: IndexError, UnicodeDecodeError, NotImplementedError, …
        raise SourceError(f"{source} cannot be read as an archive: {error}") from error
    found = dict(entries)
    if twice := len(entries) - len(found):
        first = next(name for number, (name, _) in enumerate(entries) if found[name] is not entries[number][1])
        raise SourceError(f"{source} holds {twice} names twice, such as {first}: unpack it, and give the folder")
    for name in found if source.is_file() else ():
        if re.match(r"[/\\]|[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):  # on any system
            raise SourceError(f"{source} holds {name!r}, a name that leads out of it: pack it again")
    return {name: member for name, member in found.items() if name not in (RECORD, LOCK)}


def _stamp(told: Mapping[str, Any]) -> list[int]:
    """Return numbers of what a file system tells of a file: its size, and a hash of times, tags and all else."""
    facts = sorted((key, str(value)) for key, value in told.items())
    return [int(told.get("size") or 0), zlib.crc32(repr(facts).encode())]


def _of_folder(folder: Path) -> Iterator[tuple[str, Member]]:
    found: list[Path] = []
    lost: list[str] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        turns = {name for name in folders if (here / name).is_symlink() and _leads_back(here / name)}
        folders[:] = [name for name in folders if name not in turns]
        found += (here / name for name in names if (here / name).is_file())
        lost += (str(here / name) for name in names if not (here / name).exists())
        lost += (str(here / name) for name in turns)
    _tell_of_links(lost, folder)
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in found):
        yield name, Member(name, path.read_bytes)


def _leads_back(link: Path) -> bool:
    """Return whether following a link to a folder comes to the link again."""
    target = link.resolve()
    return any(parent.resolve().is_relative_to(target) for parent in link.parents)


def _of_zip(source: Path) -> Iterator[tuple[str, Member]]:
    archive = zipfile.ZipFile(source)
    for info in archive.infolist():
        if not info.is_dir():
            if info.flag_bits & _UTF8:
                packed: str | bytes = (name := info.orig_filename.replace("\\", "/"))
            else:  # `zipfile` took it for code page 437
                # in Chinese and Japanese code pages the second byte of a character may be that of "\\"
                characters = rb"([\x81-\xfe][\x40-\xfe])|\\"
                raw = re.sub(characters, lambda found: found[1] or b"/", info.orig_filename.encode("cp437"))
                name = _text(raw)
                packed = name if raw.isascii() else raw
            yield name, _of_entry(packed, archive, info)


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text(name: bytes) -> str:
    return name.decode("utf-8" if _is_utf8(name) else "cp437")


def _of_entry(packed: str | bytes, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    return Member(packed, lambda: archive.read(info))


def _of_tar(source: Path) -> Iterator[tuple[str, Member]]:
    archive = tarfile.open(source)  # noqa: SIM115  (read from until the end)
    lost = []
    for info in archive.getmembers():
        try:
            file = archive.extractfile(info)  # of a link what it leads to
        except (KeyError, RecursionError):
            file = None
        if file:
            yield info.name, Member(info.name, _reader(archive, info))
        elif info.issym() or info.islnk():
            lost.append(info.name)
    _tell_of_links(lost, source)


def _reader(archive: Any, info: tarfile.TarInfo) -> Callable[[], bytes]:
    return lambda: archive.extractfile(info).read()


def _tell_of_links(lost: list[str], source: Path) -> None:
    if lost:
        told = f"{len(lost)} links lead to no file in it, such as {lost[0]}"
        warnings.warn(f"{source}: {told}; they are left out", stacklevel=2)


class _Entry(zipfile.ZipInfo):
    """An entry of a ZIP whose name is bytes of any code page, written as they are."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~_UTF8


def pack(output: Path, mode: Any, files: Iterable[tuple[Path, str | bytes]]) -> None:
    """Write files into an archive of the kind `mode`, see `kind_of`, by these names."""
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) if mode == "zip" else tarfile.open(output, mode) as archive:
        for path, name in files:
            raw, text = (os.fsencode(name), name) if isinstance(name, str) else (name, _text(name))
            if isinstance(archive, tarfile.TarFile):
                archive.add(path, text)
            elif isinstance(name, str) and _is_utf8(raw):
                archive.write(path, text)
            else:
                entry = _Entry(text)
                entry.raw = raw
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
