"""Measures an Accelerate script: ``Accelerator(log_with=Measured("runs/mine"))``, then its trackers as usual."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from wattlaw.integrations.held import Held
from wattlaw.measuring.block import Window

NAMES = {"accelerate": "Measured"}


class Measured(Held, GeneralTracker):  # type: ignore[misc]  # the library has no types
    """Every ``accelerator.log`` is a step; the values "loss" and "samples" are taken where they are logged.

    Measuring begins where the tracker is made and ends with ``accelerator.end_training()``; each process
    writes its own steps. The arguments are those of ``wattlaw.measure``. ``result`` is the Run (rank 0 only).
    """

    name = "wattlaw"
    requires_logging_directory = False
    main_process_only = False

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        name: str | None = None,
        hz: float = 10.0,
        warmup: int = 5,
        setting: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, name=name, hz=hz, warmup=warmup, setting=setting)
        self.open()

    @property
    def tracker(self) -> Window | None:
        """The window; ``tracker.window("evaluation")`` measures a part."""
        return self._window

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Nothing is kept: the setting is given to the constructor."""
        return

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Mark the end of a step."""
        loss, samples = values.get("loss"), values.get("samples")
        self.step(samples=None if samples is None else float(samples), loss=loss)

    def finish(self) -> None:
        """End the window and make the record."""
        self.close()
