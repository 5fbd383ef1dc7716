"""Data sets that are tables already: prepared folders, the Hub, `.parquet` files."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, Image, load_dataset, load_from_disk
from datasets.exceptions import DatasetNotFoundError

from simgan.data.columns import Row, column_types, derivable
from simgan.data.crop import Format
from simgan.data.folder import crop_row
from simgan.data.source import Source
from simgan.errors import ImageError, SourceError
from simgan.images.files import decode as decode_image


def is_prepared(path: Path) -> bool:
    """Return whether a folder holds a `datasets` data set as saved to disk, such as those of `simgan prepare`."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def open_table(name: str, form: Format, *, mapped: bool) -> Dataset | Source:
    """Open a folder saved to disk, a `.parquet` file, or a repository of the Hub (`org/name` or `org/name@split`).

    One whose images have the size already is returned as it is, mapped from its files, unless not `mapped`. Others
    become a source that reads every row, crops it as `folder:` does, and moves the labels along.
    """
    dataset = _open(name)
    if "image" not in dataset.column_names:
        raise SourceError(f"{name} has no column image: it has {', '.join(dataset.column_names)}")
    if not len(dataset):
        raise SourceError(f"{name} is empty")
    types, columns = column_types(), dict(dataset.features)
    derived = derivable(columns)
    dataset = dataset.cast_column("image", Image(decode=False))
    if mapped and not derived and _fits(dataset[0]["image"], form):
        return dataset.cast_column("image", Image())
    columns = {key: types.get(key, kind) for key, kind in columns.items()}
    columns |= {key: types[key] for key in (*derived, "file_name") if key not in columns}
    return Source(name, range(len(dataset)), partial(_read, dataset, form, name), Features(columns))


def _fits(cell: dict[str, Any] | None, form: Format) -> bool:
    """Return whether an image is stored as training reads it: as bytes, not a path, and with the size."""
    if cell is None or cell["bytes"] is None:
        return False
    try:
        return form.size in (None, decode(cell, "").shape[1::-1])
    except ImageError:  # raised again, with its name, when the rows are read
        return False


def decode(cell: dict[str, Any] | None, name: str) -> np.ndarray:
    """Return what an image column holds as a stored image; `ImageError` names a broken one."""
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise ImageError(f"{name} holds no image")
    if cell["bytes"] is None:
        return decode_image(cell["path"], f"{cell['path']} ({name})")
    return decode_image(cell["bytes"], name)


def _open(name: str) -> Dataset:
    place = Path(name).expanduser()
    try:
        if place.suffix == ".parquet" and place.is_file():
            return Dataset(pq.read_table(place)).cast_column("image", Image())
        where, _, split = name.partition("@")
        saved = Path(where).expanduser()
        found = load_from_disk(str(saved)) if saved.is_dir() and is_prepared(saved) else load_dataset(where)
        return _split(found, where, split) if isinstance(found, DatasetDict) else found
    except SourceError:
        raise
    except DatasetNotFoundError as error:  # gated ones are among them
        raise SourceError(
            f"{name} is no folder or file here, and no data set of the Hub that you may read: check the name; for a "
            "private or gated one log in with `hf auth login`"
        ) from error
    except Exception as error:  # broken files and connections raise errors of many libraries
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{name} cannot be opened, neither as a folder or file nor on the Hub: {reason}") from error


def _split(splits: DatasetDict, name: str, wanted: str) -> Dataset:
    if not wanted and len(splits) == 1:
        return next(iter(splits.values()))
    if (wanted or "train") in splits:
        return splits[wanted or "train"]
    raise SourceError(f"{name} has splits {', '.join(map(str, splits))}: name one as {name}@SPLIT")


def _read(dataset: Dataset, form: Format, source: str, number: int) -> list[Row]:
    row = dataset[number]
    path = (row["image"] or {}).get("path")
    name = row.get("file_name") or Path(path or f"{number:06}.png").name
    where = f"{name} (row {number} of {source})"
    return [crop_row(decode(row["image"], where), row | {"file_name": name}, form, where)]
