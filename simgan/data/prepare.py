"""`simgan prepare`: a source is read once, in parallel, and written as Arrow shards that training maps from disk."""

import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
from datasets import Dataset, Image
from tqdm import tqdm

from simgan.data.alignment import Alignment, Mean, align, mean_image, write_means
from simgan.data.columns import Row, as_dataset, as_table
from simgan.data.crop import NONE, Correction
from simgan.data.loader import Crops
from simgan.data.source import Source, Task, draw, written_aside
from simgan.data.sources import load, open_source
from simgan.data.tables import is_prepared
from simgan.domains import DEFAULT
from simgan.domains.base import Size
from simgan.errors import ConfigError, SourceError

CHUNK = 64  # tasks that a process reads at a time
ROUNDS = 3  # of alignment
MEANS = 1000  # crops of either side from which the alignment computes means
SHARD = "200MB"

Chunk = tuple[pa.Table, list[str]]  # rows, and errors of broken files


@dataclass
class Prepared:
    """The result: the number of crops, errors of files that were left out, and the alignment."""

    count: int
    broken: list[str] = field(default_factory=list)
    alignment: Alignment | None = None


def prepare(
    source: str,
    output: Path,
    *,
    align: str | None = None,
    size: Size | None = DEFAULT.size,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write a source to a folder that `load` and `datasets.load_from_disk` map; memory does not grow with it.

    `align` names a source of real crops to whose scale and centre these are fitted, labels included; the means are
    shown in `OUTPUT-alignment.png`. `processes` (all cores if not given) read at a time. They are spawned, so a script
    that calls this with more than one does so under `if __name__ == "__main__":`. `overwrite` replaces what was
    prepared before. Other arguments as for `simgan.data.load`. The folder is written aside and renamed: a killed run
    leaves nothing under `output`, and the next one removes what it left.

    Raises:
        SourceError: the source, or one of its files (with `skip_bad` it is left out and listed); the folder exists, or
            cannot be written. ImageError: a broken image. ConfigError: what is aligned is not cut from frames.
    """
    output = Path(output).expanduser()
    _check(output, overwrite, processes)
    broken: list[str] | None = [] if skip_bad else None
    with written_aside(output) as aside:
        alignment = None if align is None else _align(source, align, size, seed, aside / "means.png")
        correction = NONE if alignment is None else alignment.correction
        found = _open(source, size, channels, limit, seed, correction)
        _write(found, aside / "rows.arrow", limit, seed, broken, processes)
        dataset = Dataset.from_file(str(aside / "rows.arrow"))
        dataset = dataset.select(draw(range(len(dataset)), limit, seed))
        if not len(dataset):
            raise SourceError(f"{source}: not one image could be read" + (f"; {broken[0]}" if broken else ""))
        dataset.save_to_disk(str(aside / "data"), max_shard_size=SHARD)
        if output.exists():
            output.rename(aside / "replaced")
        (aside / "data").rename(output)
        if alignment is not None:
            (aside / "means.png").replace(output.with_name(f"{output.name}-alignment.png"))
    return Prepared(len(dataset), broken or [], alignment)


def _open(
    source: str, size: Size | None, channels: int, limit: int | None, seed: int, correction: Correction
) -> Source:
    found = open_source(
        source, size=size, channels=channels, limit=limit, seed=seed, correction=correction, mapped=False
    )
    if isinstance(found, Source):
        return found
    stored = found.cast_column("image", Image(decode=False))
    return Source(source, range(len(found)), partial(_row, stored), found.features)


def _row(stored: Dataset, number: int) -> list[Row]:
    return [stored[number]]


def _check(output: Path, overwrite: bool, processes: int | None) -> None:
    if processes is not None and processes < 1:
        raise ConfigError(f"{processes} processes cannot read: give at least 1, or none")
    if output.exists() and not overwrite:
        raise SourceError(f"{output} exists: give another output, overwrite it, or delete it")
    if output.exists() and not is_prepared(output):
        raise SourceError(f"{output} holds something else than prepared crops and is left as it is: delete it yourself")


def _align(source: str, real: str, size: Size | None, seed: int, picture: Path) -> Alignment:
    """Fit the means, cut the crops again, and repeat: the borders of the first crops distort the fit a little."""
    target = mean_image(Crops(load(real, size=size, limit=MEANS, seed=seed))[:])
    means = [_mean(source, size, seed, NONE)]
    steps = []
    correction = NONE
    for _ in range(ROUNDS):
        steps.append(align(means[-1], target))
        correction = correction.then(steps[-1].correction)
        means.append(_mean(source, size, seed, correction))
    write_means(picture, means[0], means[-1], target)
    return Alignment(correction, steps[0].before, steps[-1].after)


def _mean(source: str, size: Size | None, seed: int, correction: Correction) -> Mean:
    found = _open(source, size, 1, MEANS, seed, correction)
    return mean_image(Crops(as_dataset(found.rows(found.drawn(MEANS, seed)), found.features))[:])


def _write(
    source: Source, file: Path, limit: int | None, seed: int, broken: list[str] | None, processes: int | None
) -> None:
    """Read all tasks, some in each process, and write their rows in order."""
    tasks = list(source.drawn(limit, seed))
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    read = partial(_read, source, broken is not None)
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, source.features.arrow_schema) as writer,
        tqdm(total=len(tasks), desc="preparing") as bar,
    ):
        count = min(processes or len(os.sched_getaffinity(0)), len(chunks))
        for (table, bad), chunk in zip(_in_order(read, chunks, count), chunks, strict=True):
            writer.write_table(table)
            if broken is not None:
                broken.extend(bad)
            bar.update(len(chunk))


def _in_order(read: partial[Chunk], chunks: list[list[Task]], processes: int) -> Iterator[Chunk]:
    if processes <= 1:
        yield from map(read, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(read, chunks)


def _read(source: Source, skip_bad: bool, tasks: list[Task]) -> Chunk:
    broken: list[str] | None = [] if skip_bad else None
    return as_table(source.rows(tasks, broken), source.features), broken or []
