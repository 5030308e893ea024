"""Figure files, and the command that writes them."""

from __future__ import annotations

import pytest
from tests.factory import grid_runs as sweep

from wattlaw.cli.main import main
from wattlaw.core.run_folder import write_run
from wattlaw.report.figures.figure_files import FORMATS, drawn, paper_spec
from wattlaw.report.page import make_page

SIGNS = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_figure_is_written_for_a_paper(name):
    page = make_page(sweep([("schnet", 0.1), ("gpt2", 0.2)]))
    figure = page.sections[1].figures[0]
    assert drawn(figure, name).startswith(SIGNS[name])


def test_a_figure_for_a_paper_names_no_colour_of_the_page():
    page = make_page(sweep(energy="measured"))
    figures = [f for s in page.sections for f in s.figures]
    assert len(figures) >= 5
    assert all("var(" not in str(paper_spec(f)) for f in figures)


def test_the_command_prints_the_files_that_it_wrote(tmp_path, capsys):
    for one in sweep([("schnet", 0.1)], repeats=1):
        write_run(tmp_path / "runs" / one.sweep / one.trial, one)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(tmp_path / "runs"), "-o", str(tmp_path / "r.html"), "--format", "svg"])
    assert stop.value.code == 0
    paths = capsys.readouterr().out.split()
    assert paths[0] == str(tmp_path / "r.html")
    assert str(tmp_path / "r-speedup.svg") in paths
    assert len(paths) == len(list(tmp_path.glob("r[.-]*")))
