"""The figures: points, labels, and the commands that draw and print."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.accelerators.commands import CSV_HEAD, command

from wattlaw.accelerators.catalogue.achieved import mlperf_achieved
from wattlaw.accelerators.catalogue.catalogue import (
    CatalogueFilter,
    built_in,
    representative,
    select,
)
from wattlaw.accelerators.catalogue.survey import edition
from wattlaw.accelerators.figures.achieved_shares import plot_measured
from wattlaw.accelerators.figures.label_placement import Box, place_labels, text_width
from wattlaw.accelerators.figures.scatter import plot
from wattlaw.accelerators.figures.scatter_frame import (
    frame_of,
    frontier_boxes,
    iso_lines,
    name_boxes,
)
from wattlaw.accelerators.figures.style import write
from wattlaw.accelerators.figures.trends import plot_trend
from wattlaw.core.errors import UsageError


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.floats(0, 300), st.text("ABil1 ", min_size=1, max_size=12)),
        max_size=60,
    )
)
def test_labels_cover_neither_each_other_nor_a_point(spots: list[tuple[float, float, str]]) -> None:
    points, texts = [(x, y) for x, y, _ in spots], [t for _, _, t in spots]
    frame = Box(0, 0, 400, 300)
    boxes = []
    for spot in place_labels(points, texts, frame, size=9, radius=4):
        wide = text_width(texts[spot.point], 9)
        boxes.append(Box(spot.x, spot.y - 5, spot.x + wide, spot.y + 5))
    marks = [Box(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in [*boxes[:i], *marks])
    assert all(b.left >= -1e-9 and b.right <= 400 + 1e-9 for b in boxes)


def test_a_single_point_is_labelled_at_its_right() -> None:
    (spot,) = place_labels([(100.0, 100.0)], ["A100"], Box(0, 0, 400, 300))
    assert 100 < spot.x < 115
    assert spot.y == pytest.approx(100)
    assert not spot.has_leader


def test_every_point_of_a_survey_is_in_the_figure_and_most_have_a_label(tmp_path: Path) -> None:
    entries = edition(2025)
    write(plot(entries, "Survey of 2025"), tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert drawn.count('aria-roledescription="point"') == 180
    assert "Survey of 2025" in drawn
    written = [e.label for e in entries if f">{e.label}<" in drawn]
    assert len(written) >= 110
    assert "data-centre" in drawn
    assert "1 TOPS/W" in drawn


def test_legends_explain_colour_shape_and_fill(tmp_path: Path) -> None:
    write(plot(edition(2025)), tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text(encoding="utf-8")
    words = dict(re.findall(r"Symbol legend titled '([^']*)'[^\"]*values: ([^\"]*)", drawn))
    assert set(words) == {"precision", "form factor", "use"}
    assert words["use"] == "training, inference"
    assert words["form factor"] == "chip, card, system"


def test_no_label_of_a_line_or_a_device_covers_the_frontier() -> None:
    entries = edition(2025)
    frame = frame_of(entries, "")
    steps = frontier_boxes(frame, entries)
    lines = iso_lines(frame, steps)
    assert len([line for line in lines if line.name_at]) > 6
    assert not any(b.overlaps(s) for b in name_boxes(frame, lines) for s in steps)


def test_the_page_fetches_nothing_and_has_filters(tmp_path: Path) -> None:
    write(plot(edition(2019)), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.findall(r"<(?:script|link)[^>]+(?:src|href)=", page)
    assert "precision_shown" in page
    assert "form_factor_shown" in page


@pytest.mark.parametrize(
    ("ending", "begin"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("json", b"{")]
)
def test_a_figure_is_written_in_the_format_of_its_file_name(
    tmp_path: Path, ending: str, begin: bytes
) -> None:
    path = tmp_path / f"a.{ending}"
    write(plot(edition(2019)[:12]), path)
    assert path.read_bytes().startswith(begin)
    with pytest.raises(UsageError, match=r"ends in \.html, \.svg"):
        write(plot(edition(2019)[:2]), tmp_path / "a.doc")


def test_a_zoom_shows_only_its_segment() -> None:
    entries = representative(built_in().entries)
    spec = plot(entries, zoom="embedded").to_dict(validate=False)
    powers = [r["power"] for rows in spec["datasets"].values() for r in rows if "peak_text" in r]
    assert powers
    assert all(1 <= p < 10 for p in powers)
    with pytest.raises(UsageError, match="loosen the filters"):
        plot([e for e in entries if (e.power_w or 0) > 100], zoom="embedded")


def test_lines_of_equal_efficiency_have_the_labelled_value() -> None:
    spec = plot(edition(2025), labels=False).to_dict(validate=False)
    rows = [r for rows in spec["datasets"].values() for r in rows if "power2" in r]
    ratios = [r["peak"] / r["power"] for r in rows]
    assert ratios == pytest.approx([r["peak2"] / r["power2"] for r in rows])
    assert 1e12 in [pytest.approx(r) for r in ratios]


def test_trends_and_shares_are_drawn(tmp_path: Path) -> None:
    entries = representative(select(built_in().entries, CatalogueFilter(years=(2019, 2026))))
    write(plot_trend(entries), tmp_path / "t.svg")
    assert "efficiency by segment" in (tmp_path / "t.svg").read_text(encoding="utf-8")
    write(plot_measured(mlperf_achieved()), tmp_path / "m.svg")
    assert "NVIDIA H100 SXM5 80GB" in (tmp_path / "m.svg").read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="at least two years"):
        plot_trend([e for e in entries if e.year == 2023])
    with pytest.raises(UsageError, match="known share of peak: there are no runs"):
        plot_measured([])


def test_list_prints_the_documented_fields_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = command(capsys, "list", "--company", "google", "--years", "2021-2026", "--json")
    whole = json.loads(out)
    assert (code, whole["kind"]) == (0, "accelerators")
    names = {
        "company",
        "product",
        "year",
        "form_factor",
        "use",
        "precision",
        "peak_op_per_s",
        "power_w",
        "source",
    }
    assert all(names <= set(item) for item in whole["items"])
    assert whole["overall"]["rows"] == len(whole["items"]) > 5


def test_a_plot_prints_its_points_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.svg"
    code, out, _ = command(
        capsys, "plot", "--survey", "2025", "--zoom", "embedded", "-o", str(path), "--json"
    )
    whole = json.loads(out)
    assert (code, whole["overall"]["files"]) == (0, [str(path)])
    assert path.read_text().count('aria-roledescription="point"') == len(whole["items"]) > 10


def test_a_diff_is_filtered_by_the_catalogue_data_of_a_device(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, _ = command(
        capsys, "diff", "2021", "2022", "--company", "google", "--precision", "bf16", "--json"
    )
    assert (code, {c["accelerator"] for c in json.loads(out)["items"]}) == (0, {"google-tpu-v4"})


def test_check_names_file_line_and_column_and_fails_where_a_row_was_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(CSV_HEAD + "Acme,A,fp16,1e14,300\nAcme,B,fp16,1e14,-1\n")
    code, out, err = command(capsys, "check", str(path))
    assert code == 1
    assert f"{path}:3: power_w: -1 is not above 0 [dropped: not-positive]" in out
    assert "1 good row" in err
    code, out, _ = command(capsys, "check", str(path), "--json")
    assert json.loads(out)["items"][0] == {
        "file": str(path), "line": 3, "column": "power_w", "fault": "-1 is not above 0", "handling": "dropped",
        "name": "not-positive",
    }  # fmt: skip
    path.write_text(CSV_HEAD + "Acme,A,fp16,1e14,300\n")
    assert command(capsys, "check", str(path))[0] == 0


def test_every_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (("list", "--survey", "2019", "--use", "training"), "Tesla K80"),
        (("show", "NVIDIA L4"), "72 W"),
        (("show", "T4"), "70 W (fp16 fp32 fp64), 150 W (int8)"),
        (("compare", "nvidia-l4", "Tesla T4"), "peak, int8"),
        (("frontier", "--survey", "2025"), "Netcast"),
        (("trend", "--by", "precision"), "fp16"),
        (("diff", "2020", "2021"), "greenwaves-gap9"),
        (("measured",), "nvidia-h100-sxm5-80gb"),
        (("choose", "--workload", "mlperf-resnet", "--most", "3"), "roofline"),
    ):
        code, out, err = command(capsys, *words)
        assert (code, expected in out + err) == (0, True), words
    code, _, err = command(
        capsys, "plot", "--survey", "2019", "--zoom", "embedded", "-o", str(tmp_path / "p.svg")
    )
    assert (code, (tmp_path / "p.svg").is_file()) == (0, True)
    code, _, err = command(capsys, "list", "--power", "low")
    assert code == 2
    assert "70-400" in err
