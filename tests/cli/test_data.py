"""``wattlaw data``: the contents of a molecule file, from the command line."""

from __future__ import annotations

import json

from click.testing import CliRunner

from wattlaw.cli.main import wattlaw
from wattlaw.workloads.molecules.sources.trajectories import ETHANOL

FRAME = "1\nProperties=species:S:1:pos:R:3:forces:R:3 energy=1.0\nH 0 0 0 0 0 0\n"


def test_check_describes_a_valid_file():
    done = CliRunner().invoke(wattlaw, ["data", "check", str(ETHANOL), "--json"])
    report = json.loads(done.stdout)
    assert (done.exit_code, report["items"]) == (0, [])
    assert report["overall"]["molecules"] == report["overall"]["forces"] == 1200
    assert report["overall"]["elements"] == {"H": 7200, "C": 2400, "O": 1200}
    assert report["overall"]["numbers"] == {"energy": 1200}


def test_check_names_every_bad_record_and_fails(tmp_path):
    path = tmp_path / "some.xyz"
    path.write_text(
        FRAME + FRAME.replace("H", "Qq") + FRAME.replace(" 0 0 0 ", " nan 0 0 ") + FRAME
    )
    done = CliRunner().invoke(wattlaw, ["data", "check", str(path)])
    assert done.exit_code == 1
    assert "line 4 (frame 1): unknown element Qq" in done.stderr
    assert "line 7 (frame 2): a number that is not finite" in done.stderr


def test_check_reads_a_table_of_smiles(tmp_path):
    path = tmp_path / "zinc.csv"
    path.write_text("smiles,logP,name\nCCO,1.0,a\nC1CC,2.0,b\n")
    done = CliRunner().invoke(wattlaw, ["data", "check", str(path), "--json"])
    report = json.loads(done.stdout)
    assert [(i["record"], "ring" in i["fault"]) for i in report["items"]] == [("line 3", True)]
    assert report["overall"]["numbers"] == {"logP": 1}
