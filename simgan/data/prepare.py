"""`simgan prepare`: a source is read once, in parallel, and written as Arrow shards that training maps from disk."""

import multiprocessing
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import pyarrow as pa
import tyro
from datasets import Dataset
from tqdm import tqdm

from simgan.data.alignment import Alignment, align_crops
from simgan.data.columns import as_dataset
from simgan.data.crop import Wanted, warn_of_lost_labels
from simgan.data.simulated import Output
from simgan.data.source import Source, draw, written_aside
from simgan.data.sources import open_source
from simgan.data.tables import is_prepared
from simgan.domains import DEFAULT
from simgan.domains.base import Size
from simgan.errors import ConfigError, SourceError
from simgan.runtime import count_cores

CHUNK = 64  # tasks that a process reads at a time
SHARD = "200MB"
Input = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IN")]


@dataclass
class Prepared:
    """The number of crops, errors of files that were left out, and the alignment."""

    count: int
    broken: list[str] = field(default_factory=list)
    alignment: Alignment | None = None


def prepare(
    source: Input,
    output: Output,
    /,
    *,
    align: str | None = None,
    size: Size | None = DEFAULT.size,
    channels: Literal[1, 3] = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> Prepared:
    """Write a source once as Arrow shards of crops with their labels, for training.

    Memory does not grow with the source. The folder is written aside and renamed: a run that is killed leaves nothing
    there. `SourceError` for a broken source or output, `ImageError` for a broken image.

    Args:
        source: such as folder:DIR, hub:org/name, the name of a simulator, or an adapter's NAME:DIR.
        output: a new folder; training takes it as a source by its path.
        align: a source of real images; scale and centre of the crops are fitted to theirs, without labels; look at the
            means in OUT-alignment.png.
        size: width and height of a crop; None keeps the size of each image.
        channels: 1 for grey crops, 3 to keep their colours.
        limit: at most so many images.
        seed: of the choice among them.
        skip_bad: leave broken files out and list them at the end.
        processes: number of processes that read; all cores if not given. A script that calls this with more than one
            does so under `if __name__ == "__main__":`.
        overwrite: replace what was prepared in the output before.
    """
    output = Path(output).expanduser()
    if processes is not None and processes < 1:
        raise ConfigError(f"{processes} processes cannot read: give at least 1, or none")
    if output.exists() and not overwrite:
        raise SourceError(f"{output} exists: give another output, overwrite it, or delete it")
    if output.exists() and not is_prepared(output):
        raise SourceError(f"{output} holds something else than prepared crops and is left as it is: delete it yourself")
    wanted, alignment = Wanted(size, channels, limit, seed), None
    broken: list[str] | None = [] if skip_bad else None
    with written_aside(output) as aside:
        if align is not None:
            alignment = align_crops(source, align, wanted, aside / "means.png")
            wanted = replace(wanted, correction=alignment.correction)
        _write(open_source(source, wanted), aside / "rows.arrow", broken, processes or count_cores())
        dataset = Dataset.from_file(str(aside / "rows.arrow"))
        dataset = dataset.select(draw(range(len(dataset)), limit, seed))
        if size is not None:
            warn_of_lost_labels(source, dataset, size)
        if not len(dataset):
            raise SourceError(f"{source}: not one image could be read" + (f"; {broken[0]}" if broken else ""))
        dataset.save_to_disk(str(aside / "data"), max_shard_size=SHARD)
        if output.exists():
            output.rename(aside / "replaced")
        (aside / "data").rename(output)
        if alignment is not None:
            (aside / "means.png").replace(output.with_name(f"{output.name}-alignment.png"))
    return Prepared(len(dataset), broken or [], alignment)


def _write(source: Source, file: Path, broken: list[str] | None, processes: int) -> None:
    """Read all tasks, some in each process, and write their rows in order."""
    starts = range(0, len(source.tasks), CHUNK)
    parts = [replace(source, tasks=source.tasks[start : start + CHUNK], table=None) for start in starts]
    processes = min(processes, len(parts))
    with (
        pa.OSFile(str(file), "wb") as sink,
        pa.ipc.new_stream(sink, source.features.arrow_schema) as writer,
        multiprocessing.get_context("spawn").Pool(processes) if processes > 1 else nullcontext() as pool,
        tqdm(total=len(source.tasks), desc="preparing") as bar,
    ):
        read_part = partial(_read, skip_bad=broken is not None)
        done = pool.imap(read_part, parts) if pool else map(read_part, parts)
        for part, (table, bad) in zip(parts, done, strict=True):
            writer.write_table(table)
            if broken is not None:
                broken.extend(bad)
            bar.update(len(part.tasks))


def _read(source: Source, skip_bad: bool) -> tuple[pa.Table, list[str]]:
    """Return rows, and errors of broken files."""
    broken: list[str] | None = [] if skip_bad else None
    return as_dataset(source.rows(broken), source.features).data.table, broken or []
