"""Refine a column of images of a `datasets` data set or a Parquet file; all other columns stay."""

import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from simgan.errors import ImageError, SourceError, reason
from simgan.images.marks import COLUMNS
from simgan.refining.job import Item, Job, Stamps
from simgan.refining.places import aside, stamp_of, write
from simgan.refining.workers import Workers

TABLE = ".parquet"
SHARD = 4096  # rows of a data set that are written at a time
BYTES = 2**28  # of a Parquet file that are in memory at a time
NOTE = "note.json"  # of a shard: what was wrong with each row that was left out, and stamps of files that rows name


def is_table(source: Path) -> bool:
    """Return whether this is a Parquet file or a data set that was saved to disk."""
    return source.suffix.lower() == TABLE or is_dataset(source)


def is_dataset(source: Path) -> bool:
    """Return whether a folder is a data set, or one with splits, that was saved to disk."""
    one = (source / "state.json").is_file() and (source / "dataset_info.json").is_file()
    return one or (source / "dataset_dict.json").is_file()


def image_column(features: dict[str, Any], place: Path, chosen: str | None = None) -> str:
    """Return the column of images of a data set, `chosen` or the only one besides masks; `SourceError` without it."""
    from datasets import Image

    masks = [name for name, kind in COLUMNS.items() if kind == "mask"]  # images too, but labels
    columns = [k for k, kind in features.items() if k not in masks and (k == "image" or isinstance(kind, Image))]
    columns = columns if chosen is None else [name for name in features if name == chosen]
    if len(columns) != 1:
        wanted = "one column of images" if chosen is None else f"a column {chosen}"
        raise SourceError(f"{place} must have rows with {wanted}: it has {', '.join(features)}; --image chooses one")
    return columns[0]


def table_stamps(source: Path, image: str | None) -> Stamps:
    """Return one stamp of all files of a data set and its column of images, as its rows are made together."""
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    files = [file for file in files if not file.name.startswith("cache-")]  # which `datasets` writes
    return {".": [zlib.crc32((image or "").encode()), *(number for file in files for number in stamp_of(file))]}


def refine_data_set(job: Job, source: Path, output: Path) -> None:
    """Refine a data set into a data set; `SourceError` where it is none, or the output would replace other things."""
    from datasets import DatasetDict

    if job.copy:
        raise SourceError(f"{source} is a data set, which has no files to copy: leave out --copy {job.copy[0]!r}")
    if job.overwrite and output.is_dir() and not is_dataset(output):
        raise SourceError(f"{output} is a folder of other things than a data set: give another output")
    if output.resolve() in source.resolve().parents and is_dataset(output):
        raise SourceError(f"the input {source} is in the output {output}: give another output")
    stamps = table_stamps(source, job.image)
    with Workers(job) as workers, job.begun(source, output, stamps, beside=True) as parts:
        part = aside(output, ".part")
        opened = open_dataset(source, parts) if source.is_dir() else _Parquet(source)
        if isinstance(opened, DatasetDict):
            data = DatasetDict(
                {k: _refine_rows(workers, job, rows, source / k, parts / k) for k, rows in opened.items()}
            )
        else:
            data = _refine_rows(workers, job, opened, source, parts)
        if isinstance(data, DatasetDict) or output.suffix.lower() != TABLE:
            shutil.rmtree(part, ignore_errors=True)
            data.save_to_disk(str(part))
            if output.is_dir():  # to be overwritten
                shutil.rmtree(output)
        else:
            data.to_parquet(str(part))
        part.replace(output)


def open_dataset(place: Path, parts: Path) -> Any:
    """Return a saved `Dataset`, `DatasetDict` or Parquet file, unpacked to `parts`; `SourceError` if broken."""
    from datasets import Dataset, load_from_disk

    with _reading(place):
        if place.is_dir():
            return load_from_disk(str(place))
        return Dataset.from_parquet(str(place), cache_dir=str(parts / "cache"))  # Arrow files are made of Parquet


class _Parquet:
    """The rows of a Parquet file, of which one shard at a time is read."""

    def __init__(self, place: Path) -> None:
        from datasets import Features
        from pyarrow.parquet import ParquetFile

        with _reading(place):
            self._place, self._file = place, ParquetFile(place)
            self.features = Features.from_arrow_schema(self._file.schema_arrow)

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    def shards(self) -> Iterator[Any]:
        """Yield all rows in their order, as `datasets.Dataset`s of up to `SHARD` rows."""
        import pyarrow as pa
        from datasets import Dataset, DatasetInfo
        from datasets.table import table_cast

        groups = [self._file.metadata.row_group(k).total_byte_size for k in range(self._file.num_row_groups)]
        batches = self._file.iter_batches(max(1, min(SHARD, BYTES * len(self) // max(1, sum(groups)))))
        while True:
            with _reading(self._place):
                if (batch := next(batches, None)) is None:
                    return
                table = table_cast(pa.Table.from_batches([batch]), self.features.arrow_schema)
            yield Dataset(table, DatasetInfo(features=self.features))


@contextmanager
def _reading(place: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # datasets and Arrow raise all kinds for a broken file
        raise SourceError(f"{place} cannot be read as a data set: {reason(error.__cause__ or error)}") from error


def _shards_of(rows: Any) -> Iterator[Any]:
    if isinstance(rows, _Parquet):
        yield from rows.shards()
    else:
        yield from (rows.select(range(k, min(k + SHARD, len(rows)))) for k in range(0, len(rows), SHARD))


def _refine_rows(workers: Workers, job: Job, rows: Any, source: Path, parts: Path) -> Any:
    """Refine a `Dataset` or a Parquet file; each shard becomes a folder in `parts`, which a later call finds."""
    from datasets import Image, concatenate_datasets, load_from_disk

    column = image_column(rows.features, source, job.image)
    if not len(rows):
        raise SourceError(f"{source} has no rows")
    kinds = {name: kind for name, kind in rows.features.items() if isinstance(kind, Image)} | {column: Image()}
    starts: list[int] = []

    def item(number: int, cell: dict[str, Any] | None) -> Item:
        try:
            file: Any = (_inlined(cell, source) or {}).get("bytes") or b""
        except ImageError as error:
            file = error
        return Item((number, cell and cell["path"]), f"row {number} of {source}", file)

    end = 0
    bar = tqdm(total=len(rows), desc="refining", unit=" rows", disable=job.quiet)
    for shard in _shards_of(rows):
        bar.update(end - bar.n)
        start, end = end, end + len(shard)
        starts.append(start)
        try:
            for name in kinds:
                shard = shard.cast_column(name, Image(decode=False))
        except Exception as error:  # lists of images, numbers
            raise SourceError(f"{source} has no images in its column {name}, but {rows.features[name]}") from error
        place, unfinished = parts / f"{start:09}", parts / f".{start:09}"
        cells_of = (cell for row in shard.select_columns([*kinds]) for cell in row.values())
        files = [stamp_of(path) for cell in cells_of if (path := _place(cell, source)) and path.is_file()]
        if place.is_dir():
            note = json.loads((place / NOTE).read_bytes())
            if note["files"] == files:
                job.done.already += len(shard) - len(note["broken"])
                job.done.broken += note["broken"]
                continue
            shutil.rmtree(place)
        known, cells = len(job.done.broken), {}
        items = (item(number, row[column]) for number, row in enumerate(shard.select_columns(column), start))
        for ((number, path), *_), data in workers.refine_all(items, len(rows) - start):
            cells[number - start] = {"bytes": data, "path": path}
        if cells:
            shard = shard.select(list(cells))
            shard = _with(shard, column, list(cells.values()))
            for name in kinds.keys() - {column}:
                shard = _with(shard, name, [_inlined(cell, source) for cell in shard[name]])
            shard.save_to_disk(str(unfinished))
        write(unfinished / NOTE, json.dumps({"broken": job.done.broken[known:], "files": files}).encode())
        unfinished.replace(place)
    bar.update(end - bar.n)
    bar.close()
    shards = [place for start in starts if is_dataset(place := parts / f"{start:09}")]
    if not shards:
        raise SourceError(f"{source} holds no image that can be refined: {job.done.broken[-1]}")
    data = concatenate_datasets([load_from_disk(str(place)) for place in shards])
    for name, kind in kinds.items():
        data = data.cast_column(name, kind)
    return data


def _place(cell: dict[str, Any] | None, source: Path) -> Path | None:
    """Return the file that a cell of an image column names, where it holds no bytes: beside its table, or anywhere."""
    if not cell or cell["bytes"] is not None or not cell["path"]:
        return None
    names = (cell["path"], cell["path"].replace("\\", "/"))
    places = (folder / name for name in names for folder in (source, source.parent))
    return next((place for place in places if place.is_file()), Path(cell["path"]))


def _inlined(cell: dict[str, Any] | None, source: Path) -> dict[str, Any] | None:
    """Return a cell of an image column with the bytes of its file."""
    if cell is None or (place := _place(cell, source)) is None:
        return cell
    try:
        return {"bytes": place.read_bytes(), "path": cell["path"]}
    except OSError as error:
        raise ImageError(f"{cell['path']}, named in {source}, cannot be read ({reason(error)})") from error


def _with(rows: Any, column: str, cells: list[Any]) -> Any:
    """Return a `Dataset` with other images in a column; it stays in its place, and may be the only one.

    It becomes one of plain bytes and paths, as `datasets` cuts folders off the paths of images when it saves them.
    """
    from datasets import Value

    names, kind = rows.column_names, {"bytes": Value("binary"), "path": Value("string")}
    rows = rows.add_column(f"{column}/", cells, feature=kind)  # first, as a data set without columns has no rows
    return rows.remove_columns(column).rename_column(f"{column}/", column).select_columns(names)
