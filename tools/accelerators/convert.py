"""Makes catalogue.csv and listings.csv from the published tables.

Run from the root of the repository::

    python -m tools.accelerators.convert FOLDER

FOLDER holds the tables of the Lincoln AI Computing Survey (peak_accelerators_ieee_hpec_YEAR.csv)
and Epoch AI's epoch_ml_hardware.csv. Three tables beside this file hold what the conversion cannot
know: names.csv (which names mean the same device), added.csv (devices that no table lists) and
mends.csv (values corrected by hand), each with its source. The facts of one accelerator and
precision are Epoch's if it has them, because they come from datasheets and exclude sparsity;
otherwise those of the newest survey. Where the two differ, the row's note says so.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

import msgspec
from tools.accelerators import epoch

from wattlaw.accelerators.catalogue.catalogue import CATALOGUE, LISTINGS
from wattlaw.accelerators.catalogue.entry import CatalogueEntry, slug
from wattlaw.accelerators.catalogue.read import COLUMNS, FORMAT, read_table
from wattlaw.accelerators.catalogue.rules import MIN_OP_PER_JOULE
from wattlaw.accelerators.catalogue.survey import SurveyListing
from wattlaw.core.errors import DataError
from wattlaw.core.files import write_whole

HERE = Path(__file__).parent
PREFACE = f"""# wattlaw accelerators {FORMAT}
# Facts from the Lincoln AI Computing Survey (Reuther et al., 2019-2025, github.com/areuther/ai-accelerators)
# and from Epoch AI, "Data on Machine Learning Hardware" (epoch.ai/data, CC BY 4.0), converted and mended;
# see docs/accelerators.md.
"""
LISTING = SurveyListing.__struct_fields__

_COMPANIES = {
    "QualComm": "Qualcomm", "Habana": "Intel Habana", "Amazon AWS": "Amazon", "Meta/Facebook": "Meta",
    "Kunlunxin Baidu": "Baidu", "Huawei HiSilicon": "Huawei", "GraphCore": "Graphcore",
    "Moore Threads (Tencent)": "Moore Threads", "PEZY": "PEZY Computing", "Biren": "Biren Technology",
}  # fmt: skip


class Names(NamedTuple):
    """Which device a name of a table means; "-" leaves it out."""

    known: dict[tuple[str, str, str, str], str]

    def identity(self, table: str, company: str, product: str, label: str) -> str:
        """Return the identity of a device from its company, product and label in a table."""
        company = company_of(company)
        for key in ((table, company, product, label), (table, company, product, "")):
            if key in self.known:
                return self.known[key]
        return slug(company, product)


def company_of(name: str) -> str:
    """Return the one name under which a company stands in the catalogue."""
    return _COMPANIES.get(name, name)


def convert(folder: Path) -> tuple[list[CatalogueEntry], list[dict[str, str]]]:
    """Return the catalogue's entries and the surveys' listings made from the tables of ``folder``.

    Raises RecordError or DataError where a table is missing or none.
    """
    names = read_names(HERE / "names.csv")
    found: dict[tuple[str, str], CatalogueEntry] = {}
    listings: list[dict[str, str]] = []
    for path in sorted(folder.glob("peak_accelerators_*.csv")):
        _add_survey(path, names, found, listings)
    if not found:
        raise DataError(
            f"{folder}: no table named peak_accelerators_*.csv; give the folder that holds them"
        )
    _settle_unknown(found)
    for entry in epoch.read_epoch(folder / "epoch_ml_hardware.csv", names.identity, company_of):
        _join(found, entry)
    found |= {(e.accelerator, e.precision): e for e in read_table(HERE / "added.csv").entries}
    _share(found)
    _mend(found, HERE / "mends.csv")
    _tell_apart(found)
    return sorted(
        found.values(), key=lambda e: (e.company.lower(), e.accelerator, e.precision)
    ), listings


def read_names(path: Path) -> Names:
    """Read names.csv."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return Names(
            {
                (r["from"], company_of(r["company"]), r["product"], r["label"]): r["accelerator"]
                for r in rows
            }
        )


def catalogue_text(entries: list[CatalogueEntry]) -> str:
    """Return the text of catalogue.csv."""
    return PREFACE + _csv(COLUMNS, [{c: cell(getattr(e, c)) for c in COLUMNS} for e in entries])


def listings_text(listings: list[dict[str, str]]) -> str:
    """Return the text of listings.csv."""
    return _csv(LISTING, listings)


def cell(value: object) -> str:
    """Return a value as the catalogue's files write it."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Write catalogue.csv and listings.csv into the package."""
    entries, listings = convert(Path(sys.argv[1]))
    write_whole(CATALOGUE, catalogue_text(entries).encode())
    write_whole(LISTINGS, listings_text(listings).encode())
    print(f"{len(entries)} entries, {len(listings)} listings", file=sys.stderr)


def _csv(columns: tuple[str, ...], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _add_survey(
    path: Path,
    names: Names,
    found: dict[tuple[str, str], CatalogueEntry],
    listings: list[dict[str, str]],
) -> None:
    for entry in read_table(path).entries:
        company, product = (
            company_of(entry.company),
            re.sub(r"^(Intel|Xilinx) (?=Arria|XC|ZCU|Zynq)", "", entry.product),
        )
        key = names.identity("survey", company, entry.product, entry.label)
        if (key, entry.precision) in found and entry.surveys[0] in found[
            key, entry.precision
        ].surveys:
            # a second design on the same part, from another paper
            key = names.known.get(("survey", company, entry.product, "second"), f"{key}-b")
        entry = msgspec.structs.replace(entry, accelerator=key, company=company, product=product)
        listings.append({
            "accelerator": key, "precision": entry.precision, "survey": cell(entry.surveys),
            "peak_op_per_s": cell(entry.peak_op_per_s), "power_w": cell(entry.power_w),
            "form_factor": entry.form_factor, "use": entry.use,
        })  # fmt: skip
        if entry.peak_op_per_s is None or (entry.op_per_joule or 1e12) < MIN_OP_PER_JOULE:
            continue
        before = found.get((key, entry.precision))
        years = (*before.surveys, *entry.surveys) if before else entry.surveys
        found[key, entry.precision] = msgspec.structs.replace(entry, surveys=years, year=years[0])


def _settle_unknown(found: dict[tuple[str, str], CatalogueEntry]) -> None:
    """Give the listing of an unnamed precision ("AI" in 2019) to the named row that is nearest in
    peak.
    """
    for key in [k for k in found if k[1] == "unknown"]:
        named = [e for k, e in found.items() if k[0] == key[0] and k != key and e.peak_op_per_s]
        if named:
            vague = found.pop(key)
            near = min(
                named,
                key=lambda e: abs(math.log((e.peak_op_per_s or 1) / (vague.peak_op_per_s or 1))),
            )
            years = tuple(sorted({*vague.surveys, *near.surveys}))
            found[key[0], near.precision] = msgspec.structs.replace(
                near, surveys=years, year=years[0]
            )


def _join(found: dict[tuple[str, str], CatalogueEntry], entry: CatalogueEntry) -> None:
    before = found.get((entry.accelerator, entry.precision))
    if before is None:
        found[entry.accelerator, entry.precision] = entry
        return
    kept = {n: getattr(before, n) for n in ("label", "form_factor", "technology", "use", "surveys")}
    if entry.power_w is None:
        kept["power_w"] = before.power_w
    kept["source"] = " ".join(dict.fromkeys(f"{entry.source} {before.source}".split()))
    kept["note"] = _difference(before, entry)
    found[entry.accelerator, entry.precision] = msgspec.structs.replace(entry, **kept)


def _difference(survey: CatalogueEntry, entry: CatalogueEntry) -> str:
    said = []
    for name, unit in (("peak_op_per_s", "op/s"), ("power_w", "W")):
        theirs, ours = getattr(survey, name), getattr(entry, name)
        if theirs and ours and not 0.95 <= theirs / ours <= 1.05:
            said.append(f"{cell(theirs)} {unit} in the {survey.surveys[-1]} survey")
    return "; ".join(said)


def _share(found: dict[tuple[str, str], CatalogueEntry]) -> None:
    """Give all precisions of a device what one source says of the device itself."""
    shared = ("form_factor", "technology", "label", "power_w", "memory_bytes", "memory_bandwidth_bytes_per_s",
              "link_bandwidth_bytes_per_s", "price_usd")  # fmt: skip
    groups: dict[str, list[CatalogueEntry]] = {}
    for entry in found.values():
        groups.setdefault(entry.accelerator, []).append(entry)
    for entries in groups.values():
        released = next((e for e in entries if e.year_from == "release"), entries[0])
        listed = next((e for e in entries if e.surveys), entries[0])
        for entry in entries:
            values = {
                n: getattr(released, n) or getattr(entry, n) for n in shared if n != "power_w"
            }
            values["power_w"] = entry.power_w or released.power_w
            for name in ("label", "form_factor", "technology"):
                if getattr(listed, name) != "unknown":
                    values[name] = getattr(listed, name)
            values |= {
                "year": released.year,
                "year_from": released.year_from,
                "product": released.product,
            }
            if entry.use == "unknown" and released.use != "unknown":
                values["use"] = released.use
            found[entry.accelerator, entry.precision] = msgspec.structs.replace(entry, **values)


def _mend(found: dict[tuple[str, str], CatalogueEntry], path: Path) -> None:
    with open(path, encoding="utf-8", newline="") as file:
        for mend in csv.DictReader(file):
            if mend["column"] == "like":
                _copy(found, mend)
                continue
            keys = [
                k for k in found if k[0] == mend["accelerator"] and mend["precision"] in (k[1], "*")
            ]
            if not keys:
                model = next(e for k, e in found.items() if k[0] == mend["accelerator"])
                keys = [(mend["accelerator"], mend["precision"])]
                found[keys[0]] = msgspec.structs.replace(
                    model,
                    precision=mend["precision"],
                    surveys=(),
                    note="",
                    peak_op_per_s=None,
                    source="",
                )
            for key in keys:
                _mend_one(found, key, mend)


def _tell_apart(found: dict[tuple[str, str], CatalogueEntry]) -> None:
    """Lengthen the labels that several devices share: by the company, or by the product where that
    is the same.
    """
    users: dict[str, dict[str, CatalogueEntry]] = {}
    for entry in found.values():
        users.setdefault(entry.label, {})[entry.accelerator] = entry
    for key, entry in found.items():
        sharing = users[entry.label].values()
        if len(sharing) > 1:
            apart = len({e.company for e in sharing}) == len(sharing)
            label = (
                f"{entry.label} ({entry.company})"
                if apart
                else f"{entry.product} ({entry.company})"
            )
            if len({(e.product, e.company) for e in sharing}) < len(sharing) and key[0].endswith(
                "-b"
            ):
                label += " b"
            found[key] = msgspec.structs.replace(entry, label=label)


def _copy(found: dict[tuple[str, str], CatalogueEntry], mend: dict[str, str]) -> None:
    new = mend["accelerator"]
    for key in [k for k in found if k[0] == mend["value"]]:
        found[new, key[1]] = msgspec.structs.replace(
            found[key], accelerator=new, source=mend["source"], surveys=()
        )


def _mend_one(
    found: dict[tuple[str, str], CatalogueEntry], key: tuple[str, str], mend: dict[str, str]
) -> None:
    entry = found[key]
    value: object = mend["value"]
    if mend["column"].endswith(("_s", "_w", "_bytes", "_usd")):
        value = float(mend["value"]) if mend["value"] else None
    elif mend["column"] == "year":
        value = int(mend["value"])
    note = "; ".join(dict.fromkeys(n for n in (entry.note, mend["why"]) if n))
    source = " ".join(dict.fromkeys(f"{mend['source']} {entry.source}".split()))
    changed: dict[str, object] = {"note": note, "source": source}
    if mend["column"] != "note":
        changed[mend["column"]] = value
    found[key] = msgspec.structs.replace(entry, **changed)
    if mend["column"] == "precision":
        moved, there = found.pop(key), found.get((key[0], mend["value"]))
        if there is not None:
            notes = "; ".join(n for n in (there.note, moved.note) if n)
            moved = msgspec.structs.replace(
                there, surveys=tuple(sorted({*there.surveys, *moved.surveys})), note=notes
            )
        found[key[0], mend["value"]] = moved


if __name__ == "__main__":
    main()
