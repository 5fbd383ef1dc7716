"""The report of a hands experiment: the paper's table, figures for programs, and the curve of correct keypoints."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from simgan.experiments import experiment_report
from simgan.experiments.experiment_report import as_markdown, column, interval_of, share_of
from simgan.experiments.hand_pose.arms import Material
from simgan.experiments.hand_pose.experiment import PAPER, HandsComparison
from simgan.experiments.hand_pose.training import HandsTraining

_PIXELS = 10.0
TASK = {
    "title": "Hands",
    "columns": [
        column("share_within_5px", "within 5 px, %", 100, 1),
        column("error", "error px"),
        column("error_mm", "error mm"),
    ],
    "axis": "joints within 5 px, %",
    "unit": " %",
    "less_is_better": False,
    "share": "joints within d px",
}


def as_report(comparison: HandsComparison, material: Material, training: HandsTraining) -> dict[str, Any]:
    """Give all figures of an experiment; `raw` and `refined` are the rows by seed that a model card reads."""
    return experiment_report.as_report(comparison, material, asdict(training), TASK) | {"paper": PAPER}


def as_table(report: dict[str, Any]) -> str:
    """Give the report as two tables of Markdown, which read well as they are."""
    arms = [("trained on", "images", "within 5 px", "error px", "error mm", "the paper, within 5 px")]
    for row in report["arms"]:
        paper = report["paper"].get(row["trained_on"])
        arms.append(
            (
                row["trained_on"],
                f"{row['images']:,}",
                share_of(row["share_within_5px"], digits=1),
                interval_of(row["error"]),
                interval_of(row["error_mm"]),
                f"{paper:.1%}" if paper else "",
            )
        )
    differences = [("difference", "within 5 px", "error px", "error mm")]
    for row in report["differences"]:
        differences.append(
            (
                f"{row['first']} − {row['second']}",
                share_of(row["share_within_5px"], digits=1, sign=True),
                interval_of(row["error"], sign=True),
                interval_of(row["error_mm"], sign=True),
            )
        )
    settings = report["settings"]
    return "\n\n".join(
        [
            as_markdown(arms),
            *([as_markdown(differences)] if report["differences"] else []),
            f"{len(report['arms'][0]['seeds'])} seeds, {report['test_images']:,} test images of 14 joints; in brackets "
            f"95 % intervals that resample {report['resampled']} and the seeds.\n"
            f"px of a crop of 224; mm across, at the depth of the joint's label. {settings['stacks']} hourglasses, "
            f"heat maps {settings['heat']}×{settings['heat']}, width {settings['width']:g}, {settings['steps']} steps.",
        ]
    )


def draw_pck(comparison: HandsComparison) -> bytes:
    """Draw the share of joints within d px, mean over the seeds, as a PNG; the same bytes every time."""
    return experiment_report.draw_shares(
        {row.name: row.errors for row in comparison.arms},
        _PIXELS,
        "distance from the true joint, px of 224",
        "share of joints, %",
    )
