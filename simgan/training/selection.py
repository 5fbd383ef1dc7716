"""Decisions from what `held_out` measured: which refiner ships, how λ is steered, and when a run is stopped."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from simgan.errors import TrainingError
from simgan.training.config import TrainingConfig

PATIENCE = 200  # steps after which three bad records in a row end a run
WITHIN, AIM = (0.1, 1.0), 0.95  # shares of the bound: hardly moved, and all that is allowed; what λ seeks
ALIKE = 0.1  # of the gap between raw and real images: differences by chance
UNCHANGED = 0.002  # mean change of values in [−1, 1] by a network that does nothing
STEERING = 1.5  # λ changes by at most this factor at a time

Record = dict[str, Any]


def excess(record: Record, config: TrainingConfig) -> float:
    """Return shift, or fading of edges, as a share of its bound: at most 1 is allowed; NaN if it was not measured."""
    shifts = (
        (record["shift"], config.max_shift),
        (record["shift_median"], config.max_median_shift),
        (record.get("shift_single", 0.0), config.max_single_shift),
    )
    edges = (  # of domains that measure them
        (record.get("edges_left", 1.0), config.max_faded),
        (record.get("edges_left_95", 1.0), config.max_faded_95),
    )
    shift = float(np.max([value / bound for value, bound in shifts if bound]))
    faded = float(np.max([(1 - left) / bound for left, bound in edges if bound]))
    return max(shift, faded) if np.isfinite(shift) and np.isfinite(faded) else shift


def best(records: Sequence[Record], config: TrainingConfig) -> Record:
    """Return the last record within the bounds on shift that is about as real as the most real one within them.

    Patch distances differ by chance from step to step, and later refiners teach networks more. Where none is more real
    than what the run began with, return step 0; where none is within the bounds, the one that moved least.
    """
    measured = [record for record in records if np.isfinite(excess(record, config))]
    within = [record for record in measured if excess(record, config) <= 1] if measured else records
    if not within:
        return min(measured, key=lambda record: excess(record, config))
    least = min(within, key=lambda record: record["realism"])
    if least["step"] == 0:
        return least
    alike = least["realism"] + ALIKE * max(least["realism_raw"] - least["realism_floor"], 0.0)
    return [record for record in within if record["realism"] <= alike][-1]


def steered(weight: float, records: Sequence[Record], config: TrainingConfig) -> float:
    """Return λ, now `weight`: raised if the last record is near its bounds, lowered if hardly anything moves.

    What was raised falls again, to its first value at least, once the bounds are far: the average of the weights, which
    is measured, follows λ late, so it is raised too far.
    """
    now = excess(records[-1], config)
    if not any(np.isfinite(excess(record, config)) for record in records) or AIM <= now <= WITHIN[1]:
        return weight
    factor = np.clip(now / AIM, 1 / STEERING, STEERING) if np.isfinite(now) else STEERING
    least = min(weight, config.regularization_weight) if now >= WITHIN[0] else 0.0
    return float(max(weight * factor, least))


def warnings(records: Sequence[Record], config: TrainingConfig, part: str) -> list[str]:
    """Return what a person must know of the refiner that is kept; `part` is what moves in images of its domain."""
    kept, told = best(records, config), []
    if not np.isfinite(excess(kept, config)):
        told.append(f"WARNING: how far the {part} moved could not be measured: labels may be wrong, see the samples.")
    if kept["step"] == 0:
        later = [record for record in records if record["step"]]
        beyond = [record for record in later if excess(record, config) > 1]
        why = "no later one is more real: train longer, or lower --regularization-weight"
        if later and len(beyond) == len(later):
            why = f"all later ones moved or faded the {part} beyond the bounds: raise --regularization-weight"
            why += "" if config.steer else ", or pass --steer"
        what = f"is the model that it began from, {config.start_from}," if config.start_from else "changes nothing,"
        told.append(f"WARNING: the refiner of step 0 is kept, which {what} as {why}.")
    elif kept["change"] < UNCHANGED:
        told.append(
            "WARNING: the network of the refiner that is kept changes nothing: train again with another --seed, or "
            "lower --regularization-weight."
        )
    return told


def diagnose(records: Sequence[Record]) -> None:
    """Raise `TrainingError` with cause and remedy if the last three records show that a run cannot become good."""
    last = records[-3:]
    if last[0]["step"] < PATIENCE:
        return
    if last[-1]["contrast"] < 0.1:
        raise TrainingError(
            "the refiner collapsed to a constant image: raise --regularization-weight or lower --learning-rate"
        )
    if all(record["change"] < UNCHANGED for record in last):
        raise TrainingError(
            "the refiner returns its input unchanged: train with another --seed, lower --regularization-weight (λ), or "
            "raise --refiner-updates"
        )
    if all(record["map_spread"] < 1e-3 for record in last):
        raise TrainingError(
            "the discriminator is dead, it says the same of every patch: raise --discriminator-warm-up, or lower "
            "--learning-rate"
        )
