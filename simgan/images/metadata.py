"""Labels of images in files beside them: metadata.csv, .tsv, .jsonl or .parquet, types as they are written.

A row names its image in `file_name`, and perhaps another one as its `mask`, relative to the file. Text may be UTF-8 or
UTF-16, with a byte order mark or not; fields of a .csv are separated by commas, semicolons, tabs or bars. Its columns
are numbers where all fields are written as such, in 64 bits and without leading zeros, and else text; persons are
always text. Empty fields are None. Whole numbers of more than 64 bits are text in all files.
"""

import csv
import io
import json
import logging
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from simgan.errors import SourceError
from simgan.images.files import ARRAYS, SUFFIXES
from simgan.images.names import decode_text, is_stray

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Read = Callable[[str], bytes]

_NAMES = {"metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet"}
_IMAGES = SUFFIXES | {ARRAYS}
_TEXT = {"file_name", "image", "mask", "person"}  # columns of names, also where they look like numbers
_WHOLE = r"-?(?:0|[1-9][0-9]*)"
# Without a point an exponent has a sign, as programs write it: 12e3 is an identifier.
_NUMBER = rf"(?:{_WHOLE}\.?(?:[eE][+-][0-9]+)?|[+-]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][+-]?[0-9]+)?)"
_UNKNOWN = {"nan", "na", "n/a", "null", "none"}  # among numbers
_TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class Metadata:
    """Rows by the name of their image, without it; names of images that are masks; types of columns (of `datasets`)."""

    rows: dict[str, Row] = field(default_factory=dict)
    masks: set[str] = field(default_factory=set)
    columns: dict[str, Any] = field(default_factory=dict)


def is_metadata(name: str) -> bool:
    """Return whether a file of that relative name holds labels of images."""
    return posixpath.basename(name).lower() in _NAMES and not is_stray(name)


def read_metadata(
    names: Iterable[str], images: Iterable[str], read: Read, folder: Path | None = None, *, skip_bad: bool = False
) -> Metadata:
    r"""Read the metadata among the files `names`; `read` returns the bytes of one.

    Rows find their image among `images`, and their mask among `names`: with `\` for `/`, by an absolute path below
    `folder`, and in another case or with another image's suffix where one alone fits. `SourceError` for a file that
    cannot be read, for rows whose image or mask is not there (`skip_bad` leaves them out with a warning), and for a
    second row of an image.
    """
    names = list(names)
    find_image, find_mask = finder(images, folder), finder(names, folder)
    rows: dict[str, Row] = {}
    masks: set[str] = set()
    for file, content in _read_all(names, read, folder).items():
        within, where = posixpath.dirname(file), (folder or PurePosixPath()) / file
        lost_images, lost_masks = [], []
        for row in content:
            written = row.pop("file_name", None)
            if (name := find_image(written, within)) is None:
                lost_images.append(written)
                continue
            if name in rows:
                raise SourceError(f"{where} has a second row of {name}: give each image one row, with lists of several")
            rows[name] = {key: value for key, value in row.items() if key != "image"}
            if isinstance(mask := row.get("mask"), str):
                found = find_mask(mask, within)
                if found is None or found == name:
                    lost_masks.append(mask)
                    del rows[name]
                else:
                    masks.add(found)
                    rows[name]["mask"] = found
        _tell_of_lost(where, "has labels of", "images", lost_images, skip_bad)
        _tell_of_lost(where, "names", "masks", lost_masks, skip_bad)
    return Metadata(rows, masks, _types(list(rows.values())) if rows else {})


def find_masks(names: Iterable[str], read: Read, folder: Path | None = None) -> set[str]:
    """Return those of the files `names` that metadata among them call masks of others; errors as `read_metadata`."""
    names = list(names)
    find, masks = finder(names, folder), set()
    for file, rows in _read_all(names, read, folder).items():
        where = (folder or PurePosixPath()) / file
        written = {row["mask"] for row in rows if isinstance(row.get("mask"), str)}
        found = {mask: find(mask, posixpath.dirname(file)) for mask in written}
        _tell_of_lost(where, "names", "masks", sorted(mask for mask in written if found[mask] is None), False)
        masks |= {name for name in found.values() if name}
    return masks


def _tell_of_lost(where: PurePath, verb: str, things: str, lost: list[Any], skip_bad: bool) -> None:
    if lost:
        found = f"{where} {verb} {len(lost):,} {things} that are not there, such as {lost[0]}"
        told = f"{found}: name each relative to {where.parent}, or remove its row"
        if not skip_bad:
            raise SourceError(told)
        logger.warning(told)


def finder(names: Iterable[str], folder: Path | None = None) -> Callable[..., str | None]:
    r"""Return what finds the one of these names that is meant by what is written in a file in a folder `within`.

    That is the very name, or one with `\` for `/` or below `folder`, or the only one in any case or image's suffix.
    """
    known = set(names)
    tops = {f"{place.as_posix()}/" for place in (folder.absolute(), folder.resolve())} if folder else ()

    @cache
    def alike() -> dict[str, list[str]]:
        found = defaultdict(list)
        for name in known:
            for key in {_fold(name), _fold(_bare(name))}:
                found[key].append(name)
        return found

    def find(written: Any, within: str = "") -> str | None:
        if written is None or not (path := str(written)):
            return None
        for text in (path, path.replace("\\", "/")):
            path = posixpath.normpath(text if re.match(r"/|[A-Za-z]:/", text) else posixpath.join(within, text))
            path = next((path.removeprefix(top) for top in tops if path.startswith(top)), path)
            if path in known:
                return path
        fitting = (alike().get(key, ()) for key in (_fold(path), _fold(_bare(path))))
        return next((names[0] for names in fitting if len(names) == 1), None)

    return find


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _bare(name: str) -> str:
    """Return a name without its suffix, if it is one of images."""
    bare, suffix = posixpath.splitext(name)
    return bare if suffix.lower() in _IMAGES else name


def _read_all(names: Iterable[str], read: Read, folder: Path | None) -> dict[str, list[Row]]:
    """Return the rows of each file of metadata."""
    files: dict[str, list[Row]] = {}
    for file in filter(is_metadata, names):
        where, data, kind = (folder or PurePosixPath()) / file, read(file), PurePosixPath(file).suffix.lower()
        try:
            if kind == ".parquet":
                import pyarrow.parquet as pq

                files[file] = pq.read_table(io.BytesIO(data)).to_pylist()
            else:
                text = decode_text(data)
                files[file] = _json_rows(text) if kind == ".jsonl" else _csv_rows(text)
        except UnicodeError as error:
            raise SourceError(f"{where} is neither UTF-8 nor UTF-16: save it as UTF-8") from error
        except (ValueError, TypeError, csv.Error, OSError, NotImplementedError) as error:
            raise SourceError(f"{where} is not laid out as metadata of images are: {error}") from error
        if not files[file]:
            raise SourceError(f"{where} has no rows: write those of the images, or remove it")
        if not any("file_name" in row for row in files[file]):
            raise SourceError(f"{where} has no column file_name: it must name each image relative to {where.parent}")
    _type_texts([row for file, rows in files.items() if file.lower().endswith(("csv", "tsv")) for row in rows])
    return files


def _json_rows(text: str) -> list[Row]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):  # other separators may stand within texts
        if line.strip():
            try:
                row = json.loads(line, parse_int=lambda digits: int(digits) if _is_whole(digits) else digits)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is no object")
            rows.append(row)
    return rows


def _csv_rows(text: str) -> list[Row]:
    """Return rows of texts; of a table with semicolons, decimal commas become points."""
    text = re.sub(r"^sep=.\r?\n", "", text)  # of Excel
    separator = max(",;\t|", key=text.partition("\n")[0].count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    header, *rows = [fields for fields in lines if any(fields)] or [[]]
    header = [name.strip() or f"Unnamed: {place}" for place, name in enumerate(header)]
    if twice := [name for name in header if header.count(name) > 1]:
        raise ValueError(f"two columns are called {twice[0]}")
    for number, fields in enumerate(rows, 1):
        if len(fields) != len(header):
            raise ValueError(f"its row {number} has {len(fields)} fields, and its header {len(header)}")
    if separator == ";":
        for place, name in enumerate(header):
            points = [fields[place].replace(",", ".", 1) for fields in rows]
            if name not in _TEXT and all(re.fullmatch(_NUMBER, one.strip()) for one in points if one):
                for fields, one in zip(rows, points, strict=True):
                    fields[place] = one
    return [dict(zip(header, fields, strict=True)) for fields in rows]


def _type_texts(rows: list[Row]) -> None:
    """Turn texts into what all those of their column are: numbers, truth values or texts."""
    columns: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, text in row.items():
            columns[name].add(text)
    types = {
        name: {text: kind(text) for text in texts}
        for name, texts in columns.items()
        for kind in [_type_of(name, texts)]
    }
    for row in rows:
        row |= {name: types[name][text] for name, text in row.items()}


def _type_of(column: str, texts: set[str]) -> Callable[[str], Any]:
    known = {text.strip().lower() for text in texts} - _UNKNOWN - {""}
    if column not in _TEXT and known:
        if known <= _TRUTH.keys():
            return lambda text: _TRUTH.get(text.strip().lower())
        whole = {text for text in known if re.fullmatch(_WHOLE, text)}
        if known == whole and all(map(_is_whole, whole)):
            return lambda text: int(text) if text.strip().lower() in known else None
        if all(re.fullmatch(_NUMBER, text) for text in known) and all(abs(int(text)) <= 2**53 for text in whole):
            return lambda text: float(text) if text.strip().lower() in known else None
    return lambda text: text or None


def _is_whole(digits: str) -> bool:
    """Return whether a whole number can be stored: in 64 bits."""
    return len(digits) <= 20 and -(2**63) <= int(digits) < 2**63


def _types(rows: list[Row]) -> dict[str, Any]:
    import pyarrow as pa
    from datasets import Features

    types = {}
    for column in dict.fromkeys(name for row in rows for name in row):
        try:
            types[column] = pa.array([row.get(column) for row in rows]).type
        except (pa.ArrowException, ValueError, OverflowError) as error:
            raise SourceError(f"the metadata's column {column} holds values of several kinds: make them one") from error
    return dict(Features.from_arrow_schema(pa.schema(types)))
