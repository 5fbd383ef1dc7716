"""`simgan ablate`: the command line of the ablation."""

from __future__ import annotations

import sys
from typing import Any

from simgan.cli.arguments import Output
from simgan.domains import DEFAULT_PRESET
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.ablation.report import as_report, as_table, frontier, pictures
from simgan.experiments.ablation.runs import plan, recipe_of, train_all
from simgan.experiments.files import write_aside, write_json
from simgan.hub.cards.curves import as_png


def ablate(
    output: Output,
    /,
    preset: str = DEFAULT_PRESET,
    synthetic: tuple[str, ...] = (),
    real: tuple[str, ...] = (),
    variants: tuple[str, ...] = (),
    seeds: int = 2,
    steps: int = 300,
    jobs: int | None = None,
    limit: int | None = None,
) -> None:
    """What does each ingredient add? Train the recipe without it, over seeds, at the same budget of updates.

    Real training runs, several at a time. What an interrupted call has trained is kept in the output.

    Args:
        output: a folder for ablation.json, ablation.md, frontier.png, history.png, local.png, and the runs.
        preset: the recipe.
        synthetic: sources of synthetic images; the preset's if not given.
        real: sources of real ones; the preset's if not given.
        variants: such as "no history" or "lambda x 4", with the recipe; all if not given.
        seeds: runs of each variant.
        steps: of the recipe; a variant with more updates a step takes fewer.
        jobs: runs at a time, each with its share of the cores; as many as there are cores if not given.
        limit: take at most so many images of each source.
    """
    sources: dict[str, Any] = {key: given for key, given in (("synthetic", synthetic), ("real", real)) if given}
    recipe = recipe_of(preset, steps=steps, limit=limit, **sources)
    runs = plan(recipe, output / "runs", variants, seeds=seeds)
    unseen = Unseen.of(recipe)
    results = train_all(runs, unseen, jobs=jobs, report=lambda line: print(line, file=sys.stderr, flush=True))
    report = as_report(recipe, runs, results, unseen)
    print(as_table(report))
    for name, png in {"frontier.png": as_png(frontier(report)), **pictures(runs, results, unseen)}.items():
        write_aside(output / name, png)
    write_aside(output / "ablation.md", f"{as_table(report)}\n".encode())
    write_json(output / "ablation.json", report)
