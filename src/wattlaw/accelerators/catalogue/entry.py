"""An entry of the catalogue, and the vocabularies of its columns."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from wattlaw.core.csv_table import TableFault


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One accelerator at one precision, as its datasheet describes it.

    None and "unknown" mean that no source says it.

    accelerator     identity, such as "nvidia-a100-sxm4-80gb"; all precisions of a device share it
    label           short name for figures
    year            of release; of the first survey that lists it if ``year_from`` is "listed"
    form_factor     chip, card or system
    use             training or inference, as the maker sells it
    peak_op_per_s   peak operations per second; a multiply-add is two
    counting        "dense"; "sparse" if the peak counts the zeros of structured sparsity; "unknown"
    power_w         peak power of the chip, card or system that ``form_factor`` names, W
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
        """Peak operations per joule (op/s/W); None if peak or power is unknown."""
        if self.peak_op_per_s and self.power_w:
            return self.peak_op_per_s / self.power_w
        return None


class CatalogueTable(NamedTuple):
    """The entries of a file, the line of each, and the faults of the file."""

    file: str
    entries: list[CatalogueEntry]
    lines: list[int]
    faults: list[TableFault]


class PowerSegment(NamedTuple):
    """A range of peak power [``low``, ``high``) in W that the surveys name; we chose the limits."""

    name: str
    title: str
    low: float
    high: float


SEGMENTS = (
    PowerSegment("very-low-power", "very low power", 0, 1),
    PowerSegment("embedded", "embedded", 1, 10),
    PowerSegment("autonomous", "autonomous", 10, 70),
    PowerSegment("cards", "data-centre chips and cards", 70, 1450),
    PowerSegment("systems", "data-centre systems", 1450, float("inf")),
)
SEGMENT_NAMES = tuple(s.name for s in SEGMENTS)

PRECISIONS = (
    *("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4"),
    *("int32", "int16", "int8", "int4", "int2", "int1", "analog", "unknown"),
)
TECHNOLOGIES = (
    *("gpu", "cpu", "multicore", "manycore", "fpga", "tensor", "dataflow", "cgra", "pim"),
    *("neuromorphic", "analog", "unknown"),
)
FORM_FACTORS = ("chip", "card", "system", "unknown")
USES = ("training", "inference", "unknown")
COUNTINGS = ("dense", "sparse", "unknown")
YEARS_FROM = ("release", "listed", "unknown")

_PRECISION_SYNONYMS = {
    "double": "fp64",
    "float": "fp32",
    "single": "fp32",
    "half": "fp16",
    "bfloat16": "bf16",
    "float64": "fp64",
    "float32": "fp32",
    "float16": "fp16",
    "float8": "fp8",
    "tfloat32": "tf32",
    "8bit": "int8",
    "1-bit": "int1",
    "2-bit": "int2",
    "ai": "unknown",
    "int16/int8": "int16",
    "int16/int12": "int16",
}
_TECHNOLOGY_SYNONYMS = {"dataflow/fpga": "fpga", "cpu/gpu": "gpu"}
_USE_SYNONYMS = {"video": "unknown"}

VOCABULARIES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "precision": (PRECISIONS, _PRECISION_SYNONYMS),
    "technology": (TECHNOLOGIES, _TECHNOLOGY_SYNONYMS),
    "form_factor": (FORM_FACTORS, {}),
    "use": (USES, _USE_SYNONYMS),
    "counting": (COUNTINGS, {}),
    "year_from": (YEARS_FROM, {}),
}
"""Column -> (its words, synonyms of them)."""


def normalise(column: str, text: str) -> str | None:
    """Return the catalogue's word for a cell: "unknown" if it is empty, None for an unknown word.

    A precision "fp16.32" multiplies in fp16 and accumulates in fp32: it counts as fp16.
    "int16/int8" (operands of two widths) counts as the wider. "AI" in the table of 2019 names no
    precision.
    """
    words, synonyms = VOCABULARIES[column]
    text = text.strip().lower()
    if not text:
        return "unknown"
    if column == "precision":
        text = re.sub(r"^((?:fp|bf|int)\d+)\.\d+$", r"\1", text)
    word = synonyms.get(text, text)
    return word if word in words else None


def segment(power_w: float | None) -> str:
    """Return the name of the segment of a peak power in W; "unknown" if there is no power."""
    if power_w is None or not power_w > 0:
        return "unknown"
    return next(s.name for s in SEGMENTS if s.low <= power_w < s.high)


def slug(*words: str) -> str:
    """Return an identity: ``slug("NVIDIA", "A100 SXM4 80 GB")`` is "nvidia-a100-sxm4-80-gb"."""
    kept: list[str] = []
    for word in re.split(r"[^a-z0-9.+]+", " ".join(words).lower()):
        # "Anvil 2+" keeps its plus sign; a plus sign alone is not a word
        word = word.strip(".+") if word.strip("+") == "" else word.strip(".")
        if word and word not in kept[-1:]:
            kept.append(word)
    return "-".join(kept)
