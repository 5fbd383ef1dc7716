"""Held-out images: of other persons than those trained on, where persons are known."""

import numpy as np
from datasets import Dataset

from simgan.errors import ConfigError, SourceError

_BLOCKS = 5
_PERSONS = 3


def hold_out(dataset: Dataset, share: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split into (train, held out), about that share held out; both keep their order, and neither is empty.

    With a column `person` of at least 3 persons, whole persons are held out, the number of them that is closest to the
    share. Else 5 contiguous blocks of the file order at random places are held out: neighbouring frames are similar, so
    that single images drawn at random would have a near copy in training.
    """
    if not 0 < share < 1:
        raise ConfigError(f"a share of {share} cannot be held out: give more than 0 and less than 1")
    if len(dataset) < 2:
        raise SourceError("a data set of one image cannot be split: give at least 2")
    draw = np.random.default_rng(seed)
    persons = np.array(dataset["person"] if "person" in dataset.column_names else [], dtype=str)
    names, counts = np.unique(persons, return_counts=True)
    if len(names) < _PERSONS:
        images = _numbers(dataset)
        held_out = _blocks(images[-1] + 1, share, draw)[images]
    else:
        order = draw.permutation(len(names))
        reached = np.cumsum(counts[order])[:-1]
        held_out = np.isin(persons, names[order[: np.abs(reached - share * len(persons)).argmin() + 1]])
    return dataset.select(np.flatnonzero(~held_out)), dataset.select(np.flatnonzero(held_out))


def _numbers(dataset: Dataset) -> np.ndarray:
    """Return the number of the image that each row is of: windows of one image follow each other."""
    names = np.array(dataset["file_name"] if "file_name" in dataset.column_names else range(len(dataset)), dtype=str)
    return np.concatenate([[0], (names[1:] != names[:-1]).cumsum()])


def _blocks(total: int, share: float, draw: np.random.Generator) -> np.ndarray:
    wanted = min(max(round(share * total), 1), total - 1)
    blocks = min(_BLOCKS, wanted, total - wanted)
    sizes = np.full(blocks, wanted // blocks) + (np.arange(blocks) < wanted % blocks)
    kept = total - wanted
    gaps = np.sort(draw.choice(kept + 1, blocks, replace=False))  # kept images before each block
    mask = np.zeros(total, bool)
    for before, gap, size in zip(np.cumsum(sizes) - sizes, gaps, sizes, strict=True):
        mask[gap + before : gap + before + size] = True
    return mask
