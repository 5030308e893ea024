"""Plug-ins are found by the names declared in their files, without importing them."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from wattlaw.core import plugins as module
from wattlaw.core.errors import BrokenPluginError, MissingPartError, UnknownNameError, UsageError
from wattlaw.core.plugins import (
    COMMANDS,
    KINDS,
    LAWS,
    METERS,
    WORKLOADS,
    PluginKind,
    how_to_install,
    load,
    need,
    plugins,
)

SHED = PluginKind("workload", "shed")


def clear_caches() -> None:
    for function in vars(module).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty room named ``shed``, removed after the test."""
    folder = tmp_path / "shed"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    clear_caches()
    for name in [n for n in sys.modules if n == "shed" or n.startswith("shed.")]:
        del sys.modules[name]


def test_names_are_read_without_importing_the_file(room: Path):
    (room / "molecules").mkdir()
    (room / "molecules" / "dimenet.py").write_text(
        'raise RuntimeError("imported")\nVERSION = 3\nNAMES: dict[str, str] = {\n    "dimenet++": "New",  # a comment\n'
        '    "dimenet": "Old",\n}\n\n\nclass New: ...\n'
    )
    found = plugins(SHED)
    assert found["dimenet++"] == (
        "dimenet++",
        "shed.molecules.dimenet",
        "New",
        3,
        "molecules",
        "wattlaw",
    )
    assert set(found) == {"dimenet++", "dimenet"}
    with pytest.raises(RuntimeError, match="imported"):
        load(SHED, "dimenet")


def test_names_are_read_only_from_the_literal(room: Path):
    (room / "a.py").write_text(
        'NAMES = {"a": "A"}  # one }\nOTHER = {\n    1: 2,\n}\nclass A: ...\n'
    )
    (room / "b.py").write_text(
        'NAMES = {"b": "B"}\nNAMES_OF_OTHERS = {"c": "C"}\nif NAMES == {}: ...\nclass B: ...\n'
    )
    assert set(plugins(SHED)) == {"a", "b"}
    assert load(SHED, "b").__name__ == "B"


@pytest.mark.parametrize(
    "text", ['NAMES = dict(a="A")\n', 'NAMES = {"a": "A"\n', 'NAMES = {"a": A}\n']
)
def test_names_that_are_not_a_literal_are_an_error_that_names_the_file(room: Path, text: str):
    (room / "bad.py").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.py: NAMES must be a literal"):
        plugins(SHED)


def test_a_name_declared_twice_is_an_error(room: Path):
    for name in "ab":
        (room / f"{name}.py").write_text('NAMES = {"same": "X"}\n')
    with pytest.raises(UsageError, match=r"'same' is declared twice: shed\.a, shed\.b"):
        plugins(SHED)


def test_a_misspelt_name_suggests_the_nearest_name(room: Path):
    (room / "a.py").write_text('NAMES = {"schnet": "A", "dimenet": "B"}\n')
    with pytest.raises(UnknownNameError, match="unknown workload 'shnet'; did you mean 'schnet'"):
        load(SHED, "shnet")
    with pytest.raises(UnknownNameError, match="valid: dimenet, schnet"):
        load(SHED, "xyz")


def test_a_users_own_class_is_found_from_the_folder_of_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "my_own_file.py").write_text("class Mine: ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load(WORKLOADS, "my_own_file:Mine").__name__ == "Mine"
    with pytest.raises(UsageError, match="has no Yours"):
        load(WORKLOADS, "my_own_file:Yours")
    with pytest.raises(UsageError, match="there is no module no_such_file"):
        load(WORKLOADS, "no_such_file:Mine")


@pytest.mark.parametrize("name", [":Mine", ".here:Mine", "a-b:Mine", "math:"])
def test_an_invalid_path_is_refused_in_one_line(name: str):
    with pytest.raises(UsageError):
        load(WORKLOADS, name)


def test_an_error_in_a_users_file_is_shown_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "my_broken_file.py").write_text("import math\nmath.no_such_thing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AttributeError, match="no_such_thing"):
        load(WORKLOADS, "my_broken_file:Mine")


def test_a_missing_part_is_named_with_the_command_that_installs_it(room: Path):
    (room / "a.py").write_text('NAMES = {"a": "A"}\nimport no_such_library\n')
    with pytest.raises(
        MissingPartError, match="a needs no_such_library: pip install no_such_library"
    ):
        load(SHED, "a")
    with pytest.raises(MissingPartError, match="an index needs no_such_library"):
        need("no_such_library", "an index")
    assert how_to_install("pyarrow") == "pip install 'wattlaw[analysis]'"


@pytest.mark.parametrize("kind", [*KINDS.values(), COMMANDS], ids=lambda kind: kind.noun)
def test_every_plugin_can_be_imported_and_has_its_attribute(kind: PluginKind):
    # the test environment installs every library that a plug-in needs, so none is skipped
    for plugin in plugins(kind).values():
        assert hasattr(importlib.import_module(plugin.module), plugin.attribute), plugin
        assert plugin.version >= 1


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install small packages that declare entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    modules: list[str] = []

    def install(package: str, entry_points: str, source: str) -> None:
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        modules.append(package.replace("-", "_"))
        (tmp_path / f"{modules[-1]}.py").write_text(source)
        importlib.invalidate_caches()
        clear_caches()

    yield install
    clear_caches()
    for name in modules:
        sys.modules.pop(name, None)


def test_an_entry_point_of_another_package_is_a_plugin(install: Callable[..., None]):
    source = 'raise RuntimeError("imported")\nVERSION = 2\nDOMAIN = "seismology"\n'
    install("wave-nets", "[wattlaw.workloads]\nwavenet = wave_nets:WaveNet\n", source)
    found = plugins(WORKLOADS)["wavenet"]
    assert found == ("wavenet", "wave_nets", "WaveNet", 2, "seismology", "wave-nets 1.2")
    assert "schnet" in plugins(WORKLOADS)


def test_an_entry_point_is_imported_when_its_name_is_used(install: Callable[..., None]):
    install("quiet-meters", "[wattlaw.meters]\nquiet = quiet_meters:Quiet\n", "class Quiet: ...\n")
    assert load(METERS, "quiet").__name__ == "Quiet"


def test_a_package_cannot_replace_a_built_in_plugin(install: Callable[..., None]):
    install("fast-nvml", "[wattlaw.meters]\nnvml = fast_nvml:Nvml\n", "")
    clash = "the meter 'nvml' is provided by wattlaw and by fast-nvml 1.2; uninstall one of them"
    with pytest.raises(UsageError, match=re.escape(clash)):
        plugins(METERS)


def test_two_packages_that_provide_one_name_are_both_named(install: Callable[..., None]):
    install("one-law", "[wattlaw.laws]\ncurve = one_law:Law\n", "")
    install("two-law", "[wattlaw.laws]\ncurve = two_law:Law\n", "")
    with pytest.raises(UsageError, match=r"provided by one-law 1\.2 and by two-law 1\.2"):
        plugins(LAWS)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import no_such_library\n", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("class Other: ...\n", "AttributeError: module 'bad_meters' has no attribute 'Bad'"),
    ],
)
def test_a_plugin_that_cannot_be_imported_names_its_package(
    install: Callable[..., None], source: str, what: str
):
    install("bad-meters", "[wattlaw.meters]\nbad = bad_meters:Bad\n", source)
    line = f"the meter 'bad' of the package bad-meters 1.2 cannot be imported: {what}"
    with pytest.raises(BrokenPluginError, match=re.escape(line)):
        load(METERS, "bad")


def test_looking_for_commands_does_not_load_the_metadata_of_packages():
    script = (
        "import sys; from wattlaw.cli.main import wattlaw\n"
        "try: wattlaw(['--help'])\n"
        "except SystemExit: print('importlib.metadata' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "False"
