"""Data sets: a source's name becomes a `datasets` data set of crops with their labels, prepared ones feed training."""

from simgan.data.loader import Crops
from simgan.data.sources import load, open_source
from simgan.data.splits import hold_out

__all__ = ["Crops", "hold_out", "load", "open_source"]
