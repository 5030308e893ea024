"""Molecules as lines of text: SELFIES (Krenn et al., 2020), or SMILES turned into them by the package selfies."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.core.plugins import need
from wattlaw.workloads.cache import cached
from wattlaw.workloads.language.text import read_text
from wattlaw.workloads.molecules.sources.smiles import read_smiles
from wattlaw.workloads.molecules.sources.smiles_table import is_table, table_column

NOTATIONS = ("selfies", "smiles")

SELFIES = re.compile(r"(?:\[[^\[\]\s]+\]|\.)+")
_SYMBOL = re.compile(r"\[[^\]]*\]|Cl|Br|%\d\d|.")
"""A sign of SMILES or of SELFIES: what stands in brackets is one."""

END = 0
"""The token after each molecule; 1 stands for signs outside the vocabulary."""

MANY = 10_000
"""From so many molecules on the result is kept in the cache."""


class Lines(NamedTuple):
    """Molecules in one notation, how many lines were left out, and why the first of these was."""

    lines: list[str]
    skipped: int = 0
    first_fault: str = ""


def read_lines(path: Path, notation: str, on_bad: str = "fail") -> Lines:
    """Return the molecules of a file, one a line (what follows a blank is a name), or of a table's column smiles.

    A file is one of SELFIES where its first line is. Raises DataError naming the file and the line that is no molecule,
    unless ``on_bad`` is "skip".
    """
    numbered = (
        list(table_column(path, "smiles")) if is_table(path) else list(_numbered(read_text(path)))
    )
    return written(
        [text for _, text in numbered], notation, on_bad, path, [line for line, _ in numbered]
    )


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.split()[0]


def written(
    texts: Sequence[str],
    notation: str,
    on_bad: str = "fail",
    source: Path | str = "",
    numbers: Sequence[int] = (),
) -> Lines:
    """Return molecules in ``notation``, checked; many are kept in the cache."""
    if notation not in NOTATIONS:
        raise UnknownNameError("notation", notation, NOTATIONS)
    if len(texts) < MANY:
        return _written(texts, notation, on_bad, source, numbers)
    digest = hashlib.sha256("\n".join([notation, on_bad, *texts]).encode()).hexdigest()[:16]

    def make() -> dict[str, np.ndarray[tuple[int], np.dtype[np.uint8]]]:
        found = _written(texts, notation, on_bad, source, numbers)
        whole = "\n".join([str(found.skipped), found.first_fault, *found.lines])
        return {"text": np.frombuffer(whole.encode(), np.uint8)}

    skipped, first, *lines = (
        cached(f"molecules-{digest}", make)["text"].tobytes().decode().split("\n")
    )
    return Lines(lines, int(skipped), first)


def _written(
    texts: Sequence[str], notation: str, on_bad: str, source: Path | str, numbers: Sequence[int]
) -> Lines:
    if not texts:
        raise DataError(f"{source}: no molecule in it")
    of_line = _reader(notation, bool(SELFIES.fullmatch(texts[0])))
    lines, skipped, first = [], 0, ""
    for number, text in zip(numbers or range(1, len(texts) + 1), texts, strict=True):
        try:
            lines.append(of_line(text))
        except DataError as error:
            if on_bad != "skip":
                raise DataError(
                    f"{source}:{number}: {error}; leave such out with --on-bad skip"
                ) from None
            skipped, first = skipped + 1, first or f"line {number}: {error}"
    if not lines:
        raise DataError(f"{source}: no usable molecule in it ({first})")
    return Lines(lines, skipped, first)


def _reader(notation: str, is_selfies: bool) -> Callable[[str], str]:
    """Return what turns a line into ``notation`` or raises DataError."""
    selfies: Any = (
        need("selfies", "a molecule in SELFIES") if is_selfies or notation == "selfies" else None
    )
    known: set[str] = set()

    def checked_selfies(text: str) -> str:
        if not SELFIES.fullmatch(text):
            raise DataError(f"{text[:40]!r} is no SELFIES, as the first line is")
        for symbol in set(_SYMBOL.findall(text)) - known - {"."}:
            try:
                selfies.decoder(symbol)
            except selfies.DecoderError:
                raise DataError(f"{symbol} is no sign of SELFIES") from None
            known.add(symbol)
        return text

    def from_smiles(text: str) -> str:
        try:
            # QM9 writes nitro groups with five bonds at the nitrogen, which the strict rules refuse
            return str(selfies.encoder(text, strict=False))
        except (selfies.EncoderError, IndexError, KeyError, ValueError) as error:
            # such as a ring from an atom to itself, over which the package stumbles
            why = " ".join(str(error).split()) or type(error).__name__
            raise DataError(f"SMILES {text[:40]!r} has no SELFIES ({why[:120]})") from None

    def checked_smiles(text: str) -> str:
        read_smiles(text)
        return text

    if is_selfies and notation == "smiles":
        return lambda text: str(selfies.decoder(checked_selfies(text)))
    if is_selfies:
        return checked_selfies
    return from_smiles if notation == "selfies" else checked_smiles


def as_tokens(lines: Sequence[str], vocabulary: int) -> Tensor:
    """Return molecules one after another as tokens (T,) int32, the commonest signs first."""
    split = [_SYMBOL.findall(line) for line in lines]
    signs = Counter(sign for line in split for sign in line)
    number = {sign: 2 + k for k, (sign, _) in enumerate(signs.most_common(vocabulary - 2))}
    tokens = [t for line in split for t in (*(number.get(sign, 1) for sign in line), END)]
    return torch.tensor(tokens, dtype=torch.int32)
