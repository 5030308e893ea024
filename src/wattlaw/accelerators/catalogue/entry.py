"""The words of the catalogue: an entry, and the vocabularies that all tables are brought to."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from wattlaw.core.csv_table import Handling as Handling
from wattlaw.core.csv_table import TableFault

Fault = TableFault


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One accelerator at one precision: what its maker promises. None and "unknown" are what no source says.

    accelerator     identity, such as "nvidia-a100-sxm4-80gb"; all precisions of a device share it
    label           short name for figures
    year            of release; of the first survey that lists it where ``year_from`` is "listed"
    form_factor     chip, card or system
    use             what it is sold for: training or inference
    peak_op_per_s   promised operations a second; a multiply-add is two
    counting        "dense"; "sparse" where the promise counts the zeros of structured sparsity; "unknown"
    power_w         peak power, W: of the chip, card or system that ``form_factor`` says
    link_bandwidth_bytes_per_s   to the other accelerators of its node
    surveys         years of the surveys that list it
    source          addresses where the facts can be read, separated by blanks
    """

    accelerator: str
    company: str
    product: str
    label: str
    year: int | None = None
    year_from: str = "unknown"
    form_factor: str = "unknown"
    technology: str = "unknown"
    use: str = "unknown"
    precision: str = "unknown"
    peak_op_per_s: float | None = None
    counting: str = "unknown"
    power_w: float | None = None
    memory_bytes: float | None = None
    memory_bandwidth_bytes_per_s: float | None = None
    link_bandwidth_bytes_per_s: float | None = None
    price_usd: float | None = None
    surveys: tuple[int, ...] = ()
    source: str = ""
    note: str = ""

    @property
    def op_per_joule(self) -> float | None:
        """Promised operations a joule (op/s/W); None where peak or power is not known."""
        return self.peak_op_per_s / self.power_w if self.peak_op_per_s and self.power_w else None


class Table(NamedTuple):
    """The entries of a file, the line on which each stands, and what is wrong in it."""

    file: str
    entries: list[Entry]
    lines: list[int]
    faults: list[Fault]


class Segment(NamedTuple):
    """A band of peak power [``low``, ``high``) in W that the surveys speak of; the edges are our choice."""

    name: str
    title: str
    low: float
    high: float


SEGMENTS = (
    Segment("very-low-power", "very low power", 0, 1),
    Segment("embedded", "embedded", 1, 10),
    Segment("autonomous", "autonomous", 10, 70),
    Segment("cards", "data-centre chips and cards", 70, 1450),
    Segment("systems", "data-centre systems", 1450, float("inf")),
)

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int32", "int16", "int8", "int4", "int2", "int1",
              "analog", "unknown")  # fmt: skip
TECHNOLOGIES = ("gpu", "cpu", "multicore", "manycore", "fpga", "tensor", "dataflow", "cgra", "pim", "neuromorphic",
                "analog", "unknown")  # fmt: skip
FORM_FACTORS = ("chip", "card", "system", "unknown")
USES = ("training", "inference", "unknown")
COUNTINGS = ("dense", "sparse", "unknown")
YEARS_FROM = ("release", "listed", "unknown")

_PRECISION_WORDS = {
    "double": "fp64", "float": "fp32", "single": "fp32", "half": "fp16", "bfloat16": "bf16",
    "float64": "fp64", "float32": "fp32", "float16": "fp16", "float8": "fp8", "tfloat32": "tf32", "8bit": "int8",
    "1-bit": "int1", "2-bit": "int2", "ai": "unknown", "int16/int8": "int16", "int16/int12": "int16",
}  # fmt: skip
_TECHNOLOGY_WORDS = {"dataflow/fpga": "fpga", "cpu/gpu": "gpu"}
_USE_WORDS = {"video": "unknown"}

VOCABULARIES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "precision": (PRECISIONS, _PRECISION_WORDS),
    "technology": (TECHNOLOGIES, _TECHNOLOGY_WORDS),
    "form_factor": (FORM_FACTORS, {}),
    "use": (USES, _USE_WORDS),
    "counting": (COUNTINGS, {}),
    "year_from": (YEARS_FROM, {}),
}
"""Column -> (its words, other words for them)."""


def normalise(column: str, text: str) -> str | None:
    """Return the catalogue's word for ``text`` in a column, "unknown" for an empty cell, None for a strange one.

    A precision written "fp16.32" multiplies in the first and accumulates in the second: it counts as the first.
    "int16/int8" (operands of two widths) counts as the wider. The 2019 table's "AI" names no precision.
    """
    words, others = VOCABULARIES[column]
    text = text.strip().lower()
    if not text:
        return "unknown"
    if column == "precision":
        text = re.sub(r"^((?:fp|bf|int)\d+)\.\d+$", r"\1", text)
    text = others.get(text, text)
    return text if text in words else None


def segment(power_w: float | None) -> str:
    """Return the name of the segment of a peak power in W; "unknown" where it is not known."""
    if power_w is None or not power_w > 0:
        return "unknown"
    return next(s.name for s in SEGMENTS if s.low <= power_w < s.high)


def slug(*words: str) -> str:
    """Return an identity made of words: ``slug("NVIDIA", "A100 SXM4 80 GB")`` is "nvidia-a100-sxm4-80-gb"."""
    kept: list[str] = []
    for word in re.split(r"[^a-z0-9.+]+", " ".join(words).lower()):
        word = word.strip(".+") if word.strip("+") == "" else word.strip(".")
        if word and word not in kept[-1:]:
            kept.append(word)
    return "-".join(kept)
