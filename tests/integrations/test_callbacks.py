"""One line measures a script: Lightning, Hugging Face Trainer and Accelerate, with real libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wattlaw

torch = pytest.importorskip("torch", reason="needs torch: pip install 'wattlaw[train]'")

pytestmark = [
    pytest.mark.full,
    # the libraries warn about each other, about this machine and about few workers
    pytest.mark.filterwarnings("default"),
]


def data() -> torch.utils.data.TensorDataset:
    return torch.utils.data.TensorDataset(torch.randn(48, 4), torch.randn(48, 1))


def test_lightning_fits_are_measured_with_one_callback(tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs lightning: pip install lightning")
    from lightning.pytorch import LightningModule, Trainer

    from wattlaw.integrations.lightning import LightningCallback

    class Linear(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            return torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])

        def validation_step(self, batch, index):
            return None

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    loader = torch.utils.data.DataLoader(data(), batch_size=8)
    measured = LightningCallback(tmp_path / "runs", warmup=1)
    trainer = Trainer(max_epochs=2, callbacks=[measured], accelerator="cpu", logger=False, enable_progress_bar=False,
                      enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path)  # fmt: skip
    trainer.fit(Linear(), loader, loader)
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert run == measured.result
    assert run.setting.workload == "Linear"
    assert (run.reading("steps").value, run.reading("samples").value) == (11, 88)


def test_a_hugging_face_trainer_is_measured_with_one_callback(tmp_path: Path) -> None:
    transformers = pytest.importorskip(
        "transformers", reason="needs transformers: pip install transformers"
    )
    pytest.importorskip("accelerate", reason="needs accelerate: pip install accelerate")
    from wattlaw.integrations.hugging_face import HuggingFaceCallback

    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=16, n_positions=8,
                                     bos_token_id=0, eos_token_id=0)  # fmt: skip
    rows = [{"input_ids": torch.arange(8) % 16, "labels": torch.arange(8) % 16}] * 24
    measured = HuggingFaceCallback(tmp_path / "runs", name="gpt", warmup=1)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=4, num_train_epochs=1, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    transformers.Trainer(
        model=model, args=arguments, train_dataset=rows, callbacks=[measured]
    ).train()
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert (run.reading("steps").value, run.reading("samples").value) == (5, 20)


def test_an_accelerate_script_is_measured_with_one_tracker(tmp_path: Path) -> None:
    accelerate = pytest.importorskip(
        "accelerate", reason="needs accelerate: pip install accelerate"
    )
    from wattlaw.integrations.accelerate import AccelerateTracker

    measured = AccelerateTracker(tmp_path / "runs", name="linear", warmup=0)
    accelerator = accelerate.Accelerator(log_with=measured, cpu=True)
    model = torch.nn.Linear(4, 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01)
    model, optimiser, loader = accelerator.prepare(
        model, optimiser, torch.utils.data.DataLoader(data(), batch_size=8)
    )
    accelerator.init_trackers("mine")
    for x, y in loader:
        loss = torch.nn.functional.mse_loss(model(x), y)
        accelerator.backward(loss)
        optimiser.step()
        accelerator.log({"loss": loss.item(), "samples": len(x)})
    accelerator.end_training()
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert (run.reading("steps").value, run.reading("samples").value) == (6, 48)
    assert run.reading("loss_first").value is not None


def test_a_training_without_an_error_callback_leaves_a_failed_run(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from wattlaw.integrations.measured_training import MeasuredTraining\n"
        "training = MeasuredTraining('runs')\ntraining.open('mine')\ntraining.step(samples=4)\ntraining.step(samples=4)\n"
        "raise RuntimeError('out of memory')\n"
    )
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "out of memory" in ended.stderr
    (run,) = wattlaw.load_runs(tmp_path / "runs")
    assert run.state == "failed"
    assert "out of memory" in run.error
