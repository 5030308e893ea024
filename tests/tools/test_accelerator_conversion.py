"""The scripts in tools/ reproduce the shipped tables of accelerators."""

from __future__ import annotations

import csv
from pathlib import Path

from tools.accelerators import convert, mlperf_rates

from wattlaw.accelerators.catalogue.catalogue import CATALOGUE, LISTINGS
from wattlaw.accelerators.catalogue.mlperf_results import MLPERF_TABLE


def test_the_conversion_reproduces_the_catalogue_and_the_listings(published: Path) -> None:
    entries, listings = convert.convert(published / "accelerators")
    assert convert.catalogue_text(entries) == CATALOGUE.read_text(encoding="utf-8")
    assert convert.listings_text(listings) == LISTINGS.read_text(encoding="utf-8")


def test_every_manually_corrected_value_names_its_source() -> None:
    with open(convert.HERE / "mends.csv", encoding="utf-8", newline="") as file:
        mends = list(csv.DictReader(file))
    bare = [
        m
        for m in mends
        if m["value"] and m["column"] not in ("product", "label") and not m["source"]
    ]
    assert bare == []
    assert all(m["why"] for m in mends if not m["value"])


def test_the_mlperf_rates_follow_from_the_table_of_runs(published: Path) -> None:
    text = mlperf_rates.table_text(published / "mlperf" / "training_runs_v1.0_v3.0_v4.1.csv")
    assert text == MLPERF_TABLE.read_text(encoding="utf-8")
