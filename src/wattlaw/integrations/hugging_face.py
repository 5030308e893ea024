"""Measures a Hugging Face Trainer: ``callbacks=[HuggingFaceCallback("runs/mine")]``."""

from __future__ import annotations

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from wattlaw.integrations.measured_training import MeasuredTraining

NAMES = {"hugging-face": "HuggingFaceCallback"}


class HuggingFaceCallback(MeasuredTraining, TrainerCallback):  # type: ignore[misc]  # no types
    """Every optimiser step is a step, with the samples of all accumulated batches of this process.

    The arguments are those of ``wattlaw.measure``. After training ``result`` is the Run (rank 0).
    A last, smaller batch of an epoch counts as a full one: the Trainer does not report its size.
    """

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        model = kwargs.get("model")
        self.open(type(model).__name__ if model is not None else "trainer")

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        self.step(samples=args.train_batch_size * args.gradient_accumulation_steps)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        self.close()
