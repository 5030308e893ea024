"""Measures a PyTorch Lightning fit: ``Trainer(callbacks=[LightningCallback("runs/mine")])``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from wattlaw.integrations.measured_training import MeasuredTraining

NAMES = {"lightning": "LightningCallback"}


class LightningCallback(MeasuredTraining, Callback):  # type: ignore[misc]  # no types
    """Every batch of a fit is a step; each validation is an inner window "validation".

    The arguments are those of ``wattlaw.measure``. After the fit ``result`` is the Run (rank 0).
    """

    _validation: ExitStack | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.open(type(pl_module).__name__)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        self.step(samples=samples_of(batch))

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._window:
            self._validation = ExitStack()
            self._validation.enter_context(self._window.window("validation"))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._validation:
            self._validation.close()
            self._validation = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self.close(exception)


def samples_of(batch: object) -> float | None:
    """Return the number of samples of a batch: the length of its first tensor; None without one."""
    import torch

    if isinstance(batch, torch.Tensor):
        return float(batch.shape[0]) if batch.ndim else None
    values: Iterable[object] = ()
    if isinstance(batch, Mapping):
        values = batch.values()
    elif isinstance(batch, list | tuple):
        values = batch
    for value in values:
        samples = samples_of(value)
        if samples is not None:
            return samples
    return None
