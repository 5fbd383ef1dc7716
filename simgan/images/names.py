"""Files as systems leave them: names that are hidden or no UTF-8, linked folders, texts in several encodings."""

import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePath

_LEFT_BEHIND = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin"}


def is_stray(name: str | PurePath) -> bool:
    """Return whether a relative name is hidden (`._1.jpg`, `.ipynb_checkpoints/…`) or what a system leaves behind."""
    return any(part.startswith(".") or part.lower() in _LEFT_BEHIND for part in PurePath(name).parts)


def names_below(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, relative with "/", that are not stray; linked folders are entered.

    A link to a folder that it is reached through is not followed. Links to nothing are named: who reads them says what
    is wrong.
    """
    for place, folders, files in os.walk(folder, followlinks=True):
        above = Path(place)
        way = [above, *(folder / part for part in above.relative_to(folder).parents)]
        folders[:] = sorted(one for one in folders if not is_stray(one) and not _leads_back(above / one, way))
        for file in sorted(files):
            if not is_stray(file) and ((above / file).is_file() or (above / file).is_symlink()):
                yield (above / file).relative_to(folder).as_posix()


def _leads_back(folder: Path, way: list[Path]) -> bool:
    return folder.is_symlink() and any(place.resolve().is_relative_to(folder.resolve()) for place in way)


def decode_text(data: bytes) -> str:
    """Return the text of a file that is UTF-8 or UTF-16, without its byte order mark; else `UnicodeError`."""
    return data.decode(json.detect_encoding(data))


def as_text(name: str) -> str:
    r"""Return a name as text that can be stored: bytes that are not UTF-8 become `\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
