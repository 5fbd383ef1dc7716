"""What figures have in common: colours that everybody can tell apart, labels and grid of axes, rows of images."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot: it would choose a backend for the whole process

from simgan.hub.cards.curves import WIDTH, as_png
from simgan.images.arrays import Array

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")  # Okabe and Ito's, beside black


def label_axes(axes: Axes, x: str, y: str) -> None:
    """Label axes and draw their grid."""
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)


def draw_rows(rows: Mapping[str, Sequence[Array]]) -> bytes:
    """Draw RGB images (H, W, 3), a row under each label; a PNG, the same bytes every time."""
    strips = {
        label: np.concatenate([np.pad(image, ((0, 0), (0, 2), (0, 0)), constant_values=255) for image in images], 1)
        for label, images in rows.items()
    }
    height, width, _ = next(iter(strips.values())).shape
    figure = Figure(figsize=(WIDTH, len(rows) * (0.97 * WIDTH * height / width + 0.24)), dpi=440, layout="constrained")
    for axes, (label, strip) in zip(figure.subplots(len(rows), 1), strips.items(), strict=True):
        axes.imshow(strip, interpolation="nearest")
        axes.set_title(label, fontsize=8, loc="left", pad=2)
        axes.set_axis_off()
    return as_png(figure)
