"""Measures a Hugging Face Trainer: ``Trainer(..., callbacks=[Measured("runs/mine")])``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wattlaw.core.run import Run
from wattlaw.measuring.window import Window, measure

NAMES = {"hugging-face": "Measured"}


class Measured(TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Every optimiser step is a step, its samples those of this process and all its accumulated batches.

    The arguments are those of ``wattlaw.measure``. ``result`` is the Run after training (rank 0 only).
    A last, smaller batch of an epoch counts as a full one: the Trainer does not tell.
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
        self.arguments: dict[str, Any] = {
            "folder": folder,
            "name": name,
            "hz": hz,
            "warmup": warmup,
            "setting": setting,
        }
        self.result: Run | None = None
        self._window: Window | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs.get("model")
        self.arguments["name"] = self.arguments["name"] or (type(model).__name__ if model is not None else "trainer")
        self._window = measure(**self.arguments).__enter__()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self._window:
            self._window.step(samples=args.train_batch_size * args.gradient_accumulation_steps)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        window, self._window = self._window, None
        if window:
            window.__exit__(None, None, None)
            self.result = window.result
