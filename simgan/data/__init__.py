"""Data sets: sources by name, read as `datasets` data sets of crops with their labels, and prepared for training."""

from simgan.data.loader import Crops
from simgan.data.sources import load
from simgan.data.splits import hold_out

__all__ = ["Crops", "hold_out", "load"]
