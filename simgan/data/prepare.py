"""`simgan prepare`: a source is read once, in parallel, and written as Arrow shards that training maps from disk."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pyarrow as pa
from datasets import Dataset
from tqdm import tqdm

from simgan.data.alignment import Alignment, Mean, align, mean_image, write_means
from simgan.data.columns import as_dataset, as_table
from simgan.data.crop import EYES, NONE, Correction, Size
from simgan.data.loader import Crops
from simgan.data.source import Source, Task, draw, pick
from simgan.data.sources import load, open_source
from simgan.data.tables import is_prepared
from simgan.errors import ConfigError, SourceError, reason

CHUNK = 64  # tasks that a process reads at a time
ROUNDS = 3  # of alignment
MEANS = 1000  # crops of either side that the alignment looks at
SHARD = "200MB"


@dataclass
class Prepared:
    """What was written: how many crops, what was left out and why, and what the alignment found."""

    count: int
    broken: list[str] = field(default_factory=list)
    alignment: Alignment | None = None


def prepare(
    source: str,
    output: Path,
    *,
    align: str | None = None,
    size: Size = EYES,
    channels: int = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write a source to a folder that `load` and `datasets.load_from_disk` map; memory does not grow with it.

    `align` names a source of real crops whose scale and centre these are brought to, labels along; the means are shown
    in `OUTPUT-alignment.png`. `processes` (all cores if not given) read at a time; they are spawned, so a script that
    calls this with more than one does so under `if __name__ == "__main__":`. `overwrite` replaces what was prepared
    before. Other arguments as for `simgan.data.load`. Written aside and renamed: a run that was killed leaves nothing
    under `output`, and the next one clears up after it.

    Raises:
        SourceError: the source, or one of its files (with `skip_bad` it is left out and listed); the folder exists, or
            cannot be written. ImageError: a broken image. ConfigError: what is aligned is not cut from frames.
    """
    output = Path(output).expanduser()
    _check(output, overwrite, processes)
    aside = output.with_name(f".{output.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        alignment = None if align is None else _align(source, align, size, seed, aside / "means.png")
        correction = NONE if alignment is None else alignment.correction
        found = _open(source, size, channels, limit, seed, correction)
        broken = list(found.broken) if skip_bad else []
        _write(found, aside / "rows.arrow", limit, seed, broken if skip_bad else None, processes)
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
    except OSError as error:
        raise SourceError(f"{output} cannot be written ({reason(error)})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Prepared(len(dataset), broken, alignment)


def _open(
    source: str, size: Size, channels: int, limit: int | None, seed: int, correction: Correction = NONE
) -> Source:
    found = open_source(
        source, size=size, channels=channels, limit=limit, seed=seed, correction=correction, mapped=False
    )
    assert isinstance(found, Source)  # as it is not to be mapped
    return found


def _check(output: Path, overwrite: bool, processes: int | None) -> None:
    if processes is not None and processes < 1:
        raise ConfigError(f"{processes} processes cannot read: give at least 1, or none")
    if output.exists() and not overwrite:
        raise SourceError(f"{output} exists: give another output, overwrite it, or delete it")
    if output.exists() and not is_prepared(output):
        raise SourceError(f"{output} holds something else than prepared crops and is left as it is: delete it yourself")


def _align(source: str, real: str, size: Size, seed: int, picture: Path) -> Alignment:
    """Register the means, cut the crops anew, and do so again: borders of the first cut mislead a little."""
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


def _mean(source: str, size: Size, seed: int, correction: Correction) -> Mean:
    found = _open(source, size, 1, MEANS, seed, correction)
    rows = found.rows([found.tasks[number] for number in pick(len(found.tasks), MEANS, seed)])
    return mean_image(Crops(as_dataset(rows, found.features))[:])


def _write(
    source: Source, file: Path, limit: int | None, seed: int, broken: list[str] | None, processes: int | None
) -> None:
    """Read all tasks, some in each process, and write their rows in order."""
    tasks = list(source.tasks)
    if source.single:
        tasks = [tasks[number] for number in pick(len(tasks), limit, seed)]
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    count = min(processes or len(os.sched_getaffinity(0)), len(chunks))
    schema = source.features.arrow_schema
    read = partial(_read, source, broken is not None)
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, schema) as writer,
        tqdm(total=len(tasks), desc="preparing") as bar,
    ):
        for (table, bad), chunk in zip(_in_order(read, chunks, count), chunks, strict=True):
            writer.write_table(table)
            if broken is not None:
                broken.extend(bad)
            bar.update(len(chunk))


Batch = tuple[pa.Table, list[str]]


def _in_order(read: partial[Batch], chunks: list[list[Task]], processes: int) -> Iterator[Batch]:
    if processes <= 1:
        yield from map(read, chunks)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(read, chunks)


def _read(source: Source, skip_bad: bool, tasks: list[Task]) -> Batch:
    broken: list[str] | None = [] if skip_bad else None
    return as_table(source.rows(tasks, broken), source.features), broken or []
