"""The command `simgan prepare`."""

from typing import Literal

from simgan.cli.arguments import Input, Output, print_broken
from simgan.data import prepare as preparing
from simgan.domains import DEFAULT


def prepare(
    source: Input,
    output: Output,
    /,
    align: str | None = None,
    size: tuple[int, int] | None = DEFAULT.size,
    channels: Literal[1, 3] = 1,
    limit: int | None = None,
    seed: int = 0,
    skip_bad: bool = False,
    processes: int | None = None,
    overwrite: bool = False,
) -> None:
    """Write a source once as Arrow shards of crops with their labels, for training.

    Args:
        source: such as folder:DIR, hub:org/name, the name of a simulator, or an adapter's NAME:DIR.
        output: a new folder; training takes it as a source by its path.
        align: a source of real images; scale and centre of the crops are fitted to theirs, without labels.
        size: width and height of a crop; None keeps the size of each image.
        channels: 1 for grey crops, 3 to keep their colours.
        limit: at most so many images.
        seed: of the choice among them.
        skip_bad: leave broken files out and list them at the end.
        processes: number of processes that read; all cores if not given.
        overwrite: replace what was prepared in the output before.
    """
    done = preparing.prepare(
        source,
        output,
        align=align,
        size=size,
        channels=channels,
        limit=limit,
        seed=seed,
        skip_bad=skip_bad,
        processes=processes,
        overwrite=overwrite,
    )
    print(f"{done.count} crops in {output}")
    if done.alignment is not None:
        print(f"{done.alignment.summary}; the mean images are in {output}-alignment.png")
    print_broken(done.broken)
