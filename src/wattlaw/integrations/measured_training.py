"""What the trainer callbacks share: a measured window that a trainer's events open and close."""

from __future__ import annotations

import atexit
import functools
import sys
from collections.abc import Mapping
from pathlib import Path

from wattlaw.core.run import Run
from wattlaw.measuring.block import Window, measure


class MeasuredTraining:
    """A window from ``open`` to ``close``. The arguments are those of ``wattlaw.measure``.

    ``result`` is the Run after ``close`` (rank 0 only). A program that ends without ``close``
    leaves its record too, with the error that ended it: not every trainer reports errors.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        name: str | None = None,
        hz: float = 10.0,
        warmup: int = 5,
        setting: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        self.result: Run | None = None
        self._name = name
        self._measure = functools.partial(measure, folder, hz=hz, warmup=warmup, setting=setting)
        self._window: Window | None = None

    def open(self, name: str | None = None) -> None:
        """Start to measure; ``name`` is used if the user has given none."""
        self.close()
        self._window = self._measure(name=self._name or name).__enter__()
        atexit.register(self._at_exit)

    def step(self, samples: float | None = None, loss: float | None = None) -> None:
        """Mark the end of a step; does nothing while no window is open."""
        if self._window:
            self._window.step(samples=samples, loss=loss)

    def close(self, error: BaseException | None = None) -> None:
        """End the window and make the record; ``error`` is what ended the training early."""
        window, self._window = self._window, None
        if window is None:
            return
        atexit.unregister(self._at_exit)
        if error is None:
            window.__exit__(None, None, None)
        else:
            window.__exit__(type(error), error, error.__traceback__)
        self.result = window.result

    def _at_exit(self) -> None:
        # the interpreter sets it when it prints the traceback of the error that ended the program
        self.close(getattr(sys, "last_value", None))
