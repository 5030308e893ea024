"""Molecules as lines of text: SMILES, or SELFIES (Krenn et al., 2020) by the package selfies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.core.plugins import need
from wattlaw.workloads.cache import Array, cached
from wattlaw.workloads.molecules.sources.smiles import SmilesReader, smiles_reader
from wattlaw.workloads.molecules.sources.smiles_table import (
    is_table,
    read_text_file,
    smiles_column,
)

NOTATIONS = ("selfies", "smiles")

SYMBOL = re.compile(r"\[[^\]]*\]|Cl|Br|%\d\d|.")
"""A symbol of SMILES or SELFIES; what is in brackets is one."""

_SELFIES = re.compile(r"(?:\[[^\[\]\s]+\]|\.)+")

_CACHED_FROM = 10_000
"""From so many molecules on the converted lines are cached."""

_SAMPLED_LINES = 1000
"""The notation of a file is decided from so many of its first lines."""


class MoleculeLines(NamedTuple):
    """Molecules in one notation, how many lines were skipped, and why the first of these was."""

    lines: list[str]
    skipped: int = 0
    first_fault: str = ""


class NumberedLines(NamedTuple):
    """Molecules as a file has them, and the line of each."""

    texts: list[str]
    numbers: list[int]


def read_lines(path: Path, notation: str, on_bad: str = "fail") -> MoleculeLines:
    """Return the molecules of a file in ``notation``.

    The file has one molecule per line (what follows a blank is a name), or is a table with a
    column smiles. Raises DataError with the file and the line that is not a molecule, unless
    ``on_bad`` is "skip".
    """
    found = numbered_lines(path)
    return convert(found.texts, notation, on_bad, path, found.numbers)


def numbered_lines(path: Path) -> NumberedLines:
    """Return the molecules of a file of lines or of a table, unchecked. Raises DataError."""
    if is_table(path):
        pairs = list(smiles_column(path))
    else:
        lines = enumerate(read_text_file(path).splitlines(), 1)
        pairs = [(number, line.split()[0]) for number, line in lines if line.strip()]
    return NumberedLines([text for _, text in pairs], [number for number, _ in pairs])


def convert(
    texts: Sequence[str],
    notation: str,
    on_bad: str = "fail",
    source: Path | str = "",
    numbers: Sequence[int] = (),
) -> MoleculeLines:
    """Return molecules in ``notation``, checked; the result for many is cached."""
    if notation not in NOTATIONS:
        raise UnknownNameError("notation", notation, NOTATIONS)
    if len(texts) < _CACHED_FROM:
        return _converted(texts, notation, on_bad, source, numbers)
    digest = hashlib.sha256("\n".join([notation, on_bad, *texts]).encode()).hexdigest()[:16]

    def make() -> dict[str, Array]:
        found = _converted(texts, notation, on_bad, source, numbers)
        whole = "\n".join([str(found.skipped), found.first_fault, *found.lines])
        return {"text": np.frombuffer(whole.encode(), np.uint8)}

    text = cached(f"molecules-2-{digest}", make)["text"].tobytes().decode()
    skipped, first, *lines = text.split("\n")
    return MoleculeLines(lines, int(skipped), first)


def _converted(
    texts: Sequence[str], notation: str, on_bad: str, source: Path | str, numbers: Sequence[int]
) -> MoleculeLines:
    if not texts:
        raise DataError(f"{source}: no molecule in it")
    lines, skipped, first = [], 0, ""
    with smiles_reader() as smiles:
        of_line = line_converter(smiles, notation, is_selfies(texts))
        for number, text in zip(numbers or range(1, len(texts) + 1), texts, strict=True):
            try:
                lines.append(of_line(text))
            except DataError as error:
                if on_bad != "skip":
                    raise DataError(
                        f"{source}:{number}: {error}; skip such lines with --on-bad skip"
                    ) from None
                skipped, first = skipped + 1, first or f"line {number}: {error}"
    if not lines:
        raise DataError(f"{source}: no usable molecule in it ({first})")
    return MoleculeLines(lines, skipped, first)


def is_selfies(texts: Sequence[str]) -> bool:
    """Return whether molecules are in SELFIES: at least half of the first ones look like it.

    One alone decides nothing: [Na+].[Cl-] and [H][H] are SMILES of brackets only.
    """
    sample = texts[:_SAMPLED_LINES]
    similar = sum(_SELFIES.fullmatch(text) is not None for text in sample)
    return 2 * similar >= len(sample) > 0


def line_converter(smiles: SmilesReader, notation: str, from_selfies: bool) -> Callable[[str], str]:
    """Return the function that turns a line into ``notation``, or raises DataError."""
    if not from_selfies:
        encode = _selfies_encoder() if notation == "selfies" else str

        def of_smiles(text: str) -> str:
            smiles.read(text)
            return encode(text)

        return of_smiles
    selfies = need("selfies", "a molecule in SELFIES")
    check = _selfies_check(selfies)
    if notation == "selfies":
        return check
    return lambda text: str(selfies.decoder(check(text)))


def _selfies_encoder() -> Callable[[str], str]:
    selfies = need("selfies", "a molecule in SELFIES")

    def encode(text: str) -> str:
        try:
            # QM9 writes nitro groups with five bonds at the nitrogen, which the strict rules refuse
            return str(selfies.encoder(text, strict=False))
        except (selfies.EncoderError, IndexError, KeyError, ValueError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"SMILES {text[:40]!r} has no SELFIES ({reason[:120]})") from None

    return encode


def _selfies_check(selfies: ModuleType) -> Callable[[str], str]:
    known = {"."}

    def check(text: str) -> str:
        if not _SELFIES.fullmatch(text):
            raise DataError(f"{text[:40]!r} is not SELFIES, as most of the file is")
        for symbol in set(SYMBOL.findall(text)) - known:
            try:
                selfies.decoder(symbol)
            except selfies.DecoderError:
                raise DataError(f"{symbol} is not a symbol of SELFIES") from None
            known.add(symbol)
        return text

    return check
