"""The two promises of a refiner over training: realism between raw and floor, annotation shift below its bounds."""

from io import BytesIO

from simgan.cards.records import Records


def draw_curves(records: Records) -> bytes | None:
    """Draw the measures of a run as a PNG, the same bytes every time; None where there are none."""
    if len(records.measures) < 2:
        return None
    from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

    figure = Figure(figsize=(9, 3.4), dpi=110, layout="constrained")
    realism, shift = figure.subplots(1, 2)
    steps = [row["step"] for row in records.measures]

    def line(axes: object, key: str, label: str, scale: float, **style: object) -> None:
        axes.plot(steps, [scale * row.get(key, float("nan")) for row in records.measures], label=label, **style)  # type: ignore[attr-defined]

    line(realism, "realism_raw", "raw", 1000, color="0.5", linestyle="--")
    line(realism, "realism", "refined", 1000, color="C0", marker="o", markersize=3)
    line(realism, "realism_floor", "between real images (floor)", 1000, color="C2", linestyle=":")
    realism.set(title="Realism", xlabel="step", ylabel="patch distance to real × 1000")
    line(shift, "shift", "mean (worst 5 % left out)", 1, color="C0", marker="o", markersize=3)
    line(shift, "shift_median", "median", 1, color="C1", marker="o", markersize=3)
    for key, label, colour in (("max_shift", "mean", "C0"), ("max_median_shift", "median", "C1")):
        if records.settings.get(key) is not None:
            shift.axhline(records.settings[key], label=f"bound on the {label}", color=colour, linestyle="--", alpha=0.6)
    shift.set(title="Annotation shift", xlabel="step", ylabel="iris moved by, px at 55 px width", ylim=(0, None))
    for axes in (realism, shift):
        if records.step is not None:
            axes.axvline(records.step, color="0.3", linewidth=0.8, label="this model")
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
