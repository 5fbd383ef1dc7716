"""`simgan ablate`: the command line of the ablation."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import Annotated, Any

import tyro

from simgan.cli.arguments import Output
from simgan.domains import of_sources
from simgan.domains.base import Size
from simgan.experiments.ablation.measures import Unseen
from simgan.experiments.ablation.report import as_report, as_table, frontier, pictures
from simgan.experiments.ablation.runs import plan, recipe_of, train_all
from simgan.experiments.files import as_json, write_aside
from simgan.hub.cards.curves import as_png
from simgan.training.sources import resolve


@dataclass(frozen=True)
class Options:
    """What is trained."""

    output: Output  # a folder for ablation.json, ablation.md, frontier.png, history.png, local.png, and the runs
    _: KW_ONLY
    preset: str | None = None  # the recipe; that for the sources if not given
    synthetic: tuple[str, ...] = ()  # sources of synthetic images; the preset's if not given
    real: tuple[str, ...] = ()  # sources of real ones; the preset's if not given
    variants: tuple[str, ...] = ()  # such as "no history" or "lambda x 4", with the recipe; all if not given
    seeds: int = 2  # runs of each variant
    steps: int = 300  # of the recipe; a variant with more updates a step takes fewer
    jobs: int | None = None  # runs at a time, each with its share of the cores; as many as cores if not given
    limit: int | None = None  # take at most so many images of each source
    size: Size | None = None  # width and height in px to which images of the preset images are resized


def ablate(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """What does each ingredient add? Train the recipe without it, over seeds, at the same budget of updates.

    Real training runs, several at a time. What an interrupted call has trained is kept in the output.
    """
    output = options.output
    sources: dict[str, Any] = {key: given for key in ("synthetic", "real") if (given := getattr(options, key))}
    preset = options.preset or of_sources([*options.synthetic, *options.real])
    recipe = recipe_of(preset, steps=options.steps, limit=options.limit, size=options.size, **sources)
    found, lines = resolve(recipe)
    recipe = replace(recipe, **found)
    print(*lines, sep="\n", flush=True)
    runs = plan(recipe, output / "runs", options.variants, seeds=options.seeds)
    unseen = Unseen(recipe)
    results = train_all(runs, unseen, jobs=options.jobs)
    report = as_report(recipe, runs, results, unseen)
    table = as_table(report)
    files = {"frontier.png": as_png(frontier(report)), **pictures(runs, results, unseen)}
    for name, content in (files | {"ablation.md": f"{table}\n".encode(), "ablation.json": as_json(report)}).items():
        write_aside(output / name, content)
    print(table)
