"""The contract that every importer fulfils, and `import_runs`."""

from __future__ import annotations

import sys

import pytest
from tests.importers.records import COLUMNS, PLAIN, SOURCES, results

from wattlaw.cli.main import main
from wattlaw.core.errors import DataError, UsageError
from wattlaw.core.plugins import IMPORTERS, load, plugins
from wattlaw.importers.importer import Importer, import_runs, sources_of


@pytest.fixture(params=sorted(plugins(IMPORTERS)))
def source(request):
    return request.param


def record_of(source, folder):
    name, text = SOURCES[source]
    (folder / name).write_text(text)
    return folder / name


def test_an_importer_describes_what_it_reads(source):
    kind = load(IMPORTERS, source)
    assert issubclass(kind, Importer)
    assert kind.summary
    assert kind.__doc__


def test_a_record_is_recognised_by_its_own_source_only(source, tmp_path):
    found = sources_of(record_of(source, tmp_path))
    assert found == ([] if source == "csv" else [source])


def test_a_record_gives_runs_that_name_their_source(source, tmp_path):
    options = {"columns": COLUMNS} if source == "csv" else {}
    found = import_runs(source, record_of(source, tmp_path), **options)
    assert {run.source for run in found.runs} == {source}
    assert len({run.trial for run in found.runs}) == len(found.runs)
    assert all(run.quantities for run in found.runs)


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x80" * 50, b"{" * 100])
def test_no_importer_recognises_other_files_or_fails_on_them(source, content, tmp_path):
    importer = load(IMPORTERS, source)()
    (tmp_path / "other.bin").write_bytes(content)
    for path in (tmp_path, tmp_path / "other.bin", tmp_path / "absent"):
        assert not importer.recognises(path)


def test_a_folder_of_results_is_recognised(tmp_path):
    assert sources_of(results(tmp_path)) == ["mlperf"]


def test_an_unknown_option_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(UsageError, match="unknown option 'workload' of source 'zeus'"):
        import_runs("zeus", tmp_path / "absent", workload="bert")
    with pytest.raises(UsageError, match="did you mean 'columns'"):
        import_runs("csv", tmp_path / "absent", column={})


def test_an_error_names_the_source_that_would_read_the_file(tmp_path):
    path = record_of("lightning", tmp_path)
    with pytest.raises(DataError, match="looks like a record of lightning"):
        import_runs("zeus", path)


def test_the_command_checks_for_pyarrow_before_it_reads(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "absent.csv"
    with pytest.raises(SystemExit) as stop:
        main(["import", "csv", str(path), "-o", str(tmp_path / "out")])
    assert stop.value.code == 1
    assert "pip install 'wattlaw[analysis]'" in capsys.readouterr().err


def test_the_command_reports_how_many_runs_it_read(tmp_path, capsys):
    (tmp_path / "x.csv").write_text(PLAIN)
    words = [f"--column={name}={column}" for name, column in COLUMNS.items()]
    with pytest.raises(SystemExit) as stop:
        main(["import", "csv", str(tmp_path / "x.csv"), "-o", str(tmp_path / "out"), *words])
    assert stop.value.code == 0
    printed = capsys.readouterr().err
    assert "2 runs in" in printed
    assert "1 part skipped" in printed
