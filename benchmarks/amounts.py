"""How many real images are enough? Trains the preset `eyes` with several numbers of them, measures, and draws a figure.

`python benchmarks/amounts.py OUTPUT`: a JSON for each number and seed, and `amounts.png`. Each of the twelve
trainings takes 2 to 3 minutes on two cores. What is there already is not trained again.
"""

import json
import subprocess
import sys
from pathlib import Path

from matplotlib.figure import Figure

from simgan.experiments.plots import COLOURS, label_axes
from simgan.hub.cards.curves import WIDTH, as_png

AMOUNTS, SEEDS = (100, 500, 2000, 20_000), (0, 1, 2)
SIDES = ("simulator:eyes", "camera:eyes")
MEASURE = (*SIDES, "--limit", "400", "--seed", "7")  # persons that no training has used


def measured(output: Path, amount: int, seed: int) -> list[dict[str, dict[str, float]]]:
    """Return patch distance and classifier accuracy of a refiner that learnt from so many real images."""
    run, result = output / f"{amount}-{seed}", output / f"{amount}-{seed}.json"
    if not result.is_file():
        real = output / f"real-{amount}"
        if not real.is_dir():
            _call("simgan", "prepare", SIDES[1], str(real), "--limit", str(amount))
        train = ("accelerate", "launch", "--num_processes", "1", "--cpu", "train_accelerate.py", "--preset", "eyes")
        _call(*train, "--real", str(real), "--seed", str(seed), "--output", str(run), "--trackers")
        _call("simgan", "evaluate", "realism", *MEASURE, "--model", str(run), "--output", str(result))
    rows: list[dict[str, dict[str, float]]] = json.loads(result.read_text(encoding="utf-8"))["rows"]
    return rows


def _call(*command: str) -> None:
    subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)


def main(output: Path) -> None:
    """Train and measure all, then draw each figure over the number of real images, a dot for each seed."""
    output.mkdir(parents=True, exist_ok=True)
    found = {amount: [measured(output, amount, seed) for seed in SEEDS] for amount in AMOUNTS}
    raw, floor = (1000 * found[AMOUNTS[0]][0][0][key]["value"] for key in ("raw", "floor"))
    figure = Figure(figsize=(2 * WIDTH, 2.6), dpi=220, layout="constrained")
    both = figure.subplots(1, 2)
    panels = zip(both, ("patch distance × 1000", "classifier accuracy, %"), (1000, 100), strict=True)
    for number, (axes, title, factor) in enumerate(panels):
        values = [[factor * rows[number]["refined"]["value"] for rows in found[amount]] for amount in AMOUNTS]
        axes.plot(AMOUNTS, [sum(seeds) / len(seeds) for seeds in values], color=COLOURS[1], label="mean of three seeds")
        for amount, seeds in zip(AMOUNTS, values, strict=True):
            axes.plot([amount] * len(seeds), seeds, "o", color=COLOURS[1], markersize=3.5)
        if number:
            axes.axhline(100, color="black", linestyle="--", linewidth=1, label="raw")
            axes.axhline(50, color=COLOURS[2], linestyle=":", linewidth=1.3, label="between real images")
        else:
            axes.axhline(raw, color="black", linestyle="--", linewidth=1, label="raw")
            axes.axhline(floor, color=COLOURS[2], linestyle=":", linewidth=1.3, label="between real images")
            axes.set_ylim(bottom=0)
        axes.set_xscale("log")
        axes.set_xticks(AMOUNTS, [f"{amount:,}" for amount in AMOUNTS])
        axes.minorticks_off()
        label_axes(axes, "real images", title)
    both[0].legend(fontsize=7, loc="center")
    (output / "amounts.png").write_bytes(as_png(figure))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
