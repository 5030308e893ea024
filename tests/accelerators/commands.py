"""Run `wattlaw accelerators` in this process."""

from __future__ import annotations

import pytest

from wattlaw.cli.main import main

CSV_HEAD = "company,product,precision,peak_op_per_s,power_w\n"


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["accelerators", *words])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err
