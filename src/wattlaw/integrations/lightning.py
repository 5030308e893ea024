"""Measures a PyTorch Lightning fit: ``Trainer(callbacks=[Measured("runs/mine")])``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from wattlaw.integrations.held import Held

NAMES = {"lightning": "Measured"}


class Measured(Held, Callback):  # type: ignore[misc]  # the library has no types
    """Every batch of a fit is a step; the evaluations in between are windows of their own, named "validation".

    The arguments are those of ``wattlaw.measure``. ``result`` is the Run after the fit (rank 0 only).
    """

    _part: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.open(type(pl_module).__name__)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.step(samples=samples_of(batch))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._window:
            self._part = self._window.window("validation")
            self._part.__enter__()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._part:
            self._part.__exit__(None, None, None)
            self._part = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.close(exception)


def samples_of(batch: Any) -> float | None:
    """Return how many samples a batch holds: the length of its first tensor; None where it has none."""
    import torch

    if isinstance(batch, torch.Tensor):
        return float(batch.shape[0]) if batch.ndim else None
    values: Sequence[Any] = list(batch.values()) if isinstance(batch, Mapping) else []
    values = list(batch) if isinstance(batch, list | tuple) else values
    return next((found for v in values if (found := samples_of(v)) is not None), None)
