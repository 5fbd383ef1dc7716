"""The commands `simgan report` and `simgan reproduce`; what they need is imported when they are called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

Runs = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def report(runs: Runs, /, output: Path = Path("report")) -> None:
    """Put runs and what was measured into one folder: report.md, report.json, figures, settings, versions, hardware.

    Runs of one recipe with different seeds are shown side by side, with mean and standard deviation.

    Args:
        runs: folders of runs or models, shipped models, JSON files or folders of `simgan evaluate`, folders of
            `simgan ablate`.
        output: a new folder, or that of a report, which is replaced.
    """
    from simgan.experiments.report.write import write_report

    write_report(runs, output)
    print(f"{output / 'report.md'}")


def reproduce(
    output: Path = Path("reproduction"),
    data: Path | None = None,
    only: tuple[str, ...] = (),
    list: bool = False,
    seed: int = 0,
) -> None:
    """Make the figures and tables of README and cards from nothing, step by step; it goes on where it was stopped.

    Args:
        output: the folder of it all: runs, results, a log a step, and at the end report/report.md.
        data: a folder with eyes_real and eyes_synthetic, for the steps on real eyes too.
        only: make these steps alone.
        list: only print the steps and their commands.
        seed: fixes everything that is random.
    """
    from simgan.experiments.reproduce import Reproduction

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    made = Reproduction(output, data=data, chosen=only, seed=seed, tell=tell)
    if list:
        print(made.listing())
        return
    made.run()
    print(f"all is in {output}")
