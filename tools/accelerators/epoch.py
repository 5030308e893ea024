"""Reads Epoch AI's table of machine-learning hardware into entries, one for each precision it gives
a peak for.

Epoch AI, "Data on Machine Learning Hardware", epoch.ai/data/machine-learning-hardware, CC BY 4.0.
Its peaks are those of the matrix units, without sparsity.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from wattlaw.accelerators.catalogue.entry import CatalogueEntry
from wattlaw.core.csv_table import read_csv

FIRST_YEAR = 2014

_TENSOR = "Tensor-FP16/BF16 performance (FLOP/s)"
_HALF = "FP16 (half precision) performance (FLOP/s)"
_SINGLE = "FP32 (single precision) performance (FLOP/s)"
_PEAKS = {
    "fp64": "FP64 (double precision) performance (FLOP/s)", "fp32": _SINGLE,
    "tf32": "TF32 (TensorFloat-32) performance (FLOP/s)", "fp8": "FP8 performance (FLOP/s)",
    "fp4": "FP4 performance (FLOP/s)", "int8": "INT8 performance (OP/s)", "int4": "INT4 performance (OP/s)",
}  # fmt: skip

_BOTH = re.compile(r"Trainium|Inferentia|Gaudi|Instinct MI[23]")
_BF16_ONLY = re.compile(r"TPU|BR100|Dojo|Ascend 920")
_TRAINING = re.compile(
    r"\b(A100|A800|H100|H200|H800|H20|B100|B200|B300|GB200|GB300|GH200|V100S?|P100|K80|MI2\d\dX|MI3\d\d[AX]?)\b"
    r"|TPU v[23457]|TPU v6|Trainium|GAUDI|Gaudi|Ascend 9|BR100|Dojo|MLU290|MXC500|Tiangai|GPU Max|S4000|Shensuan"
    r"|Kunlun R"
)
_INFERENCE = re.compile(r"\b(T4|L4|L2|L20|L40|A10G?|A30|A40|P4|P40)\b|TPU v1|TPU v4i|Inferentia|MTIA|Groq|Hanguang|"
                        r"MLU270|MLU370|Ascend 310|Zhikai|MXN100|Rubin CPX|Kunlun I\b|K200")  # fmt: skip
_TECHNOLOGIES = (
    (re.compile(r"TPU|Trainium|Inferentia|Gaudi|GAUDI|Groq|Hanguang|Maia"), "tensor"),
    (re.compile(r"Ascend|MTIA|Dojo|PEZY|Sunway|MT-"), "manycore"),
    (re.compile(r"NVIDIA|AMD|Intel Data|MetaX|Biren|MTT|Tianshu|MLU|Shensuan"), "gpu"),
)


def read_epoch(
    path: Path, identity: Callable[[str, str, str, str], str], company_of: Callable[[str], str]
) -> Iterator[CatalogueEntry]:
    """Yield the entries of Epoch's table. ``identity`` names a device by table, company, product
    and label.
    """
    for row in read_csv(path, comment="#", fill_short_rows=True).rows:
        cells = row.cells
        name = cells["Hardware name"]
        company = "Groq" if name.startswith("Groq") else company_of(cells["Manufacturer"])
        if "Habana" in name:
            company = "Intel Habana"
        accelerator = identity("epoch", company, name, "")
        year = int(cells["Release date"][:4]) if cells["Release date"] else None
        if accelerator == "-" or (year or FIRST_YEAR) < FIRST_YEAR:
            continue
        for precision, peak in _peaks(name, year, cells).items():
            yield _entry(accelerator, company, name, precision, peak, cells)


def _entry(
    accelerator: str, company: str, name: str, precision: str, peak: float, cells: dict[str, str]
) -> CatalogueEntry:
    product = re.sub(rf"^({re.escape(company)}|Intel Habana|AWS|T-Head|Baidu) ", "", name)
    training = (
        "training"
        if _TRAINING.search(name)
        else "inference"
        if _INFERENCE.search(name)
        else "unknown"
    )
    year = cells["Release date"][:4]
    return CatalogueEntry(
        accelerator=accelerator,
        company=company,
        product=product,
        label=re.sub(
            r"^(Tesla|Instinct|Radeon Instinct|GeForce|Data Center GPU|TPU) |\(.*\)|PCle",
            "",
            product,
        ).strip(),
        year=int(year) if year else None,
        year_from="release" if year else "unknown",
        form_factor="chip"
        if re.search("TPU|Ascend|Trainium|Inferentia|MTIA|Maia|Dojo|PEZY|Sunway|MT-|GroqChip", name)
        else "card",
        technology=next(
            (word for pattern, word in _TECHNOLOGIES if pattern.search(name)), "unknown"
        ),
        use="inference" if precision.startswith("int") and training != "unknown" else training,
        precision=precision,
        peak_op_per_s=peak,
        counting="dense",
        power_w=_number(cells["TDP (W)"]),
        memory_bytes=_number(cells["Memory (bytes)"]),
        memory_bandwidth_bytes_per_s=_number(cells["Memory bandwidth (byte/s)"]),
        link_bandwidth_bytes_per_s=_number(cells["Intranode bandwidth (byte/s)"]),
        price_usd=_number(cells["Release price (USD)"]),
        source=" ".join(re.findall(r"https?://[^\s;,]+", cells["Link to datasheet"]))
        or "https://epoch.ai/data/machine-learning-hardware",
    )


def _peaks(name: str, year: int | None, cells: dict[str, str]) -> dict[str, float]:
    found = {p: value for p, column in _PEAKS.items() if (value := _number(cells[column]))}
    sixteen = _number(cells[_TENSOR]) or _half(name, year, cells)
    if sixteen:
        found |= dict.fromkeys(_sixteen_bits(name, year), sixteen)
    return found


def _half(name: str, year: int | None, cells: dict[str, str]) -> float | None:
    """Return the FP16 column where it means the matrix units, not the vector units beside them."""
    half, single = _number(cells[_HALF]), _number(cells[_SINGLE])
    has_matrix_units = bool(cells["Tensor cores"]) or (
        name.startswith("NVIDIA") and (year or 9999) > 2017
    )
    if half and single and has_matrix_units and half < 3 * single:
        return None
    return half


def _sixteen_bits(name: str, year: int | None) -> tuple[str, ...]:
    if _BF16_ONLY.search(name):
        return ("bf16",)
    if _BOTH.search(name) or (name.startswith("NVIDIA") and (year or 9999) >= 2020):
        return ("bf16", "fp16")
    return ("fp16",)


def _number(text: str) -> float | None:
    return float(text) if text else None
