"""Every command that README and docs show is run here, in the order of its page.

A block fenced as ``console`` runs always, ``console slow`` with DEPTH=full. A block that follows a line such as
"`first.toml`:" is written to that file first. The blocks fenced as ``python`` are one script, in their order, unless
they are marked ``python fragment``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FULL

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(
    r"^(?:`(?P<file>[\w./-]+)`:\n\n)?```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S
)


def commands(page: Path) -> list[tuple[bool, str]]:
    found = []
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"].split()[:1] == ["console"]:
            slow = "slow" in block["kind"]
            found += [
                (slow, line[2:]) for line in block["body"].splitlines() if line.startswith("$ ")
            ]
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_of_a_page_works_as_shown(page, tmp_path):
    for block in BLOCK.finditer(page.read_text()):
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["body"])
    variables = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{tmp_path}"}
    for slow, command in commands(page):
        if slow and not FULL:
            continue
        words = shlex.split(command, comments=True)
        assert words[0] == "wattlaw", (
            f"{page.name}: only wattlaw commands are shown as console: {command}"
        )
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stderr}"


def scripts(page: Path) -> list[str]:
    blocks = (b for b in BLOCK.finditer(page.read_text()) if b["kind"] == "python")
    return [b["body"] for b in blocks]


@pytest.mark.parametrize("page", [p for p in PAGES if scripts(p)], ids=lambda p: p.name)
def test_the_python_of_a_page_runs(page, tmp_path):
    (tmp_path / "page.py").write_text("\n".join(scripts(page)))
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{page.name}\n{done.stderr}"


def test_every_relative_link_of_the_docs_has_a_target():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_shows_something_to_run_before_line_20():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert any(line.startswith("$ wattlaw") for line in lines[:20])
