"""Every study implements its role and compares findings with published values."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.factory import make_run

from wattlaw.cli.main import main
from wattlaw.core.errors import UnknownNameError, UsageError
from wattlaw.core.plugins import STUDIES, plugins
from wattlaw.core.reading import measured
from wattlaw.core.run_folder import write_run
from wattlaw.runner.node_devices import NodeDevices
from wattlaw.runner.sweeps import as_sweep
from wattlaw.studies.planned import PLANNED
from wattlaw.studies.result import PublishedValue, StudyFinding, StudyResult
from wattlaw.studies.role import SCALES
from wattlaw.studies.run_study import (
    RECORD,
    checked_scale,
    estimate_study,
    find_study,
    list_studies,
    run_work,
)
from wattlaw.studies.study_page import write_study

PAPERS = {
    *("resource-usage", "litmatter", "prime-time", "projection", "supercloud"),
    *("accelerators-2020", "accelerators-2021", "video", "nowcasting", "fabrics"),
}
BUILT = sorted(plugins(STUDIES))
SURVEYS = ["accelerators-2020", "accelerators-2021"]


def command(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["study", *words])
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("name", BUILT)
def test_a_built_study_implements_its_role(name: str) -> None:
    study = find_study(name)
    assert study.name == name
    assert study.title
    assert study.paper
    assert study.question.endswith("?")
    assert study.scales
    assert [s for s in SCALES if s in study.scales] == list(study.scales)
    assert "tiny" in study.scales


@pytest.mark.parametrize("name", BUILT)
@pytest.mark.parametrize("gpus", [0, 4])
def test_the_sweeps_of_a_study_are_valid_at_every_scale(name: str, gpus: int) -> None:
    study = find_study(name)
    node = NodeDevices(("NVIDIA A100-SXM4-80GB",) * gpus, 8)
    for scale in study.scales:
        values = study.sweep(node, scale)
        if values is not None:
            assert as_sweep(dict(values))[0].name == name


def test_all_ten_papers_and_the_quick_start_are_listed(tmp_path: Path) -> None:
    listed = list_studies(tmp_path)
    names = [item.name for item in listed]
    assert len(names) == len(set(names))
    assert {*PAPERS, "quickstart"} <= set(names)
    assert {item.name for item in listed if not item.built} == {p.name for p in PLANNED}
    assert all(item.paper and item.question.endswith("?") for item in listed)


def test_the_list_as_json_has_the_documented_items(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capsys, "list", "-o", str(tmp_path), "--json")
    whole = json.loads(out)
    assert (code, whole["kind"]) == (0, "study list")
    for item in whole["items"]:
        assert set(item) == {"name", "paper", "scales", "question", "last_run", "built"}
        assert item["last_run"] is None


def test_the_list_marks_studies_that_are_not_built_yet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, out, _ = command(capsys, "list", "-o", str(tmp_path))
    (line,) = [x for x in out.splitlines() if x.startswith("nowcasting")]
    assert "not built yet" in line


def test_a_planned_study_cannot_be_run_yet(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="nowcasting is not built yet; built: accelerators-2020"):
        find_study("nowcasting")
    code, _, err = command(capsys, "run", "nowcasting")
    assert (code, "not built yet" in err) == (2, True)


def test_a_misspelt_study_or_scale_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="quickstart"):
        find_study("quickstrat")
    with pytest.raises(UnknownNameError, match="tiny"):
        checked_scale(find_study("quickstart"), "tinny")


def test_a_dry_run_prints_the_sweep_and_estimates_without_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("run", "accelerators-2020", "--scale", "laptop", "--dry-run", "-o", str(tmp_path))
    code, out, err = command(capsys, *words)
    assert code == 0
    assert 'name = "accelerators-2020"' in out
    assert "trials are left" in err
    assert "device-hours: about" in err
    assert "energy: missing, because no earlier run measured energy" in err
    assert list(tmp_path.iterdir()) == []


def test_a_flag_without_effect_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = str(tmp_path / "p.html")
    code, _, err = command(capsys, "run", "quickstart", "--dry-run", "--report", page)
    assert (code, "--report has no effect with --dry-run" in err) == (2, True)
    words = ("run", "accelerators-2020", "--scale", "tiny", "--max-slowdown", "0.1")
    code, _, err = command(capsys, *words, "-o", str(tmp_path))
    assert (code, "--max-slowdown has no effect on the study accelerators-2020" in err) == (2, True)


def test_the_energy_of_a_study_is_estimated_from_the_power_of_earlier_runs(tmp_path: Path) -> None:
    quantities = {"elapsed_s": measured(10.0), "gpu_energy_j": measured(2000.0)}
    write_run(tmp_path / "quickstart" / "t", make_run(quantities=quantities))
    found = estimate_study(find_study("quickstart"), "tiny", tmp_path)
    assert found.energy_j.status == "estimated"
    assert found.energy_j.value == pytest.approx(200.0 * 3600 * found.device_hours.value)


def test_published_values_are_compared_with_the_findings_of_their_key() -> None:
    def published(key: str, value: float) -> PublishedValue:
        return PublishedValue(key=key, value=value, kind="read", source="a paper")

    result = StudyResult(
        findings=(
            StudyFinding(key="same", text="same", value=1.002),
            StudyFinding(key="high", text="high", value=1.5),
            StudyFinding(key="lost", text="lost", value=None, status="missing", how="no meter"),
        ),
        published=tuple(published(key, 1.0) for key in ("same", "high", "lost", "other")),
    )
    verdicts = {c.key: (c.found, c.verdict) for c in result.comparisons}
    assert verdicts["same"][1] == "equal"
    assert verdicts["high"] == ("1.5", "50 % higher")
    assert verdicts["lost"] == ("missing, because no meter", "not compared")
    assert verdicts["other"][0].startswith("missing, because")


@pytest.mark.parametrize("name", SURVEYS)
def test_a_survey_study_has_the_counts_of_its_table(tmp_path: Path, name: str) -> None:
    study = find_study(name)
    inputs = run_work(study, "tiny", tmp_path)
    result = study.analyse(inputs)
    assert len(result.comparisons) == 12
    assert {c.verdict for c in result.comparisons} == {"equal"}
    assert all("derived" in c.published for c in result.comparisons)
    shares = [f for f in result.findings if f.key.startswith("share_")]
    assert all(0.1 < (f.value or 0) < 0.7 and f.status == "estimated" for f in shares)
    own = result.finding("own_share")
    assert own is not None
    assert own.shown == "missing, because the scale tiny trains nothing; run the scale laptop"


def test_the_page_of_a_survey_is_self_contained_with_its_figures_and_data_beside_it(
    tmp_path: Path,
) -> None:
    study = find_study("accelerators-2021")
    inputs = run_work(study, "tiny", tmp_path)
    page = tmp_path / "page" / "survey.html"
    written = write_study(study, inputs, page)
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"http", text)
    assert "In 2021 the median accelerator offered 725 GOPS/W" in written.lines[0]
    names = {file.name for file in written.files}
    for figure in ("survey-2021", "today", "efficiency", "benchmarks", "share-of-peak"):
        assert {f"survey-{figure}.{ending}" for ending in ("svg", "pdf", "csv")} <= names
    drawn = (page.parent / "survey-survey-2021.svg").read_text(encoding="utf-8")
    assert "GroqNode" in drawn
    assert "var(--" not in drawn
    header, *rows = (page.parent / "survey-survey-2021.csv").read_text().splitlines()
    assert header.endswith("peak (op/s),power (W),efficiency (op/s/W)")
    assert len(rows) == 102


def test_a_study_leaves_a_record_that_the_list_shows(tmp_path: Path) -> None:
    study = find_study("accelerators-2020")
    inputs = run_work(study, "tiny", tmp_path)
    write_study(study, inputs, inputs.folder / "report.html")
    record = json.loads((inputs.folder / RECORD).read_bytes())
    assert record["scale"] == "tiny"
    assert record["comparisons"][0]["found"] == "83"
    (listed,) = [i for i in list_studies(tmp_path) if i.name == "accelerators-2020"]
    assert listed.last_run == record["finished"]


def test_the_quick_start_runs_reports_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    words = ("run", "quickstart", "--scale", "tiny", "-o", str(tmp_path), "--report", str(page))
    code, out, err = command(capsys, *words)
    assert code == 0
    assert out.startswith("schnet")
    assert str(page) in err
    text = page.read_text(encoding="utf-8")
    assert "2 trials of schnet ran in fresh processes." in text
    assert "How much faster is training on more devices here" in text
    code, _, err = command(capsys, *words)
    assert (code, "done already" in err) == (0, True)
