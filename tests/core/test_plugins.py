"""Plug-ins are found by the names that their files declare, without importing them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wattlaw
from wattlaw.core.errors import MissingPartError, UnknownNameError, UsageError
from wattlaw.core.plugins import how_to_install, load, need, plugins

ROOMS = [
    f"wattlaw.{p.name}"
    for p in sorted(Path(wattlaw.__file__).parent.iterdir())
    if (p / "__init__.py").exists()
]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty room named ``shed``, forgotten afterwards."""
    folder = tmp_path / "shed"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    plugins.cache_clear()
    for name in [n for n in sys.modules if n == "shed" or n.startswith("shed.")]:
        del sys.modules[name]


def test_names_are_read_without_importing_the_file(room: Path):
    (room / "molecules").mkdir()
    (room / "molecules" / "dimenet.py").write_text(
        'raise RuntimeError("imported")\nVERSION = 3\nNAMES: dict[str, str] = {\n    "dimenet++": "New",  # a comment\n'
        '    "dimenet": "Old",\n}\n\n\nclass New: ...\n'
    )
    found = plugins("shed")
    assert found["dimenet++"] == ("dimenet++", "shed.molecules.dimenet", "New", 3, "molecules")
    assert set(found) == {"dimenet++", "dimenet"}
    with pytest.raises(RuntimeError, match="imported"):
        load("shed", "workload", "dimenet")


def test_a_literal_ends_where_it_ends(room: Path):
    (room / "a.py").write_text(
        'NAMES = {"a": "A"}  # one }\nOTHER = {\n    1: 2,\n}\nclass A: ...\n'
    )
    (room / "b.py").write_text(
        'NAMES = {"b": "B"}\nNAMES_OF_OTHERS = {"c": "C"}\nif NAMES == {}: ...\nclass B: ...\n'
    )
    assert set(plugins("shed")) == {"a", "b"}
    assert load("shed", "thing", "b").__name__ == "B"


@pytest.mark.parametrize(
    "text", ['NAMES = dict(a="A")\n', 'NAMES = {"a": "A"\n', 'NAMES = {"a": A}\n']
)
def test_names_that_are_no_literal_are_an_error_that_names_the_file(room: Path, text: str):
    (room / "bad.py").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.py: NAMES must be a literal"):
        plugins("shed")


def test_a_name_declared_twice_is_an_error(room: Path):
    for name in "ab":
        (room / f"{name}.py").write_text('NAMES = {"same": "X"}\n')
    with pytest.raises(UsageError, match=r"same is declared twice: shed\.a, shed\.b"):
        plugins("shed")


def test_a_misspelt_name_is_answered_with_the_nearest(room: Path):
    (room / "a.py").write_text('NAMES = {"schnet": "A", "dimenet": "B"}\n')
    with pytest.raises(UnknownNameError, match="unknown workload 'shnet'; did you mean 'schnet'"):
        load("shed", "workload", "shnet")
    with pytest.raises(UnknownNameError, match="valid: dimenet, schnet"):
        load("shed", "workload", "xyz")


def test_a_users_own_class_is_found_from_the_folder_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "my_own_file.py").write_text("class Mine: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load("wattlaw.workloads", "workload", "my_own_file:Mine").__name__ == "Mine"
    with pytest.raises(UsageError, match="has no Yours"):
        load("wattlaw.workloads", "workload", "my_own_file:Yours")
    with pytest.raises(UsageError, match="there is no module no_such_file"):
        load("wattlaw.workloads", "workload", "no_such_file:Mine")


@pytest.mark.parametrize("name", [":Mine", ".here:Mine", "a-b:Mine", "math:"])
def test_a_path_that_is_none_is_refused_in_one_line(name: str):
    with pytest.raises(UsageError):
        load("wattlaw.workloads", "workload", name)


def test_an_error_inside_a_users_file_is_shown_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "my_broken_file.py").write_text("import math\nmath.no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AttributeError, match="no_such_thing"):
        load("wattlaw.workloads", "workload", "my_broken_file:Mine")


def test_a_missing_part_is_named_with_the_command_that_installs_it(room: Path):
    (room / "a.py").write_text('NAMES = {"a": "A"}\nimport no_such_library\n')
    with pytest.raises(
        MissingPartError, match="a needs no_such_library: pip install no_such_library"
    ):
        load("shed", "meter", "a")
    with pytest.raises(MissingPartError, match="an index needs no_such_library"):
        need("no_such_library", "an index")
    assert how_to_install("pyarrow") == "pip install 'wattlaw[analysis]'"


@pytest.mark.parametrize("place", ROOMS)
def test_every_name_of_every_room_stands_for_something(place: str):
    for plugin in plugins(place).values():
        try:
            module = importlib.import_module(plugin.module)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("wattlaw"):
                raise
            continue  # its library is not installed here
        except MissingPartError:
            continue
        assert hasattr(module, plugin.attribute), plugin
        assert plugin.version >= 1
