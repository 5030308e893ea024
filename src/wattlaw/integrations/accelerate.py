"""Measures an Accelerate script: ``Accelerator(log_with=AccelerateTracker("runs/mine"))``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker

from wattlaw.integrations.measured_training import MeasuredTraining
from wattlaw.measuring.block import Window

NAMES = {"accelerate": "AccelerateTracker"}


class AccelerateTracker(MeasuredTraining, GeneralTracker):  # type: ignore[misc]  # no types
    """Every ``accelerator.log`` is a step; its values "loss" and "samples" are recorded if present.

    Measuring starts when the tracker is made and ends with ``accelerator.end_training()``; each
    process writes its own steps. The arguments are those of ``wattlaw.measure``. ``result`` is the
    Run (rank 0 only).
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
        setting: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(folder, name=name, hz=hz, warmup=warmup, setting=setting)
        self.open()

    @property
    def tracker(self) -> Window | None:
        """The window; ``tracker.window("evaluation")`` measures a part."""
        return self._window

    def store_init_configuration(self, values: Mapping[str, object]) -> None:
        """Record nothing: the setting is an argument of the constructor."""
        return

    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: object) -> None:
        """Mark the end of a step."""
        loss, samples = values.get("loss"), values.get("samples")
        self.step(samples=None if samples is None else float(samples), loss=loss)

    def finish(self) -> None:
        """End the window and make the record."""
        self.close()
