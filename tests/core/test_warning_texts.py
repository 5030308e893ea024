"""The names of warnings: one spelling, one table of meanings."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import wattlaw
from wattlaw.core.warning_texts import WARNINGS, meaning


def made() -> set[str]:
    """Return the first argument of every ``Note(…)`` in the source, expressions as code."""
    found = set()
    for path in Path(wattlaw.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "Note"
            ):
                name = node.args[0]
                found.add(str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name))
    return found


def test_every_warning_has_a_meaning_and_a_next_step():
    assert made() == set(WARNINGS)
    assert all(what.endswith(".") and do.endswith(".") for what, do in WARNINGS.values())


def test_warnings_are_named_in_snake_case():
    assert [n for n in WARNINGS if not re.fullmatch(r"[a-z]+(_[a-z]+)*", n)] == []


def test_a_record_with_another_spelling_of_a_name_finds_its_meaning():
    assert meaning("failed runs") == meaning("failed-runs") == WARNINGS["failed_runs"]
    assert meaning("nothing of ours") == ("", "")
