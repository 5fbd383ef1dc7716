"""The images of a run: its sources loaded, a part of each held out."""

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from simgan.data.loader import Crops
from simgan.data.sources import load as load_source
from simgan.data.splits import hold_out
from simgan.domains import DOMAINS, get_preset
from simgan.errors import SourceError
from simgan.measures.iris import iris_centres
from simgan.preparation.camera import learn_triangulation
from simgan.training.config import TrainingConfig
from simgan.training.frames import Frames
from simgan.training.step import TrainingData

SYNTHETIC_SEED, REAL_SEED = 1, 2  # of what a limit draws, and of a simulator's world: the same whatever a run's seed
IRIS_RADIUS = 8.5  # px at 55 px width, as MPIIGaze's virtual camera sees it
MEASURED = 400  # images of a source that are held in memory for the measures
PART = 4096  # images in memory while irises are sought


def load(config: TrainingConfig) -> TrainingData:
    """Load both sides; `SourceError` where a source is unknown, empty, or too small to hold anything out.

    A source that is named twice is read once, and counts twice in every mini-batch and measure.
    """
    if not config.synthetic or not config.real:
        raise SourceError("give at least one source to --synthetic and one to --real")
    synthetic = {name: split(name, config, SYNTHETIC_SEED) for name in config.synthetic}
    real = {name: split(name, config, REAL_SEED) for name in config.real}
    if _is_depth(config):
        camera = None
        if config.triangulation:
            shown, filmed = ([data for data, _ in side.values()] for side in (synthetic, real))
            camera = learn_triangulation(shown, filmed)
        return TrainingData(
            [Frames(synthetic[name][0], camera) for name in config.synthetic],
            [Frames(real[name][0]) for name in config.real],
            [Frames(synthetic[name][1], camera).spread(MEASURED, config.window) for name in config.synthetic],
            [Frames(real[name][1]).spread(MEASURED, config.window) for name in config.real],
            camera,
        )
    if config.iris_weight:
        synthetic = {name: (_with_irises(training), rest) for name, (training, rest) in synthetic.items()}
    return TrainingData(
        [Crops(synthetic[name][0], channels=config.channels) for name in config.synthetic],
        [Crops(real[name][0], channels=config.channels) for name in config.real],
        [_spread(synthetic[name][1], config.channels) for name in config.synthetic],
        [_spread(real[name][1], config.channels) for name in config.real],
    )


def split(source: str, config: TrainingConfig, seed: int) -> tuple[Dataset, Dataset]:
    """Give what to train on and what is held out of a source, read with `SYNTHETIC_SEED` or `REAL_SEED`.

    The same images whatever the run's own seed; `SourceError` where the source is unknown or too small.
    """
    domain = DOMAINS[get_preset(config.preset).domain]
    size = None if config.window else (domain.width, domain.height)  # windows are cut from frames of any size
    data = load_source(source, size=size, channels=config.channels, limit=config.limit, seed=seed)
    if len(data) < 2:
        raise SourceError(f"source {source!r} has one image: none is left to train on when it is held out")
    return hold_out(data, config.holdout)


def _spread(data: Dataset, channels: int) -> NDArray[np.uint8]:
    """Take images evenly spread over a source, `MEASURED` or all there are."""
    return Crops(data, channels=channels)[np.linspace(0, len(data) - 1, min(MEASURED, len(data))).astype(int)]


def _is_depth(config: TrainingConfig) -> bool:
    return DOMAINS[get_preset(config.preset).domain].stored == "uint16"


def _with_irises(data: Dataset) -> Dataset:
    """Add the column `iris` where a source does not label it: a circle around the centre that is found."""
    if "iris" in data.column_names:
        return data
    crops = Crops(data)
    radius = IRIS_RADIUS * crops.shape[1] / DOMAINS["eyes"].width
    centres = np.concatenate([iris_centres(crops[start : start + PART]) for start in range(0, len(crops), PART)])
    found = [
        [] if np.isnan(x) else [[x - radius, y], [x, y - radius], [x + radius, y], [x, y + radius]] for x, y in centres
    ]
    return data.add_column("iris", found)
