"""Properties prepared for training, and the parts of a data set: training, validation, test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError
from wattlaw.workloads.base import Split
from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.property_data import PropertyData

SPLIT_SEED = 42
SHARES = (110_000 / 130_831, 10_000 / 130_831)
"""Shares of training and validation; the rest is for testing. Of all of QM9: 110,000, 10,000 and
10,831.
"""


class StandardisedTargets(NamedTuple):
    """(value - reference of its atoms - mean) / deviation of each molecule.

    values     (M,)
    deviation  turns an error of the model back into ``unit``
    unit       the property's
    """

    values: Array
    deviation: float
    unit: str


def standardise_property(data: PropertyData, train: Array) -> StandardisedTargets:
    """Return a property standardised over the molecules ``train``, given by their indices.

    From an extensive property a linear function of the composition, fitted on ``train``, is
    subtracted first.
    """
    values = data.values
    if data.is_extensive:
        owner = np.repeat(np.arange(len(data.atoms)), data.atoms)
        elements = np.unique(data.numbers)
        columns = [
            np.bincount(owner[data.numbers == element], minlength=len(data.atoms))
            for element in elements
        ]
        composition = np.stack(columns, 1)
        weights = np.linalg.lstsq(composition[train], values[train], rcond=None)[0]
        values = values - composition @ weights
    return standardise(values, train, data.unit)


def standardise(values: Array, train: Array, unit: str) -> StandardisedTargets:
    """Return values (M,) less their mean, divided by their deviation, both over ``train``."""
    mean, deviation = values[train].mean(), values[train].std()
    # one molecule, or equal values, have no deviation
    scale = float(deviation) if deviation > 0 else 1.0
    return StandardisedTargets((values - mean) / scale, scale, unit)


def split_indices(size: int) -> dict[Split, Array]:
    """Return the indices of each part, shuffled with a fixed seed.

    Raises DataError for fewer than three samples.
    """
    if size < 3:
        raise DataError(
            f"{size} samples cannot be split into training, validation and test; "
            "at least 3 are needed"
        )
    order = np.random.default_rng(SPLIT_SEED).permutation(size)
    valid = max(1, round(size * SHARES[1]))
    train = min(round(size * SHARES[0]), size - valid - 1)
    return {
        "train": order[:train],
        "valid": order[train : train + valid],
        "test": order[train + valid :],
    }
