"""Where a Space keeps its temporary files: in a folder of its own, which the next one deletes if this one is killed."""

import atexit
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX, LOCK = "simgan-space-", "lock"


def own_temporary_folder() -> Path:
    """Make a new folder the place of all temporary files of this process; call it before the interface is built.

    A process holds a lock on its folder while it lives, however it ends. So folders whose lock is free are of dead
    ones, and are deleted.
    """
    root = Path(tempfile.gettempdir())
    with FileLock(root / f"{PREFIX}start.lock"):  # nobody takes a folder for dead before it is locked
        for folder in root.glob(f"{PREFIX}*/"):
            _delete_if_dead(folder)
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


def _delete_if_dead(folder: Path) -> None:
    try:
        with FileLock(folder / LOCK, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)
    except (Timeout, OSError):  # alive, or of another user
        return
