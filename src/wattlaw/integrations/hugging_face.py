"""Measures a Hugging Face Trainer: ``Trainer(..., callbacks=[Measured("runs/mine")])``."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wattlaw.integrations.held import Held

NAMES = {"hugging-face": "Measured"}


class Measured(Held, TrainerCallback):  # type: ignore[misc]  # the library has no types
    """Every optimiser step is a step, its samples those of this process and all its accumulated batches.

    The arguments are those of ``wattlaw.measure``. ``result`` is the Run after training (rank 0 only).
    A last, smaller batch of an epoch counts as a full one: the Trainer does not tell.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        model = kwargs.get("model")
        self.open(type(model).__name__ if model is not None else "trainer")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.step(samples=args.train_batch_size * args.gradient_accumulation_steps)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.close()
