"""The example package adds a meter, a workload and an importer; each is used from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "plugin"


def answer(python: Path, folder: Path, variables: dict[str, str], *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [python, "-m", "wattlaw", *words, "--json"],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return json.loads(done.stdout)


def check_every_part(python: Path, folder: Path, variables: dict[str, str]) -> None:
    def wattlaw(*words: str) -> dict[str, Any]:
        return answer(python, folder, variables, *words)

    providers = {item["name"]: item["package"] for item in wattlaw("list", "meters")["items"]}
    assert providers["power-file"] == "wattlaw-example 1.0"
    assert providers["nvml"] == "wattlaw"
    assert ("line", "examples") in {
        (item["name"], item["domain"]) for item in wattlaw("list", "workloads")["items"]
    }

    findings = [item for item in wattlaw("doctor")["items"] if item["what"] == "meter power-file"]
    assert findings[0]["do"] == "export WATTLAW_POWER_FILE=FILE"
    (folder / "watts").write_text("230\n")
    variables["WATTLAW_POWER_FILE"] = str(folder / "watts")
    energies = [item for item in wattlaw("doctor")["items"] if item["what"] == "node energy"]
    assert [item["status"] for item in energies] == ["measured"]

    trained = wattlaw(
        "run", "line", "--preset", "tiny", "--steps", "20", "--option", "evaluate_at_end=true"
    )
    quantities = trained["items"][0]["quantities"]
    assert quantities["valid_slope_error"]["value"] < 1.0
    watts = quantities["node_energy_j"]["value"] / quantities["elapsed_s"]["value"]
    assert quantities["node_energy_j"]["status"] == "missing" or watts == pytest.approx(
        230, rel=0.01
    )

    (folder / "times.csv").write_text("name,devices,seconds\nresnet50,2,120\nresnet50,4,70\n")
    assert wattlaw("import", "stopwatch", "times.csv", "-o", "runs/old")["overall"]["runs"] == 2


def test_the_example_package_is_found_by_its_entry_points(tmp_path: Path):
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    info = tmp_path / "site" / "wattlaw_example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    paths = [str(info.parent), str(EXAMPLE / "src"), str(ROOT / "src")]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    check_every_part(Path(sys.executable), tmp_path, variables)


@pytest.mark.full
def test_the_example_package_can_be_installed_and_used(tmp_path: Path):
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    site = next(home.glob("lib/python*/site-packages"))
    # the libraries of this environment are used in place: only the example is installed
    libraries = [path for path in sys.path if path.endswith("-packages")]
    (site / "libraries.pth").write_text("\n".join([*libraries, str(ROOT / "src")]))
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "-c",
        str(ROOT / "constraints.txt"),
    ]
    subprocess.run([*pip, str(EXAMPLE)], check=True, capture_output=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    check_every_part(python, tmp_path, variables)
