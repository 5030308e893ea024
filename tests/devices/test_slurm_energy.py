"""The energy of a node from the output of scontrol."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlaw.devices.meter import Scope
from wattlaw.devices.meters.slurm_energy import SlurmEnergy


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def play(plugin: str, joules: str) -> None:
        program = tmp_path / "scontrol"
        program.write_text(
            '#!/bin/sh\nif [ "$2" = config ]; then\n'
            f"echo 'AcctGatherEnergyType    = acct_gather_energy/{plugin}'\necho 'AcctGatherNodeFreq      = 30 sec'\n"
            f"else echo '   CurrentWatts=312 AveWatts=300 ConsumedJoules={joules}'; fi\n"
        )
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    return play


def test_a_plug_in_that_sees_the_whole_node_is_a_meter_of_it(scontrol) -> None:
    scontrol("ipmi", "123456")
    meter = SlurmEnergy(Scope(root_pid=1))
    (device,) = meter.probe().devices
    assert (device.boundary, device.update_s) == ("node", 30.0)
    assert [s.energy_j for s in meter.read_slow()] == [123456.0]


@pytest.mark.parametrize(("plugin", "joules", "why"), [
    ("rapl", "5000", "Slurm's energy plug-in is rapl; the whole node is read by ipmi, xcc, pm_counters"),
    ("none", "0", "Slurm's energy plug-in is none"),
    ("ipmi", "n/s", "Slurm's plug-in ipmi reports no energy of n7"),
    ("ipmi", "0", "Slurm's plug-in ipmi reports no energy of n7"),
])  # fmt: skip
def test_what_is_not_the_whole_node_or_no_energy_is_missing(
    scontrol, plugin: str, joules: str, why: str
) -> None:
    scontrol(plugin, joules)
    probe = SlurmEnergy(Scope(root_pid=1)).probe()
    assert probe.devices == ()
    assert why in probe.reason


def test_outside_slurm_scontrol_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert SlurmEnergy(Scope(root_pid=1)).probe().reason == "not inside a Slurm job"
