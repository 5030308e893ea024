"""What may enter a law: positive, finite numbers that some clock or meter could have given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.core.errors import FitError

Array = NDArray[Any]

SMALLEST, LARGEST = 1e-30, 1e30

WIDEST_SANE = 1e6
"""Where an interval spans this factor some runs are far off the others: nothing is foretold or advised of it."""

_FAR = 200.0


def clipped_exp(log_values: ArrayLike) -> Array:
    """Return exp of values, held within what products of several can carry: draws of odd runs may be of any size."""
    found: Array = np.exp(np.clip(log_values, -_FAR, _FAR))
    return found


def positive(name: str, values: ArrayLike) -> Array:
    """Return values as an array (n,). Raises FitError naming the first that is not positive, finite and sane."""
    array = np.atleast_1d(np.asarray(values, float))
    if array.ndim != 1:
        raise FitError(f"the {name}s are not a list of numbers")
    wrong = array[~(np.isfinite(array) & (array >= SMALLEST) & (array <= LARGEST))]
    if len(wrong):
        raise FitError(f"a {name} is {wrong[0]:g}; laws need positive, finite numbers")
    return array
