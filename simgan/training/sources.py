"""The images of a run: its sources loaded, a part of each held out."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.data.sources import load as load_source
from simgan.data.splits import hold_out
from simgan.domains import of_preset
from simgan.domains.base import PointsWeight
from simgan.errors import SourceError
from simgan.images import codecs
from simgan.images.arrays import Array
from simgan.preparation.triangulation import Triangulation
from simgan.simulators import SIMULATORS
from simgan.training.batches import Frames, generator
from simgan.training.config import TrainingConfig
from simgan.training.processes import from_main
from simgan.training.step import TrainingData

SYNTHETIC_SEED, REAL_SEED = 1, 2  # of limits and simulators: the same images whatever the run's seed
MEASURED = 400  # images of a source that are held in memory for the measures


def load(config: TrainingConfig) -> TrainingData:
    """Load both sides. A source that is named twice is read once, and counts twice in every mini-batch and measure."""
    if not config.synthetic or not config.real:
        raise SourceError("give at least one source to --synthetic and one to --real")
    domain, _ = of_preset(config.preset)
    depth, weight = codecs.get(domain.codec).is_depth, domain.weight
    synthetic = {name: split(name, config, SYNTHETIC_SEED) for name in config.synthetic}
    real = {name: split(name, config, REAL_SEED) for name in config.real}
    learned: dict[str, Any] = {}
    if domain.learn_triangulation and config.preparation:
        frames = [partial(_frames, [data for data, _ in side.values()]) for side in (synthetic, real)]
        learned["triangulation"] = from_main(partial(domain.learn_triangulation, *frames))
    if config.label_weight and isinstance(weight, PointsWeight):
        synthetic = {name: (_with_points(training, weight), rest) for name, (training, rest) in synthetic.items()}

    def images(data: Dataset, shadows: Triangulation | None = None) -> Crops:
        return Frames(data, shadows) if depth else Crops(data, channels=config.channels)

    def measured(images: Crops) -> Array:
        chosen = _evenly(images, MEASURED)
        if config.window and isinstance(images, Frames):
            return images.windows(chosen, config.window, [generator(0, "held out", int(index)) for index in chosen])
        return images[chosen]

    def labels(data: Dataset) -> dict[str, Any]:
        some = data.select(_evenly(data, MEASURED))
        return {name: some[name][:] for name in domain.measured if name in data.column_names and not depth}

    shadows = learned.get("triangulation")
    return TrainingData(
        [images(synthetic[name][0], shadows) for name in config.synthetic],
        [images(real[name][0]) for name in config.real],
        [measured(images(synthetic[name][1], shadows)) for name in config.synthetic],
        [measured(images(real[name][1])) for name in config.real],
        [labels(synthetic[name][1]) for name in config.synthetic],
        learned,
    )


def split(source: str, config: TrainingConfig, seed: int) -> tuple[Dataset, Dataset]:
    """Return what to train on and what is held out of a source; `SourceError` if it is unknown, empty or too small."""
    size = None if config.window else of_preset(config.preset)[0].size  # windows are cut from frames of any size
    load_it = partial(load_source, source, size=size, channels=config.channels, limit=config.limit, seed=seed)
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
    """Add the column of points where a source lacks it and the domain can find them."""
    if weight.column in data.column_names or weight.find is None:
        return data
    crops, find = Crops(data), weight.find
    parts = [slice(start, start + 4096) for start in range(0, len(crops), 4096)]  # so many images are in memory
    points = from_main(lambda: [found for part in parts for found in find(crops[part])])
    return data.add_column(weight.column, points)
