"""The package as a whole: public names, imports on demand, and the base install."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import wattlaw
from tests.factory import make_run
from wattlaw.core.quantities import all_quantities
from wattlaw.core.run_folder import STEP_COLUMNS, write_run
from wattlaw.devices.meter import TELEMETRY_COLUMNS
from wattlaw.records.columns import COLUMNS, PLACE

ROOT = Path(__file__).parent.parent
EXTRAS = "altair duckdb jinja2 numpy pandas pyarrow qm9pack scipy sklearn torch torch_geometric transformers vl_convert"

HIDE = """
import sys
class Hidden:
    def __init__(self, finder): self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {names!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = [Hidden(f) if "PathFinder" in repr(f) else f for f in sys.meta_path]
"""


def test_the_public_names_are_the_documented_ones():
    page = (ROOT / "docs" / "python.md").read_text()
    named = {
        name
        for row in page.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`wattlaw\.(\w+)`", row)
    }
    assert named == set(wattlaw.__all__) == set(dir(wattlaw))


@pytest.mark.parametrize(
    "page", ["README.md", "docs/python.md", "docs/record.md", "docs/sweeps.md"]
)
def test_the_docs_use_only_public_names(page: str):
    called = set(re.findall(r"\bwattlaw\.([a-z_]+)\(", (ROOT / page).read_text()))
    assert called <= set(wattlaw.__all__)


def test_every_public_name_is_always_the_same_object():
    for name in wattlaw.__all__:
        first, again = getattr(wattlaw, name), getattr(wattlaw, name)
        assert callable(first) or isinstance(first, str)
        assert first is again
    with pytest.raises(AttributeError, match="no attribute 'load_run'"):
        _ = wattlaw.load_run


def test_the_docs_name_every_column_and_quantity_of_a_record():
    page = (ROOT / "docs" / "record.md").read_text()
    named = set(re.findall(r"`([a-z0-9_]+)`", page))
    assert {*STEP_COLUMNS, *TELEMETRY_COLUMNS, *(c.name for c in COLUMNS), *PLACE} <= named
    assert set(all_quantities()) <= named


@pytest.mark.parametrize(
    "what", ["import wattlaw", "from wattlaw.cli.main import wattlaw; wattlaw(['--help'])"]
)
def test_import_and_help_load_no_heavy_library(what: str):
    script = f"import sys\ntry:\n    {what}\nexcept SystemExit: pass\nprint(*sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "wattlaw" in loaded
    assert not loaded & {*EXTRAS.split(), "tabulate", "tqdm", "psutil", "pynvml"}


WORK = [
    (["--version"], 0, ""),
    (["--help"], 0, ""),
    (["doctor", "--json"], 0, ""),
    (["list", "workloads", "--json"], 0, ""),
    (["measure", "--json", "--", sys.executable, "-c", "pass"], 0, ""),
    (["runs", "show", "{runs}", "--json"], 0, ""),
    (["runs", "show", "{runs}"], 0, ""),
    (["runs", "export", "{runs}"], 0, ""),
    (["study", "run", "quickstart", "--dry-run"], 0, ""),
]
NEED = [
    (["runs", "compact", "{runs}"], 1, "needs pyarrow: pip install 'wattlaw[analysis]'"),
    (
        ["runs", "export", "{runs}", "-o", "{runs}/x.parquet"],
        1,
        "needs pyarrow: pip install 'wattlaw[analysis]'",
    ),
    (["runs", "compare", "{runs}", "{runs}"], 1, "needs numpy: pip install 'wattlaw[analysis]'"),
    (["fit", "{runs}"], 1, "pip install 'wattlaw[analysis]'"),
    (["advise", "{runs}"], 1, "pip install 'wattlaw[analysis]'"),
    (["report", "{runs}"], 1, "pip install 'wattlaw[report]'"),
]


def check_base_install(python: str, variables: dict[str, str], folder: Path) -> None:
    """Run commands that need no extra, and those that name the extra they need."""
    runs = folder / "runs" / "demo"
    for run in (make_run(1, 0), make_run(2, 0)):
        write_run(runs / run.trial, run)
    for words, code, message in [*WORK, *NEED]:
        command = [python, "-m", "wattlaw", *(word.format(runs=runs) for word in words)]
        done = subprocess.run(
            command, env=variables, cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, f"{words}: {done.stderr}"
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        if code:
            assert done.stderr.count("\n") == 1, done.stderr
        elif "--json" in words:
            assert json.loads(done.stdout)["wattlaw"] == wattlaw.__version__


def test_the_base_install_works_by_itself(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(HIDE.format(names=set(EXTRAS.split())))
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    check_base_install(sys.executable, {**os.environ, "PYTHONPATH": path}, tmp_path)


@pytest.mark.full
def test_the_base_install_works_in_an_environment_of_its_own(tmp_path: Path):
    venv.create(tmp_path / "v", with_pip=True)
    python = str(tmp_path / "v" / "bin" / "python")
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        str(ROOT / "constraints.txt"),
        str(ROOT),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    for name in EXTRAS.split():
        done = subprocess.run([python, "-c", f"import {name}"], capture_output=True, check=False)
        assert done.returncode == 1, f"{name} is in the base install"
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    check_base_install(python, variables, tmp_path)
