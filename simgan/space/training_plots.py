"""The plots of the tab Training as SVG: they take the width, the font and the colour of text of the page."""

import io
import re

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simgan.hub.cards.records import Records
from simgan.space.events import TEXTS

ORANGE, GREY, BLUE, GREEN = "#d97706", "#64748b", "#2563eb", "#059669"  # distinct on light and on dark
REALISM = {"realism": ("refined", ORANGE), "realism_raw": ("raw", GREY), "realism_floor": ("real", BLUE)}
SHIFT = {"shift": ("trimmed mean", ORANGE), "shift_median": ("median", BLUE)}
DISTANCE, STEP = "patch distance ×1000", "training step"
_TEXT = "#010203"  # in its place comes the colour of the page's text
matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text


def draw_plots(found: Records, shipped: int) -> str:
    """Return HTML of three plots: realism and annotation shift at each step, and one against the other."""
    steps, moved = [row["step"] for row in found.measures], f"annotation shift in {found.words.unit}"

    def curves(axes: Axes, named: dict[str, tuple[str, str]], scale: float, label: str) -> None:
        for key, (name, colour) in named.items():
            axes.plot(steps, [scale * row[key] for row in found.measures], color=colour, label=name)
        axes.axvline(
            shipped, ymax=0.72, color=GREEN, linestyle="--", label=f"ships: step {shipped}"
        )  # below the legend
        axes.set(xlabel=STEP, ylabel=label, ylim=(0, 1.45 * axes.get_ylim()[1]))  # room for the legend

    def trade(axes: Axes) -> None:
        for is_shipped, name, colour in ((False, "other steps", ORANGE), (True, f"ships: step {shipped}", GREEN)):
            rows = [row for row in found.measures if (row["step"] == shipped) == is_shipped]
            places = [row["shift"] for row in rows], [1000 * row["realism"] for row in rows]
            axes.scatter(*places, color=colour, label=name, marker="D" if is_shipped else "o")
        bottom, top = axes.get_ylim()
        axes.set(xlabel=moved, ylabel=DISTANCE, ylim=(bottom, top + 0.3 * (top - bottom)))

    made = [Figure((4.2, 3.2), layout="constrained") for _ in range(3)]
    realism, shift, both = (figure.add_subplot() for figure in made)
    curves(realism, REALISM, 1000, DISTANCE)
    curves(shift, SHIFT, 1, moved)
    trade(both)
    return str(TEXTS.training_plots([_svg(figure, number) for number, figure in enumerate(made)], shipped, steps[-1]))


def _svg(figure: Figure, number: int) -> str:
    """Return a figure of one plot as SVG; `number` keeps its ids from those of other figures in the page."""
    (axes,) = figure.axes
    axes.grid(color=GREY, alpha=0.3)
    axes.locator_params(nbins=6)
    axes.legend(ncols=2, loc="upper left", frameon=False, labelcolor=_TEXT, fontsize=9.5)
    axes.tick_params(colors=_TEXT)
    axes.xaxis.label.set_color(_TEXT)
    axes.yaxis.label.set_color(_TEXT)
    axes.spines[:].set_color(GREY)
    file = io.StringIO()
    matplotlib.rcParams["svg.hashsalt"] = str(number)
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    whole = file.getvalue()
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\1plot-{number}-", whole[whole.index("<svg") :])
    start, rest = svg.split(">", 1)  # of the figure itself, whose size is the page's affair
    return (re.sub(r' (width|height)="[^"]*"', "", start) + ' aria-hidden="true">' + rest).replace(
        _TEXT, "currentColor"
    )
