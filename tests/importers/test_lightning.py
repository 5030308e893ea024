"""Lightning's metrics.csv: the steps that were taken, and the first and last loss."""

from __future__ import annotations

import pytest

from wattlaw.cli.main import main
from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.importers.importer import import_runs


def quantities(tmp_path, text, **options):
    (path := tmp_path / "metrics.csv").write_text(text)
    (run,) = import_runs("lightning", path, **options).runs
    return run.quantities


def test_steps_are_the_largest_step_not_the_rows_that_were_logged(tmp_path):
    text = "epoch,step,train_loss,val_loss\n0,49,0.5,\n0,99,0.4,\n0,149,,0.35\n"
    found = quantities(tmp_path, text)
    assert found["steps"].value == 150
    assert found["loss_last"].value == 0.4


def test_several_rows_of_a_step_keep_the_order_of_the_file(tmp_path):
    found = quantities(tmp_path, "epoch,step,train_loss\n0,0,5.0\n0,0,4.0\n0,1,2.0\n0,1,1.0\n")
    assert (found["loss_first"].value, found["loss_last"].value) == (5.0, 1.0)
    assert found["steps"].value == 2


@pytest.mark.parametrize("loss", ["nan", "inf", "-inf", "NaN"])
def test_the_last_loss_of_a_run_that_diverged_is_missing(tmp_path, loss):
    found = quantities(tmp_path, f"epoch,step,train_loss\n0,0,5.0\n0,1,{loss}\n")
    assert found["loss_last"].value is None
    assert "diverged" in found["loss_last"].how
    assert found["steps"].value == 2


def test_an_empty_column_of_step_losses_gives_way_to_that_of_epochs(tmp_path):
    text = "epoch,step,train_loss_step,train_loss_epoch\n0,9,,2.0\n1,19,,1.0\n"
    assert quantities(tmp_path, text)["loss_last"].value == 1.0


def test_a_loss_of_another_name_is_mapped(tmp_path, capsys):
    text = "epoch,step,train/mse\n0,0,5.0\n0,9,2.0\n"
    found = quantities(tmp_path, text, columns={"loss": "train/mse"})
    assert found["loss_last"].value == 2.0
    with pytest.raises(DataError, match="--column loss=COLUMN, of epoch, step, train/mse"):
        quantities(tmp_path, text)
    with pytest.raises(UnknownNameError):
        quantities(tmp_path, text, columns={"lost": "train/mse"})
    command = ["import", "lightning", str(tmp_path / "metrics.csv"), "-o", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--column", "loss=train/mse"])
    assert stop.value.code == 0
    assert "1 run in" in capsys.readouterr().err


def test_one_bad_file_of_a_folder_leaves_out_that_file(tmp_path):
    good = "epoch,step,train_loss\n0,0,5.0\n"
    for name, data in (("a", good.encode()), ("b", b"\x00\x80" * 50), ("c", b""), ("d", b"x\n1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.csv").write_bytes(data)
    found = import_runs("lightning", tmp_path)
    assert [run.trial for run in found.runs] == ["lightning-a"]
    assert len(found.skipped) == 3
