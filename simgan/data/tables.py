"""Data sets that are tables already: prepared folders, the Hub, `.parquet` files."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, Image, load_dataset, load_from_disk
from datasets.exceptions import DatasetNotFoundError

from simgan.data.columns import COLUMNS, Row, direction, image_cell
from simgan.data.crop import Crop, Size, grey
from simgan.data.source import Source
from simgan.errors import ImageError, SourceError
from simgan.images import open_image, to_stored


def is_prepared(path: Path) -> bool:
    """Tell whether a folder holds a `datasets` data set as saved to disk, `simgan prepare`'s among them."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def open_table(name: str, size: Size | None) -> Dataset | Source:
    """Open a folder saved to disk, a `.parquet` file, or a repository of the Hub (`org/name` or `org/name@split`).

    One whose images have the size already is given back as it is, mapped from its files; others become a source
    that cuts them as `folder:` does, and moves the labels along.
    """
    dataset = _open(name)
    if "image" not in dataset.column_names:
        raise SourceError(f"{name} has no column image: it has {', '.join(dataset.column_names)}")
    if not len(dataset):
        raise SourceError(f"{name} is empty")
    kinds = dict(dataset.features)
    derived = {"pitch", "yaw"} <= kinds.keys() and "gaze" not in kinds
    dataset = dataset.cast_column("image", Image(decode=False))
    first = decode(dataset[0]["image"], f"row 0 of {name}")
    if size is None or (first.shape == (size[1], size[0]) and not derived):
        return dataset.cast_column("image", Image())
    known = {key: COLUMNS.get(key, kind) for key, kind in kinds.items()}
    if derived:
        known["gaze"] = COLUMNS["gaze"]
    if "file_name" not in known:
        known["file_name"] = COLUMNS["file_name"]
    return Source(name, range(len(dataset)), partial(_read, dataset, size, name), Features(known))


def decode(cell: dict[str, Any], name: str) -> np.ndarray:
    """Decode what an image column holds to a stored image; `ImageError` names one that cannot be."""
    if cell["bytes"] is None:
        return to_stored(open_image(cell["path"] or name), name)
    data = np.frombuffer(cell["bytes"], np.uint8)
    array = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if array is None:
        raise ImageError(f"{name} cannot be decoded as an image")
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB)
    return array


def _open(name: str) -> Dataset:
    place = Path(name).expanduser()
    try:
        if place.suffix == ".parquet" and place.is_file():
            return Dataset(pq.read_table(place)).cast_column("image", Image())
        if place.is_dir() and is_prepared(place):
            found = load_from_disk(str(place))
            return _split(found, name) if isinstance(found, DatasetDict) else found
        repository, _, split = name.partition("@")
        found = load_dataset(repository, split=split or None)
        return _split(found, name) if isinstance(found, DatasetDict) else found
    except SourceError:
        raise
    except DatasetNotFoundError as error:  # gated ones are among them
        raise SourceError(
            f"{name} is no folder or file here, and no data set of the Hub that you may read: check the name; for a "
            "private or gated one log in with `hf auth login`"
        ) from error
    except Exception as error:  # broken files and connections raise what their libraries have, with no common base
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{name} cannot be opened, neither as a folder or file nor on the Hub: {reason}") from error


def _split(splits: DatasetDict, name: str) -> Dataset:
    if "train" in splits or len(splits) == 1:
        return splits["train" if "train" in splits else next(iter(splits))]
    raise SourceError(f"{name} has splits {', '.join(map(str, splits))}: name one as {name}@SPLIT")


def _read(dataset: Dataset, size: Size, source: str, number: int) -> list[Row]:
    row = dataset[number]
    name = row.get("file_name") or Path(row["image"]["path"] or f"{number:06}.png").name
    array = grey(decode(row["image"], f"{name} (row {number} of {source})"))
    crop = Crop.fitting((array.shape[1], array.shape[0]), size)
    row = crop.move_labels(row) | {"image": image_cell(crop.cut(array)), "file_name": name}
    if row.get("pitch") is not None and row.get("yaw") is not None and row.get("gaze") is None:
        row["gaze"] = direction(row["pitch"], row["yaw"])
    return [row]
