"""Folders and archives alike: the names of their files, and a function that reads one."""

import re
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from simgan.errors import ImageError, SourceError
from simgan.refining.job import RECORD

ARCHIVES = {".zip": "zip", ".tar": "w", ".tgz": "w:gz", ".tar.gz": "w:gz"}  # else tarfile's mode
Read = Callable[[str], bytes]


def kind_of(path: Path) -> str | None:
    """Return how an archive is packed, by its name: "zip" or a mode of `tarfile`; None where it is no archive."""
    name = path.name.lower()
    return next((kind for suffix, kind in ARCHIVES.items() if name.endswith(suffix)), None)


def listing(source: Path) -> tuple[list[str], Read]:
    """Return the names of all files below a folder or in an archive, and the function that reads one of them.

    `SourceError` for an archive that cannot be read, or a name that leads out of it; reading a broken member raises
    `ImageError`.
    """
    try:
        names, read = _open(source)
    except Exception as error:  # broken archives raise any: IndexError, UnicodeDecodeError, NotImplementedError, …
        raise SourceError(f"{source} cannot be read as an archive: {error}") from error
    for name in names:
        if name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name):
            raise SourceError(f"{source} holds {name!r}, a name that leads out of it: pack it again")

    def read_member(name: str) -> bytes:
        try:
            return read(name)
        except Exception as error:
            raise ImageError(f"{name} in {source} cannot be read: {error}") from error

    return [name for name in names if name != RECORD], read_member


def _open(source: Path) -> tuple[Sequence[str], Read]:
    if source.is_dir():
        names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file())
        return names, lambda name: (source / name).read_bytes()
    if kind_of(source) == "zip":
        packed = zipfile.ZipFile(source)
        return list(dict.fromkeys(info.filename for info in packed.infolist() if not info.is_dir())), packed.read
    tape = tarfile.open(source)  # noqa: SIM115  (read from until the end)
    members = {member.name: member for member in tape.getmembers() if member.isfile()}

    def read(name: str) -> bytes:
        file = tape.extractfile(members[name])
        assert file is not None  # only files are listed
        return file.read()

    return list(members), read


def pack(kind: str, output: Path, folder: Path, names: list[str]) -> None:
    """Put files of a folder into an archive, under the same names and in their order."""
    if kind == "zip":
        with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in names:
                packed.write(folder / name, name)
    else:
        with tarfile.open(output, kind) as tape:  # type: ignore[call-overload]
            for name in names:
                tape.add(folder / name, name)
