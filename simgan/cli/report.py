"""The command `simgan report`."""

from pathlib import Path
from typing import Annotated

import tyro

from simgan.experiments.report.write import write_report

Runs = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def report(runs: Runs, /, output: Path = Path("report")) -> None:
    """Put runs and what was measured into one folder: report.md, report.json, figures, settings, versions, hardware.

    Runs of one recipe with different seeds are shown side by side, with mean and standard deviation.

    Args:
        runs: folders of runs or models, shipped models, JSON files or folders of `simgan evaluate`, folders of
            `simgan ablate`.
        output: a new folder, or that of a report, which is replaced.
    """
    write_report(runs, output)
    print(output / "report.md")
