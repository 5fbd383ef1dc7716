"""What arms reached, and the report of it: figures as JSON, tables of Markdown, and the curve of shares within d."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simgan.experiments.base import Column, Experiment, Floats, LabelledImages, Measured
from simgan.experiments.plots import COLOURS, label_axes
from simgan.experiments.sources import Arm, Sources
from simgan.hub.cards.curves import WIDTH, as_png
from simgan.measures.statistics import Estimate, Groups, estimate_errors, group_images

_STYLES = ("-", "--", "-.", ":")
_POINTS = 10  # of the curve, in the JSON


@dataclass(frozen=True)
class ArmResult:
    """One arm, fine-tuned on so many real images or on none, over all seeds."""

    arm: Arm
    tuned: int
    images: int
    results: list[Measured]

    @property
    def name(self) -> str:
        """What its networks were trained on."""
        return self.arm.tuned(self.tuned)

    @property
    def errors(self) -> Floats:
        """Errors of every seed: (seeds, images, ...)."""
        return np.stack([result.errors for result in self.results])

    @property
    def columns(self) -> dict[str, Floats]:
        """The columns but those of medians: (seeds, images)."""
        return {key: np.stack([result.columns[key] for result in self.results]) for key in self.results[0].columns}

    def shown(self, columns: Sequence[Column]) -> list[Column]:
        """Return the columns that were measured."""
        return [column for column in columns if column.median or column.key in self.results[0].columns]


def pairs(arms: Sequence[ArmResult]) -> Iterator[tuple[ArmResult, ArmResult]]:
    """Pair each arm with the first, and each arm of the first model with its rivals, among those fine-tuned alike.

    Rivals are unrefined arms, and arms of as many images refined by another model.
    """
    for number in {row.tuned: None for row in arms}:
        first, *others = [row for row in arms if row.tuned == number]
        yield from ((row, first) for row in others)
        refined = [row for row in others if row.arm.kind == "refined"]
        for row in refined:
            if row.arm.model == refined[0].arm.model:
                for rival in others:
                    same_count = rival.arm.times == row.arm.times and rival.arm.model != row.arm.model
                    if rival.arm.kind != "refined" or same_count:
                        yield row, rival


def as_report(sources: Sources, arms: Sequence[ArmResult]) -> dict[str, Any]:
    """Return all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads.

    Differences of two arms are paired by test image and seed; `relative` is the first column's, as a share.
    """
    experiment, test = sources.experiment, sources.test
    shown = arms[0].shown(experiment.columns)
    groups, resampled = _groups(shown, arms[0].results[0].images, test)
    task = {name: getattr(experiment, name) for name in ("name", "axis", "unit", "less_is_better")}
    settings = {name: getattr(experiment, name) for name in ("limit", "test_limit", "test_persons", "size")}
    report: dict[str, Any] = {
        "task": task
        | {"title": experiment.name.title(), "columns": [asdict(column) for column in shown]}
        | {"share": f"{experiment.counted}, by {experiment.distance}"},
        "synthetic": experiment.synthetic,
        "real": experiment.real,
        "also": list(experiment.tests()[1:]),
        "train_real": experiment.train_real,
        "unlabelled": experiment.unlabelled,
        "models": list(experiment.model),
        "alignment": [{"real": name, "found": one.summary} | asdict(one) for name, one in sources.alignments().items()],
        "test_images": len(test.images),
        "resampled": resampled,
        "settings": experiment.training | settings,
        "paper": dict(experiment.paper),
        "arms": [],
        "differences": [],
    }
    main = experiment.columns[0].key
    for row in arms:
        seeds, values = [result.figures for result in row.results], row.columns
        columns = {
            key: asdict(estimate_errors(values.get(key, values[main]), groups[key], median=column.median))
            for key, column in ((column.key, column) for column in shown)
        }
        within = np.linspace(0, experiment.greatest, _POINTS + 1)[1:]
        shares = {f"{d:g}": float((row.errors < d).mean()) for d in within}
        report["arms"].append(
            {"trained_on": row.name, "images": row.images, **columns, "shares_within": shares, "seeds": seeds}
        )
        if row.tuned == 0 and row.arm.times == 1 and not row.arm.augment:
            if row.arm.kind == "synthetic":
                report["raw"] = seeds
            elif row.arm.kind == "refined" and row.arm.model == experiment.model[0]:
                report["refined"] = seeds
    for first, second in pairs(arms):
        one, other = first.columns, second.columns
        columns = {key: asdict(estimate_errors(one[key] - other[key], groups[key])) for key in one}
        mean = float(other[main].mean())
        relative = columns[main]["value"] / mean if mean else float("nan")
        report["differences"].append({"first": first.name, "second": second.name, "relative": relative} | columns)
    return report


def _groups(
    columns: Sequence[Column], images: Mapping[str, NDArray[np.int64]], test: LabelledImages
) -> tuple[dict[str, Groups], str]:
    """Return the groups of the images of each column, and what they are, each kind at the first column it is of."""
    groups, told = {}, {}
    for key in (column.key for column in columns):
        data = test.part(images[key]) if key in images else test
        known = None if "" in (data.persons or ()) else data.persons
        groups[key], told[key] = group_images(len(data.images), known, data.labels.get("recording"))
    if len(set(told.values())) == 1:
        return groups, told.popitem()[1]
    firsts = {what: column.heading for column in reversed(columns) for what in (told[column.key],)}
    return groups, ", ".join(f"{what} for {heading}" for what, heading in reversed(firsts.items()))


def as_table(report: Mapping[str, Any], experiment: Experiment) -> str:
    """Return a report as tables of Markdown, which read well as they are."""
    columns = [Column(**column) for column in report["task"]["columns"]]
    first = columns[0]
    arms = [["trained on", "images", *(column.heading for column in columns)]]
    for row in report["arms"]:
        cells = [_show(row[column.key], column) for column in columns]
        arms.append([row["trained_on"], f"{row['images']:,}", *cells])
    if experiment.paper:
        reached = [experiment.paper.get(row[0]) for row in arms[1:]]
        figures = ["" if one is None else f"{first.factor * one:.{first.digits}f}" for one in reached]
        arms = [[*row, cell] for row, cell in zip(arms, [f"the paper, {first.heading}", *figures], strict=True)]
    means = [column for column in columns if not column.median]
    differences = [["difference", "relative", *(column.heading for column in means)]]
    for row in report["differences"]:
        cells = [_show(row[column.key], column, sign=True) for column in means]
        differences.append([f"{row['first']} − {row['second']}", f"{row['relative']:+.0%}", *cells])
    seeds = report["arms"][0]["seeds"]
    notes = [
        f"{len(seeds)} seeds, {report['test_images']:,} test images; in brackets 95 % intervals that resample "
        f"{report['resampled']} and the seeds.",
        experiment.note,
    ]
    notes += [f"As {report['real']}, by the means: {one['real']} {one['found']}." for one in report["alignment"]]
    if "guessing" in seeds[0]:
        notes.append(f"A guess of the mean of the test labels: {seeds[0]['guessing']:.2f}{experiment.unit}.")
    tables = [as_markdown(rows) for rows in (arms, differences) if len(rows) > 1]
    return "\n\n".join([*tables, "\n".join(filter(None, notes))])


def draw_curve(experiment: Experiment, arms: Sequence[ArmResult]) -> bytes:
    """Draw the share of errors within d, a line for each arm over all seeds; a PNG, the same bytes every time."""
    figure = Figure(figsize=(WIDTH, 2.8 + 0.14 * len(arms)), dpi=200, layout="constrained")
    axes = figure.subplots()
    errors = np.concatenate([row.errors.ravel() for row in arms])
    reach = min(experiment.greatest, float(errors[np.isfinite(errors)].max(initial=0)) + 1)
    within = np.linspace(0, reach, 201)
    colours = ("#000000", *COLOURS)
    for number, row in enumerate(arms):
        shares = np.searchsorted(np.sort(row.errors, axis=None), within, side="right") / row.errors.size
        colour, style = colours[number % len(colours)], _STYLES[number % len(_STYLES)]  # 28 pairs
        axes.plot(within, 100 * shares, color=colour, linestyle=style, linewidth=1.3, label=row.name)
    label_axes(axes, experiment.distance, f"share of {experiment.counted}, %")
    axes.set(xlim=(0, reach), ylim=(0, 100))
    figure.legend(fontsize=7, loc="outside lower left", frameon=False, handlelength=3)
    return as_png(figure)


def as_markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the first of them the heading, as a table of Markdown."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _show(values: Mapping[str, float], column: Column, *, sign: bool = False) -> str:
    return Estimate(**values).show(column.factor, column.digits, sign=sign)
