"""A folder for all temporary files of the Space, which the next Space deletes if this one was killed."""

import atexit
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "simgan-space-", "lock"


def own_temporary_folder() -> Path:
    """Put all temporary files of this process into a new folder; call it before the interface is built.

    A process holds the lock of its folder until it ends, however it ends. So a folder whose lock is free is left over,
    and is deleted.
    """
    root = Path(tempfile.gettempdir())
    with FileLock(root / f"{PREFIX}start.lock"):  # a new folder is not looked at before it is locked
        for folder in root.glob(f"{PREFIX}*/"):
            _delete_if_unlocked(folder)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = FileLock(folder / LOCK)
        lock.acquire()
    tempfile.tempdir = str(folder)

    @atexit.register
    def delete() -> None:
        tempfile.tempdir = str(root)
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)

    return folder


def _delete_if_unlocked(folder: Path) -> None:
    try:
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):  # in use, or of another user
        return
