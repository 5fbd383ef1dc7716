"""Refine `datasets` data sets: the column of images, a shard of rows at a time; all other columns stay as they are."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simgan.errors import SourceError
from simgan.images.arrays import Array
from simgan.images.files import decode, encode_png
from simgan.refining.job import Job, batches, write

SHARD = 4096  # rows that are written at a time


def is_dataset(source: Path) -> bool:
    """Return whether a folder is a data set that was saved to disk."""
    return (source / "state.json").is_file() and (source / "dataset_info.json").is_file()


def refine_splits(job: Job, source: Path, output: Path) -> None:
    """Refine each split of a `DatasetDict` that was saved to disk."""
    parts = job.begin_beside(output)
    listed = (source / "dataset_dict.json").read_bytes()
    for split in json.loads(listed)["splits"]:
        if not (parts / "splits" / split).exists():
            refine_dataset(job, source / split, parts / "splits" / split)
    write(parts / "splits" / "dataset_dict.json", listed)
    (parts / "splits").replace(output)
    shutil.rmtree(parts)


def refine_dataset(job: Job, source: Path, output: Path) -> None:
    """Refine a data set that was saved to disk, or a Parquet file."""
    from datasets import Image as ImageColumn
    from datasets import concatenate_datasets

    parts = job.begin_beside(output)
    dataset = _open(source, parts)
    columns = [name for name, kind in dataset.features.items() if name == "image" or isinstance(kind, ImageColumn)]
    if len(columns) != 1 or not len(dataset):
        raise SourceError(f"{source} has no rows with one column of images: it has {', '.join(dataset.column_names)}")
    dataset = dataset.cast_column(columns[0], ImageColumn(decode=False))
    files = []
    with tqdm(total=len(dataset), desc="refining", unit=" images") as bar:
        for start in range(0, len(dataset), SHARD):
            rows = dataset.select(range(start, min(start + SHARD, len(dataset))))
            files.append(parts / f"{start:09}.parquet")
            left_out = files[-1].with_suffix(".txt")
            if files[-1].is_file():
                broken = left_out.read_text().splitlines()
                job.done.already += len(rows) - len(broken)
                job.done.broken += broken
            else:
                before = len(job.done.broken)
                shard = _refine_rows(job, rows, columns[0], source, start)
                write(left_out, "\n".join(job.done.broken[before:]).encode())
                aside = files[-1].with_suffix(".part")
                shard.to_parquet(str(aside))
                aside.replace(files[-1])
            bar.update(len(rows))
    whole = concatenate_datasets([_open(file, parts) for file in files])
    aside = output.parent / f".{output.name}.part"
    if output.suffix == ".parquet":
        whole.to_parquet(str(aside))
    else:
        shutil.rmtree(aside, ignore_errors=True)
        whole.save_to_disk(str(aside))
    aside.replace(output)
    shutil.rmtree(parts)


def _open(place: Path, parts: Path) -> Any:
    from datasets import Dataset, load_from_disk

    try:
        if place.is_dir():
            return load_from_disk(str(place))
        return Dataset.from_parquet(str(place), cache_dir=str(parts / "cache"))  # Arrow files are made of Parquet
    except Exception as error:  # datasets and Arrow raise all kinds for a broken file
        cause = error.__cause__ or error
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            raise cause from error
        raise SourceError(f"{place} cannot be read as a data set: {cause}") from error


def _refine_rows(job: Job, rows: Any, column: str, source: Path, start: int) -> Any:
    from datasets import Image as ImageColumn

    cells: dict[int, dict[str, Any]] = {}

    def load(place: int) -> tuple[int, str | None, Array] | None:
        cell, name = rows[place][column] or {"bytes": b"", "path": None}, f"row {start + place} of {source}"
        data = cell["bytes"]
        if data is None:
            data, name = cell["path"], f"{cell['path']} ({name})"
        array = job.load(lambda: decode(data, name), name)
        return None if array is None else (place, cell["path"], array)

    for batch in batches(map(load, range(len(rows)))):
        for (place, path, _), refined in zip(batch, job.refine([array for *_, array in batch]), strict=True):
            kept = Path(path).with_suffix(".png").name if path else None
            cells[place] = {"bytes": encode_png(refined), "path": kept}
    whole = rows.select(sorted(cells)).remove_columns(column)
    whole = whole.add_column(column, [cells[place] for place in sorted(cells)], feature=ImageColumn())
    return whole.select_columns(rows.column_names)
