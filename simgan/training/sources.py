"""The images of a run: its sources loaded, a part of each held out."""

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.data.sources import load as load_source
from simgan.data.splits import hold_out
from simgan.domains import DOMAINS, get_preset
from simgan.errors import SourceError
from simgan.evaluation.shift import iris_centres
from simgan.training.config import TrainingConfig
from simgan.training.trainer import TrainingData

IRIS_RADIUS = 8.5  # px at 55 px width, as MPIIGaze's virtual camera sees it
MEASURED = 400  # images of a source that are held in memory for the measures


def load(config: TrainingConfig) -> TrainingData:
    """Load both sides; `SourceError` where a source is unknown, empty, or too small to hold anything out."""
    sides = []
    for sources, seed in ((config.synthetic, 1), (config.real, 2)):
        if not sources:
            raise SourceError("give at least one source to --synthetic and one to --real")
        training, held_out = [], []
        domain = DOMAINS[get_preset(config.preset).domain]
        for source in sources:
            data = load_source(source, size=(domain.width, domain.height), limit=config.limit, seed=seed)
            if len(data) < 2:
                raise SourceError(f"source {source!r} has one image: none is left to train on when it is held out")
            some, rest = hold_out(data, config.holdout)  # the same images for every seed
            if config.iris_weight and seed == 1 and "iris" not in data.column_names:
                some = _find_irises(some)
            training.append(Crops(some))
            held_out.append(Crops(rest))
        sides.append((training, [_spread(crops) for crops in held_out]))
    (synthetic, held_out_synthetic), (real, held_out_real) = sides
    return TrainingData(synthetic, real, held_out_synthetic, held_out_real)


def _spread(crops: Crops) -> NDArray[np.uint8]:
    """Take images evenly spread over a source, `MEASURED` or all there are."""
    return crops[np.linspace(0, len(crops) - 1, min(MEASURED, len(crops))).astype(int)]


def _find_irises(data: Dataset) -> Dataset:
    """Add the column `iris` to images whose source does not label it: a circle around the centre that is found."""
    images = Crops(data)[:]
    radius = IRIS_RADIUS * images.shape[2] / DOMAINS["eyes"].width
    found = [
        [] if np.isnan(x) else [[x - radius, y], [x, y - radius], [x + radius, y], [x, y + radius]]
        for x, y in iris_centres(images)
    ]
    return data.add_column("iris", found)
