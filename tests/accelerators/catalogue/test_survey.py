"""The catalogue and the results of the surveys: counts, frontier, trends, changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from wattlaw.accelerators.catalogue.catalogue import (
    CatalogueFilter,
    aliases,
    built_in,
    load,
    named,
    representative,
    select,
)
from wattlaw.accelerators.catalogue.entry import CatalogueEntry
from wattlaw.accelerators.catalogue.peaks import sixteen_bit
from wattlaw.accelerators.catalogue.read import read_table
from wattlaw.accelerators.catalogue.survey import counts, diff, edition, frontier, surveys, trend
from wattlaw.cli.main import main
from wattlaw.core.errors import UnknownNameError, UsageError

# rows, chip/card/system, inference/training, with both figures, at least 1/10/100 TOPS/W, median in Gop/s/W, Pareto
PUBLISHED = {
    2019: (72, (19, 11, 41), (53, 17), 72, (9, 1, 0), 71.7, 10),
    2020: (83, (48, 19, 16), (59, 24), 83, (31, 6, 0), 667, 9),
    2021: (102, (52, 27, 23), (73, 29), 102, (40, 6, 0), 725, 11),
    2022: (115, (58, 30, 27), (81, 34), 115, (51, 9, 1), 800, 8),
    2023: (135, (61, 44, 30), (90, 45), 133, (62, 10, 1), 833, 11),
    2025: (180, (70, 78, 32), (110, 70), 180, (94, 12, 1), 1024, 15),
}


def survey_table(published: Path, year: int) -> Path:
    return published / "accelerators" / f"peak_accelerators_ieee_hpec_{year}.csv"


@pytest.mark.parametrize("year", PUBLISHED)
def test_the_counts_of_every_survey_equal_those_of_its_table(published: Path, year: int) -> None:
    rows, forms, uses, both, least, middle, pareto = PUBLISHED[year]
    found = counts(read_table(survey_table(published, year)).entries)
    assert (found.rows, tuple(found.form_factor.values()), tuple(found.use.values())) == (
        rows,
        forms,
        uses,
    )
    assert (found.with_peak_and_power, tuple(found.at_least.values()), found.pareto_points) == (
        both,
        least,
        pareto,
    )
    assert found.median_op_per_joule == pytest.approx(middle * 1e9, rel=1e-3)


def test_the_seven_unit_slips_and_the_two_high_outliers_are_found_by_rule(published: Path) -> None:
    slips, high = [], set()
    for year in PUBLISHED:
        table = read_table(survey_table(published, year))
        products = dict(zip(table.lines, (e.product for e in table.entries), strict=True))
        slips += [(year, products[f.line]) for f in table.faults if f.name == "unit-slip"]
        high |= {products[f.line] for f in table.faults if f.name == "high-outlier"}
    three = [(y, "MN-3") for y in (2020, 2021, 2022)] + [
        (y, "Cloudblazer T10") for y in (2021, 2022, 2023)
    ]
    assert sorted(slips) == sorted([*three, (2021, "El Cano")])
    assert high == {"Netcast", "Ergo"}


def test_the_catalogue_needs_no_repair_and_every_row_has_a_source() -> None:
    table = built_in()
    assert {f.name for f in table.faults} <= {"high-outlier", "no-value"}
    assert len(table.entries) > 600
    assert all(e.source.startswith("http") for e in table.entries)
    assert all(e.peak_op_per_s for e in table.entries)
    assert len({(e.accelerator, e.precision) for e in table.entries}) == len(table.entries)
    assert set(range(2019, 2027)) <= {e.year for e in table.entries}


def test_every_alias_means_an_entry_of_the_catalogue() -> None:
    assert set(aliases().values()) <= {e.accelerator for e in built_in().entries}


def test_an_edition_of_the_catalogue_has_the_counts_of_its_survey() -> None:
    for year in surveys():
        found, published = counts(edition(year)), PUBLISHED[year]
        # the 2023 survey lists one device, Greco, without a peak in any survey
        assert (found.with_peak_and_power, found.pareto_points) == (published[3], published[6])
        assert tuple(found.at_least.values()) == published[4]
        if year != 2023:
            assert tuple(found.form_factor.values()) == published[1]
            assert tuple(found.use.values()) == published[2]
        assert found.median_op_per_joule == pytest.approx(published[5] * 1e9, rel=1e-3)
    with pytest.raises(UsageError, match=r"no survey in 2024; valid: 2019, 2020"):
        edition(2024)


def test_a_diff_contains_new_gone_and_changed() -> None:
    found = {(c.accelerator, c.change, c.column) for c in diff(2021, 2022)}
    assert ("google-tpu-v4", "new", "") in found
    assert ("greenwaves-gap9", "changed", "power_w") in found
    assert ("xmos-xcore.ai", "changed", "precision") in found
    assert not diff(2022, 2022)


def test_filters_keep_matching_devices() -> None:
    entries = built_in().entries
    found = select(
        entries,
        CatalogueFilter(
            years=(2022, 2023), precision=("bf16",), company="nvidia", least_power_w=300
        ),
    )
    assert found
    assert all(
        e.year in (2022, 2023) and e.company == "NVIDIA" and (e.power_w or 0) >= 300 for e in found
    )
    with pytest.raises(UnknownNameError, match="did you mean 'fp16'"):
        select(entries, CatalogueFilter(precision=("f16",)))


def test_a_driver_name_finds_the_device_and_a_wrong_name_the_nearest() -> None:
    assert named(built_in().entries, "nvidia a100-sxm4-80gb")[0].product == "A100 SXM4 80 GB"
    with pytest.raises(UnknownNameError, match="nvidia-b200"):
        named(built_in().entries, "nvidia-b20")


def test_part_of_a_name_finds_the_device_or_the_candidates() -> None:
    entries = built_in().entries
    with pytest.raises(UsageError, match=r"'H100' may be .*nvidia-h100-pcie.*; name one"):
        named(entries, "H100")
    assert {e.accelerator for e in named(entries, "Bow")} == {"graphcore-bow-2000"}
    with pytest.raises(UnknownNameError):
        named(entries, "")


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("list", "--company", "nvidai"), "did you mean 'NVIDIA'"),
        (("list", "--survey", "1999"), "valid: 2019, 2020"),
        (("list", "--name", "qqqq"), "unknown accelerator 'qqqq'"),
        (("show", "H1000"), "unknown accelerator 'H1000'; did you mean 'H100 PCIe' or 'DGX-H100'"),
        (("show", "gaudi4"), "did you mean 'Gaudi' or 'Gaudi2' or 'Gaudi3'"),
        (("show", "NVIDIA H100"), "may be nvidia-dgx-h100, nvidia-h100-nvl"),
        (("list", "--years", "2023-2021"), "ends before it begins; write 2021-2023"),
        (("diff", "2021", "2022", "--precision", "fp61"), "unknown precision 'fp61'"),
        (("trend", "--by", "segmnt"), "'segmnt' is none of them; did you mean 'segment'?"),
        (("plot", "--zoom", "foo"), "'foo'; valid: autonomous, cards"),
        (("plot", "--zoom", "foo", "--name", "h100"), "'foo'; valid: autonomous, cards"),
        (("plot", "--survey", "2025", "--years", "1990", "--zoom", "cards"), "loosen the filters"),
    ],
)
def test_a_filter_that_matches_nothing_lists_the_valid_values(
    words: tuple[str, ...], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["accelerators", *words])
    assert end.value.code == 2
    assert answer in capsys.readouterr().err


def test_a_sites_own_table_wins_over_the_built_in_one(tmp_path: Path) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text(
        "accelerator,company,product,precision,peak_op_per_s,power_w\nnvidia-l4,NVIDIA,L4,fp16,1e14,40\n"
    )
    entries = load(mine).entries
    assert [
        e.power_w for e in entries if (e.accelerator, e.precision) == ("nvidia-l4", "fp16")
    ] == [40]
    assert len(entries) == len(built_in().entries)


def test_the_frontier_contains_exactly_the_undominated_devices() -> None:
    def made(name: str, peak: float, power: float) -> CatalogueEntry:
        return CatalogueEntry(
            accelerator=name,
            company="A",
            product=name,
            label=name,
            peak_op_per_s=peak,
            power_w=power,
            year=2020,
        )

    entries = [
        made("a", 1e12, 1),
        made("b", 1e12, 2),
        made("c", 3e12, 2),
        made("d", 2e12, 5),
        made("a2", 1e12, 1),
    ]
    assert [e.accelerator for e in frontier(entries)] == ["a", "a2", "c"]


def test_a_trend_gives_each_segments_median_by_year() -> None:
    found = {(t.group, t.year): t for t in trend(representative(built_in().entries))}
    cards = found["cards", 2023]
    assert cards.entries > 10
    assert cards.best_op_per_joule >= cards.median_op_per_joule > 1e11


def test_a_gpu_with_fp16_slower_than_fp32_is_represented_at_fp32() -> None:
    of = {e.accelerator: e for e in representative(built_in().entries)}
    assert of["nvidia-p40"].precision == "fp32"
    assert of["nvidia-tesla-p100-sxm2"].precision == "fp16"
    assert sixteen_bit("nvidia-p40") is None
