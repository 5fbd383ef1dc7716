"""The report of a gaze experiment: a table for people, figures for programs, and the paper's curve."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simgan.experiments import experiment_report
from simgan.experiments.experiment_report import as_markdown, column, interval_of, share_of
from simgan.experiments.gaze.arms import Material
from simgan.experiments.gaze.experiment import SHARE_WITHIN, GazeComparison
from simgan.experiments.gaze.training import GazeTraining

_DEGREES = 20.0
TASK = {
    "title": "Gaze",
    "columns": [
        column("error", "error°"),
        column("error_without_offset", "without offset°"),
        column("share_within_7_degrees", "within 7°, %", 100, 0),
    ],
    "axis": "gaze error, degrees",
    "unit": "°",
    "less_is_better": True,
    "share": "test images within d degrees",
}


def as_report(comparison: GazeComparison, material: Material, training: GazeTraining) -> dict[str, Any]:
    """Give all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads."""
    limits = {name: getattr(material, name) for name in ("pitch", "yaw")}
    return experiment_report.as_report(comparison, material, asdict(training), TASK, limits)


def as_table(report: dict[str, Any]) -> str:
    """Give the report as two tables of Markdown, which read well as they are."""
    seeds = report["arms"][0]["seeds"]
    arms = [
        ("trained on", "images", "error°", "median°", "without offset°", f"within {SHARE_WITHIN:.0f}°", "r pitch, yaw")
    ]
    for row in report["arms"]:
        arms.append(
            (
                row["trained_on"],
                f"{row['images']:,}",
                interval_of(row["error"]),
                interval_of(row["median_error"]),
                interval_of(row["error_without_offset"]),
                share_of(row["share_within_7_degrees"]),
                f"{row['correlation_pitch']:.2f}, {row['correlation_yaw']:.2f}",
            )
        )
    differences = [("difference of error", "error°", "of it", "without offset°")]
    for row in report["differences"]:
        differences.append(
            (
                f"{row['first']} − {row['second']}",
                interval_of(row["error"], sign=True),
                f"{-row['reduction']:+.0%}",
                interval_of(row["error_without_offset"], sign=True),
            )
        )
    return "\n\n".join(
        [
            as_markdown(arms),
            *([as_markdown(differences)] if report["differences"] else []),
            f"{len(seeds)} seeds, {report['test_images']:,} test images; in brackets 95 % intervals that resample "
            f"{report['resampled']} and the seeds.\n"
            f"Always answering the mean of the test labels: {seeds[0]['guessing']:.2f}°.",
        ]
    )


def draw_shares(comparison: GazeComparison) -> bytes:
    """Draw the share of test images within d degrees, mean over the seeds, as a PNG; the same bytes every time."""
    errors = {row.name: row.errors for row in comparison.arms}
    return experiment_report.draw_shares(
        errors, _DEGREES, "distance from the true gaze, degrees", "share of test images, %"
    )
