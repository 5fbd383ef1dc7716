"""What the commands of all experiments share."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from simgan.experiments.sources import Sources
    from simgan.experiments.task import Training

Synthetic = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SYNTHETIC")]
Real = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REAL")]


def run_command(
    sources: Sources,
    arms: Sequence[str],
    training: Training,
    *,
    seeds: int,
    finetune: Sequence[int],
    device: str,
    output: Path | None,
) -> None:
    """Run an experiment, print its tables, and write its report and its curve.

    `output` is a folder for NAME.json, NAME.png and the results of each network, or the JSON file in it.
    """
    from simgan.experiments.experiment import run_experiment
    from simgan.experiments.files import write_aside, write_json
    from simgan.experiments.tables import as_report, as_table, draw_curve

    file = output if output is None or output.suffix == ".json" else output / f"{sources.task.name}.json"
    comparison = run_experiment(
        sources,
        arms,
        training=training,
        seeds=seeds,
        finetune=finetune,
        folder=file and file.with_suffix(""),
        device=device,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    report = as_report(comparison, sources, training)
    print(as_table(report, sources.task))
    if file is not None:
        write_aside(file.with_suffix(".png"), draw_curve(comparison))
        write_json(file, report)
