"""Where files lie: on a disk, or on any file system of `fsspec`, such as s3:// or hf://; each is written whole."""

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from simgan.errors import SourceError, reason


def place_of(name: str | Path) -> Any:
    """Return a `Path`, or a `upath.UPath` for an address such as s3://bucket/folder, which behaves like one.

    `SourceError` where the package for such addresses is not installed.
    """
    if isinstance(name, Path) or "://" not in str(name):
        return Path(name).expanduser() if isinstance(name, str | Path) else name
    try:
        from upath import UPath

        place = UPath(name)
        place.fs  # noqa: B018  (imports what this kind of address needs)
    except (ImportError, ValueError) as error:
        raise SourceError(
            f"{name} cannot be reached: {reason(error)}; pip install simgan[cli] and the package for such addresses"
        ) from error
    return place


def is_remote(place: Any) -> bool:
    """Return whether a place is not on a disk of this machine."""
    return not isinstance(place, Path)


def exists(place: Any) -> bool:
    """Return whether there is a file or folder; a remote store that does not answer raises its own error."""
    if not is_remote(place):
        return bool(place.exists())
    try:
        place.fs.info(place.path)
    except FileNotFoundError:
        return False
    return True


def found_in(folder: Any) -> Callable[[str], bool]:
    """Return the function that tells whether a folder has a file of this name; a remote one is listed once."""
    if not is_remote(folder):
        return lambda name: (folder / name).is_file()
    return listed(folder).__contains__


def listed(folder: Any) -> dict[str, dict[str, Any]]:
    """Return all files of a remote folder by their names, with "/", and what its file system tells of each."""
    folder.fs.invalidate_cache()
    if not folder.fs.exists(folder.path):
        return {}
    files = folder.fs.find(folder.path, detail=True)
    return {path.removeprefix(folder.path.rstrip("/")).lstrip("/"): told for path, told in sorted(files.items())}


def stamp_of(path: Path) -> list[int]:
    """Return numbers that change when a file is exchanged: its size and its times."""
    found = path.stat()  # copies may keep the time of the data, but not that of the file
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def aside(path: Any, suffix: str) -> Any:
    """Return a hidden name beside a path; names may have 255 bytes, so it has a hash of a long one."""
    name = os.fsencode(path.name)
    return path.with_name(f".{path.name if len(name) < 200 else f'{zlib.crc32(name):08x}'}{suffix}")


@contextmanager
def alone(lock: Any, output: Any) -> Iterator[None]:
    """Hold a lock, which ends with the process; `SourceError` where another one has it. Remote places have none."""
    if is_remote(lock):
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                with suppress(OSError):  # on Windows, where it is open
                    lock.unlink()
    except Timeout as error:
        raise SourceError(f"{output} is being written by another run: wait for it, or give another output") from error


def write(path: Any, data: bytes) -> None:
    """Write a file aside, then rename it: it is there whole, or not at all, as an object of a remote store is."""
    if is_remote(path):
        path.fs.pipe_file(path.path, data)  # as `write_bytes` of a path on the Hub is refused
        return
    place = aside(path, ".part")
    try:
        try:
            place.write_bytes(data)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        place.replace(path)
    finally:
        place.unlink(missing_ok=True)


def delete(path: Any) -> None:
    """Delete a file, if it is there."""
    if is_remote(path):
        with suppress(FileNotFoundError):
            path.fs.rm_file(path.path)
    else:
        path.unlink(missing_ok=True)
