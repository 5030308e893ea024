"""Wait for something that sends no signal: check again and again until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout_s: float, every_s: float = 0.05) -> T | None:
    """Call ``condition`` every ``every_s`` until it returns something true, and return that.

    Returns None after ``timeout_s``. It is called at least once.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(every_s)
    return found
