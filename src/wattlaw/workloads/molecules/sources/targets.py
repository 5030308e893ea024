"""Targets made fit for learning, and the parts of a data set: training, validation, test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.base import Split
from wattlaw.workloads.molecules.sources.property_data import Learnt

Array = np.ndarray[Any, Any]

SPLIT_SEED = 42
SHARES = (110_000 / 130_831, 10_000 / 130_831)
"""Shares of training and validation; the rest is for testing. Of all of QM9: 110,000, 10,000 and 10,831."""


class Targets(NamedTuple):
    """Numbers made fit for learning: (value - reference of its atoms - mean) / deviation.

    ``values`` (M,); ``deviation`` in ``unit`` turns an error of the model back into the property's unit.
    """

    values: Array
    deviation: float
    unit: str


def targets(known: Learnt, train: Array) -> Targets:
    """Return a property standardised over the molecules ``train``.

    What grows with the molecule is first freed of a linear function of its composition, fitted on ``train``.
    """
    values = known.values
    if known.extensive:
        owner = np.repeat(np.arange(len(known.atoms)), known.atoms)
        found = [
            np.bincount(owner[known.numbers == z], minlength=len(known.atoms))
            for z in np.unique(known.numbers)
        ]
        counts = np.stack(found, 1)
        values = values - counts @ np.linalg.lstsq(counts[train], values[train], rcond=None)[0]
    return standardised(values, train, known.unit)


def standardised(values: Array, train: Array, unit: str) -> Targets:
    """Return values (M,) less their mean, over their deviation, both of the molecules ``train``."""
    mean, deviation = values[train].mean(), values[train].std()
    # one molecule alone, or equal values, have no deviation: their error is learnt as it is
    scale = float(deviation) if deviation > 0 else 1.0
    return Targets((values - mean) / scale, scale, unit)


def splits(size: int) -> dict[Split, Array]:
    """Return the molecules of each part, shuffled once with a fixed seed. Raises DataError for fewer than three."""
    if size < 3:
        raise DataError(
            f"{size} samples cannot be parted into training, validation and test; 3 is the least"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    valid = max(1, round(size * SHARES[1]))
    train = min(round(size * SHARES[0]), size - valid - 1)
    return {
        "train": order[:train],
        "valid": order[train : train + valid],
        "test": order[train + valid :],
    }
