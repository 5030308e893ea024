"""What the callbacks share: a measuring window that is opened and closed by a trainer's events."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wattlaw.core.run import Run
from wattlaw.measuring.block import Window, measure


class Held:
    """Holds a window from ``open`` to ``close``. The arguments are those of ``wattlaw.measure``.

    ``result`` is the Run after ``close`` (rank 0 only). A program that ends without ``close`` leaves its record too,
    with the error that ended it: not every trainer tells its callbacks of one.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        name: str | None = None,
        hz: float = 10.0,
        warmup: int = 5,
        setting: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.result: Run | None = None
        self._asked_name = name
        self._arguments: dict[str, Any] = {
            "folder": folder,
            "hz": hz,
            "warmup": warmup,
            "setting": setting,
        }
        self._window: Window | None = None

    def open(self, name: str | None = None) -> None:
        """Begin to measure; ``name`` is the window's where the user gave none."""
        self.close()
        self._window = measure(name=self._asked_name or name, **self._arguments).__enter__()
        atexit.register(self._at_exit)

    def step(self, samples: float | None = None, loss: float | None = None) -> None:
        """Mark the end of a step; does nothing while no window is open."""
        if self._window:
            self._window.step(samples=samples, loss=loss)

    def close(self, error: BaseException | None = None) -> None:
        """End the window and make the record; ``error`` is what ended the training early."""
        window, self._window = self._window, None
        if window:
            atexit.unregister(self._at_exit)
            window.__exit__(
                type(error) if error else None, error, error.__traceback__ if error else None
            )
            self.result = window.result

    def _at_exit(self) -> None:
        # set by the interpreter when it prints the traceback of what ended the program
        self.close(getattr(sys, "last_value", None))
