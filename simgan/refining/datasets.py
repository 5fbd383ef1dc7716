"""Refine `datasets` data sets: the column of images, a shard of rows at a time; all other columns stay as they are."""

import json
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simgan.errors import SourceError, reason
from simgan.images.arrays import Array
from simgan.images.files import decode, encode_png
from simgan.refining.job import Job, write

SHARD = 4096  # rows that are written at a time
BROKEN = "broken.json"  # of a shard: what was wrong with each row that was left out


def is_dataset(source: Path) -> bool:
    """Return whether a folder is a data set, or one with splits, that was saved to disk."""
    one = (source / "state.json").is_file() and (source / "dataset_info.json").is_file()
    return one or (source / "dataset_dict.json").is_file()


def image_column(features: dict[str, Any], place: Path) -> str:
    """Return the name of the one column of images of a data set; `SourceError` where there is not exactly one."""
    from datasets import Image

    columns = [name for name, kind in features.items() if name == "image" or isinstance(kind, Image)]
    if len(columns) != 1:
        raise SourceError(f"{place} must have rows with one column of images: it has {', '.join(features)}")
    return columns[0]


def refine_dataset(job: Job, source: Path, output: Path) -> None:
    """Refine a data set that was saved to disk, with or without splits, or a Parquet file."""
    from datasets import DatasetDict

    parts = job.begin(output, beside=True)
    data = open_dataset(source, parts)
    aside = output.parent / f".{output.name}.part"
    if isinstance(data, DatasetDict):
        data = DatasetDict({name: _refine_rows(job, rows, source / name, parts / name) for name, rows in data.items()})
    else:
        data = _refine_rows(job, data, source, parts)
    if isinstance(data, DatasetDict) or output.suffix != ".parquet":
        shutil.rmtree(aside, ignore_errors=True)
        data.save_to_disk(str(aside))
    else:
        data.to_parquet(str(aside))
    aside.replace(output)
    shutil.rmtree(parts)


def open_dataset(place: Path, parts: Path) -> Any:
    """Return a saved `Dataset`, `DatasetDict` or Parquet file, unpacked to `parts`; `SourceError` if broken."""
    from datasets import Dataset, load_from_disk

    try:
        if place.is_dir():
            return load_from_disk(str(place))
        return Dataset.from_parquet(str(place), cache_dir=str(parts / "cache"))  # Arrow files are made of Parquet
    except Exception as error:  # datasets and Arrow raise all kinds for a broken file
        raise SourceError(f"{place} cannot be read as a data set: {reason(error.__cause__ or error)}") from error


def _refine_rows(job: Job, rows: Any, source: Path, parts: Path) -> Any:
    """Refine a `Dataset`; each shard becomes a folder in `parts`, which a later call finds."""
    from datasets import Image, concatenate_datasets, load_from_disk

    column = image_column(rows.features, source)
    if not len(rows):
        raise SourceError(f"{source} has no rows")
    rows = rows.cast_column(column, Image(decode=False))
    starts = range(0, len(rows), SHARD)

    def read(row: tuple[int, dict[str, Any] | None]) -> tuple[Array, str]:
        cell, name = row[1] or {"bytes": b""}, f"row {row[0]} of {source}"
        return decode(cell["path"] if cell["bytes"] is None else cell["bytes"], name), name

    for start in tqdm(starts, desc="refining", unit=f" × {SHARD} rows"):
        shard = rows.select(range(start, min(start + SHARD, len(rows))))
        place, aside = parts / f"{start:09}", parts / f".{start:09}"
        if place.is_dir():
            broken = json.loads((place / BROKEN).read_text())
            job.done.already += len(shard) - len(broken)
            job.done.broken += broken
            continue
        known, cells = len(job.done.broken), {}
        numbered = enumerate((row[column] for row in shard.select_columns(column)), start)
        for (number, cell), _, refined in job.refine_all(numbered, read):
            path = Path(cell["path"]).with_suffix(".png").name if cell["path"] else None
            cells[number - start] = {"bytes": encode_png(refined), "path": path}
        if cells:
            shard = shard.select(list(cells)).remove_columns(column)
            shard = shard.add_column(column, list(cells.values()), feature=Image()).select_columns(rows.column_names)
            shard.save_to_disk(str(aside))
        write(aside / BROKEN, json.dumps(job.done.broken[known:]).encode())
        aside.replace(place)
    shards = [place for start in starts if is_dataset(place := parts / f"{start:09}")]
    if not shards:
        raise SourceError(f"{source} holds no image that can be refined: {job.done.broken[-1]}")
    return concatenate_datasets([load_from_disk(str(place)) for place in shards])
