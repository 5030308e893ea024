"""Measures a PyTorch Lightning fit: ``Trainer(callbacks=[Measured("runs/mine")])``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from wattlaw.core.run import Run
from wattlaw.measuring.window import Window, measure

NAMES = {"lightning": "Measured"}


class Measured(Callback):  # type: ignore[misc]  # the library has no types
    """Every batch of a fit is a step; the evaluations in between are windows of their own, named "validation".

    The arguments are those of ``wattlaw.measure``. ``result`` is the Run after the fit (rank 0 only).
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
        self._part: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.arguments["name"] = self.arguments["name"] or type(pl_module).__name__
        self._window = measure(**self.arguments).__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._window:
            self._window.step(samples=samples_of(batch))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._window:
            self._part = self._window.window("validation")
            self._part.__enter__()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._part:
            self._part.__exit__(None, None, None)
            self._part = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._end(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(exception)

    def _end(self, error: BaseException | None) -> None:
        window, self._window = self._window, None
        if window:
            window.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
            self.result = window.result


def samples_of(batch: Any) -> float | None:
    """Return how many samples a batch holds: the length of its first tensor; None where it has none."""
    import torch

    if isinstance(batch, torch.Tensor):
        return float(batch.shape[0]) if batch.ndim else None
    values: Sequence[Any] = list(batch.values()) if isinstance(batch, Mapping) else []
    values = list(batch) if isinstance(batch, list | tuple) else values
    return next((found for v in values if (found := samples_of(v)) is not None), None)
