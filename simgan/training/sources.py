"""The images of a run: its sources loaded, a part of each held out."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data.crop import Wanted, warn_of_lost_labels
from simgan.data.loader import Crops
from simgan.data.sources import load as load_source
from simgan.data.splits import hold_out
from simgan.data.survey import Survey, survey
from simgan.domains import of_preset
from simgan.domains.base import MarkedWeight, PointsWeight, Size
from simgan.errors import ConfigError, SourceError
from simgan.images import codecs
from simgan.images.arrays import MINIMUM_SIZE, Array
from simgan.preparation.triangulation import Triangulation
from simgan.simulators import SIMULATORS
from simgan.training.config import TrainingConfig
from simgan.training.data import Frames, TrainingData, generator
from simgan.training.processes import from_main

SYNTHETIC_SEED, REAL_SEED = 1, 2  # of limits and simulators: the same images whatever the run's seed
WHOLE, WINDOW = 128, 64  # px: greatest side of images that are trained on as a whole, and a window of others
MEASURED = 400  # images of a source that are held in memory for the measures


def load(config: TrainingConfig) -> TrainingData:
    """Load both sides. A source that is named twice is read once, and counts twice in every mini-batch and measure."""
    if not config.synthetic or not config.real:
        raise SourceError("give at least one source to --synthetic and one to --real")
    domain, _ = of_preset(config.preset)
    resolved, lines = from_main(partial(resolve, config))
    config = replace(config, **resolved)
    from_main(partial(print, *lines, sep="\n", flush=True))
    depth, weight = codecs.get(domain.codec).is_depth, domain.weight
    synthetic = {name: split(name, config, SYNTHETIC_SEED) for name in config.synthetic}
    real = {name: split(name, config, REAL_SEED) for name in config.real}
    if config.size and not domain.size and not config.window:
        for name, (training, _) in synthetic.items():
            from_main(partial(warn_of_lost_labels, name, training, config.size))
    learned: dict[str, Any] = {}
    if domain.learn_triangulation and config.preparation:
        frames = [partial(_frames, [data for data, _ in side.values()]) for side in (synthetic, real)]
        learned["triangulation"] = from_main(partial(domain.learn_triangulation, *frames))
    if config.label_weight and isinstance(weight, PointsWeight) and not config.weight:
        synthetic = {name: (_with_points(training, weight), rest) for name, (training, rest) in synthetic.items()}

    def images(data: Dataset, shadows: Triangulation | None = None) -> Crops:
        return Frames(data, shadows) if depth else Crops(data, channels=config.channels or 1)

    def measured(images: Crops) -> Array:
        chosen = _evenly(images, MEASURED)
        if config.window and isinstance(images, Frames):
            return images.windows(chosen, config.window, [generator(0, "held out", int(index)) for index in chosen])
        return images[chosen]

    def labels(data: Dataset) -> dict[str, Any]:
        some = data.select(_evenly(data, MEASURED))
        return {name: some[name][:] for name in domain.measured if name in data.column_names and not depth}

    shadows = learned.get("triangulation")
    held_out = {name: measured(images(rest, shadows)) for name, (_, rest) in synthetic.items()}
    held_out_real = {name: measured(images(rest)) for name, (_, rest) in real.items()}
    if config.weight:
        for training, _ in synthetic.values():
            images(training).masks([0], MarkedWeight(config.weight))  # refuses a column that marks nothing
    for name, some in (held_out | held_out_real).items():
        domain.check_kind(name, some)
    return TrainingData(
        [images(synthetic[name][0], shadows) for name in config.synthetic],
        [images(real[name][0]) for name in config.real],
        [held_out[name] for name in config.synthetic],
        [held_out_real[name] for name in config.real],
        [labels(synthetic[name][1]) for name in config.synthetic],
        learned,
        resolved,
    )


def resolve(config: TrainingConfig) -> tuple[dict[str, Any], list[str]]:
    """Return the settings that follow from the images, where they are not given, and lines that say what was found.

    `ConfigError` where images of the two sides do not go together, or are not of the preset's kind.
    """
    domain, _ = of_preset(config.preset)
    sides: dict[str, list[Survey]] = {}
    for side, names, seed in ("synthetic", config.synthetic, SYNTHETIC_SEED), ("real", config.real, REAL_SEED):
        sides[side] = [survey(name, Wanted(limit=config.limit, seed=seed)) for name in dict.fromkeys(names)]
    lines = [f"{side:9} {found}" for side, all_of in sides.items() for found in all_of]
    everything = [found for all_of in sides.values() for found in all_of]
    sizes = np.concatenate([found.sizes for found in everything])
    if domain.size is not None:
        return {}, [*lines, _describe(config, sizes, domain.size)]
    if deep := [found.source for found in everything if found.deep]:
        raise ConfigError(
            f"{deep[0]} holds images of 16 bits, and the preset {config.preset} is for 8: convert them, or choose a "
            "preset of depth"
        )
    channels = config.channels
    if channels is None:
        coloured = {side: np.mean([found.coloured for found in all_of]) >= 0.5 for side, all_of in sides.items()}
        if len({*coloured.values()}) > 1:
            grey = next(side for side, colour in coloured.items() if not colour)
            raise ConfigError(f"the {grey} images are grey and the others in colour: choose --channels 1 or 3")
        channels = 3 if all(coloured.values()) else 1
    window = config.window
    if window is None:
        alike = config.size is not None or (len(np.unique(sizes, axis=0)) == 1 and sizes.max() <= WHOLE)
        window = 0 if alike else min(WINDOW, int(sizes.min()))
    resolved: dict[str, Any] = {"channels": channels, "window": window, "size": config.size}
    if not window and config.size is None:
        if len(np.unique(sizes, axis=0)) > 1:
            raise ConfigError("the images differ in size: give --size WIDTH HEIGHT, or a --window to train on parts")
        resolved["size"] = tuple(sizes[0].tolist())
    if min(sizes.min(), window or WINDOW) < MINIMUM_SIZE and config.size is None:
        raise ConfigError(f"an image has a side of {sizes.min()} pixels: at least 16 are needed, so give a --size")
    settled = replace(config, **resolved)
    lines.append(_describe(settled, sizes, settled.size))
    middles = [np.median(np.concatenate([found.sizes for found in all_of]), 0) for all_of in sides.values()]
    if config.window is None and window and sizes.max() <= WHOLE:
        lines.append("Note: windows show parts of images. If each image shows a whole thing, give --size WIDTH HEIGHT.")
    if config.size is None and not 0.8 < np.prod(middles[0] / middles[1]) ** 0.5 < 1.25:
        lines.append(
            "Note: {0[0]:.0f}×{0[1]:.0f} synthetic and {1[0]:.0f}×{1[1]:.0f} real pixels are usual. If the same things "
            "fill them, bring them to one scale with --size WIDTH HEIGHT.".format(*middles)
        )
    return resolved, lines


def _describe(config: TrainingConfig, sizes: NDArray[np.int64], size: Size | None) -> str:
    """Return in one line what is done to images before training."""
    _, recipe = of_preset(config.preset)
    least, greatest = (f"{w}×{h}" for w, h in (sizes.min(0), sizes.max(0)))
    found = least if least == greatest else f"{least} to {greatest}"
    what = "colour" if config.channels == 3 else codecs.get(of_preset(config.preset)[0].codec).unit or "grey"
    if config.equalize or recipe.refiner.get("equalize"):
        what += ", histograms equalized"
    if config.window:
        origin = f"windows of {config.window}×{config.window}"
        origin += f" from images resized to {size[0]}×{size[1]}" if size and not recipe else f" of {found}"
    else:
        asked = f"{size[0]}×{size[1]}" if size else found
        origin = asked if asked == found else f"{asked}, cut and resized from {found}"
    return f"training on {origin}, {what}"


def split(source: str, config: TrainingConfig, seed: int) -> tuple[Dataset, Dataset]:
    """Return what to train on and what is held out of a source; `SourceError` if it is unknown, empty or too small."""
    domain, channels = of_preset(config.preset)[0], config.channels or 1
    size, window = config.size or domain.size, config.window or 0
    if codecs.get(domain.codec).is_depth and window:  # windows of depth are cut later, about readings
        size, window = None, 0
    load_it = partial(load_source, source, size=size, channels=channels, limit=config.limit, seed=seed, window=window)
    rendered = source.removeprefix("shuffled:") in SIMULATORS  # by the main process, for all; files are read by each
    data = from_main(load_it) if rendered else load_it()
    if len(data) < 2:
        raise SourceError(f"source {source!r} has one image: none is left to train on when it is held out")
    return hold_out(data, config.holdout)


def _evenly(images: Dataset | Crops, count: int) -> NDArray[np.int64]:
    return np.linspace(0, len(images) - 1, min(count, len(images))).astype(np.int64)


def _frames(sources: Sequence[Dataset]) -> Iterator[Array]:
    for crops in map(Crops, sources):
        for index in _evenly(crops, 256 // len(sources)):
            yield crops.each([index])[0]


def _with_points(data: Dataset, weight: PointsWeight) -> Dataset:
    """Add the first column of points where a source lacks it and the domain can find them."""
    column = weight.columns[0]
    if column in data.column_names or weight.find is None:
        return data
    crops, find = Crops(data), weight.find
    parts = [slice(start, start + 4096) for start in range(0, len(crops), 4096)]  # so many images are in memory
    points = from_main(lambda: [found for part in parts for found in find(crops[part])])
    return data.add_column(column, points)
