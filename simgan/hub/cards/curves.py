"""The figure of a card: realism (with raw and floor) and annotation shift (with its bounds) over training."""

from io import BytesIO
from typing import Any

from simgan.hub.cards.records import Records

BLACK, ORANGE, BLUE, GREEN, GREY = "#000000", "#D55E00", "#0072B2", "#009E73", "#777777"  # Okabe and Ito's, and a grey
WIDTH = 3.5  # inches, about 9 cm: figures are read on paper too


def draw_curves(records: Records) -> bytes | None:
    """Return the measures of a run as a PNG, the same bytes every time; None where there are fewer than two."""
    if len(records.measures) < 2:
        return None
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    words = records.words
    figure = Figure(figsize=(WIDTH, 4.8), dpi=220, layout="constrained")
    realism, shift = figure.subplots(2, 1, sharex=True)
    steps = [row["step"] for row in records.measures]

    def line(axes: object, key: str, label: str, scale: float, **style: object) -> None:
        values = [scale * row.get(key, float("nan")) for row in records.measures]
        axes.plot(steps, values, label=label, linewidth=1.3, markersize=3.5, **style)  # type: ignore[attr-defined]

    line(realism, "realism", "refined", 1000, color=BLUE, marker="o")
    line(realism, "realism_raw", "raw", 1000, color=GREY, linestyle="--")
    line(realism, "realism_floor", "real to real (floor)", 1000, color=GREEN, linestyle=":")
    realism.set_ylabel("patch distance to real × 1000", fontsize=8)
    line(shift, "shift", words.short, 1, color=BLUE, marker="o")
    line(shift, "shift_median", words.middle, 1, color=ORANGE, marker="s")
    bounds = (("max_shift", words.short, BLUE, "--"), ("max_median_shift", words.middle, ORANGE, "-."))
    for key, label, colour, style in bounds:
        if records.settings.get(key) is not None:
            shift.axhline(records.settings[key], label=f"bound: {label}", color=colour, linestyle=style, linewidth=0.9)
    shift.set_ylabel(f"{words.part} moved, {words.where}", fontsize=8)
    shift.set_xlabel("step", fontsize=8)
    for axes in (realism, shift):
        if records.step is not None:
            axes.axvline(records.step, color=BLACK, linewidth=0.8, label="this model" if axes is realism else None)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=7, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, handlelength=2.4)
        axes.grid(alpha=0.3)
    return as_png(figure)


def as_png(figure: Any) -> bytes:
    """Return a figure of matplotlib as a PNG, the same bytes every time."""
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
