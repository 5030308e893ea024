"""The array type of the laws, and the check of the numbers that enter them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.core.errors import FitError

Array = NDArray[Any]
"""Any array of numbers; docstrings give the shapes."""

SMALLEST, LARGEST = 1e-30, 1e30
"""Range of the values that a clock or a meter can give."""

WIDEST_SANE = 1e6
"""An interval wider than this factor means that some runs are outliers."""

_CLIP = 200.0


def clipped_exp(log_values: ArrayLike) -> Array:
    """Return exp of values, clipped so that a product of several results cannot overflow."""
    found: Array = np.exp(np.clip(log_values, -_CLIP, _CLIP))
    return found


def positive(name: str, values: ArrayLike) -> Array:
    """Return values as an array (n,).

    Raises FitError for the first that is not positive and finite.
    """
    array = np.atleast_1d(np.asarray(values, float))
    if array.ndim != 1:
        raise FitError(f"the {name}s are not a list of numbers")
    is_valid = np.isfinite(array) & (array >= SMALLEST) & (array <= LARGEST)
    wrong = array[~is_valid]
    if len(wrong):
        raise FitError(f"a {name} is {wrong[0]:g}; laws need positive, finite numbers")
    return array
