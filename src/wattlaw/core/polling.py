"""Wait for something that sends no signal: check again and again until a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float, every_s: float = 0.05) -> bool:
    """Call ``condition`` every ``every_s`` until it returns something true.

    Returns True as soon as it does, False after ``timeout_s``. It is called at least once.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(every_s)
    return True
