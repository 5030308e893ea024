"""What may enter a law: positive, finite numbers that some clock or meter could have given."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wattlaw.core.errors import FitError

Array = NDArray[Any]

LEAST, MOST = 1e-30, 1e30


def positive(name: str, values: ArrayLike) -> Array:
    """Return values as an array (n,). Raises FitError naming the first that is not positive, finite and sane."""
    array = np.atleast_1d(np.asarray(values, float))
    if array.ndim != 1:
        raise FitError(f"the {name}s are not a list of numbers")
    wrong = array[~(np.isfinite(array) & (array >= LEAST) & (array <= MOST))]
    if len(wrong):
        raise FitError(f"a {name} is {wrong[0]:g}; laws need positive, finite numbers")
    return array
