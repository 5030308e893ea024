"""Real text that every Python brings along, as tokens: its reference in English, then its own sources.

``tiny`` presets read the reference as bytes. ``base`` presets read both with a vocabulary of the published
size, made of the commonest words with single bytes for all others. It is not the published models' own
byte-pair vocabulary, which no installed package ships; every shape and every floating-point operation is.
"""

from __future__ import annotations

import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, MissingPartError, SettingError
from wattlaw.workloads.base import Split

BYTES = 256
SOURCE_BYTES = 24 * 2**20
"""The most that is read of Python's sources."""

_WORD = re.compile(r" ?\w+| ?[^\s\w]+|\s+")
_SHARES: dict[Split, tuple[float, float]] = {"train": (0.0, 0.9), "valid": (0.9, 0.95), "test": (0.95, 1.0)}


def reference() -> str:
    """Return the help pages of the Python language, 0.5 MB of English.

    Raises MissingPartError where this Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError:
        raise MissingPartError(
            "the text needs Python's help pages (module pydoc_data); install the system's complete Python"
        ) from None
    return "\n\n".join(topics.values())


def sources(most: int = SOURCE_BYTES) -> str:
    """Return Python's own source files in the order of their names, up to ``most`` bytes."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts: list[str] = []
    left = most
    for path in sorted(folder.rglob("*.py")):
        if left <= 0 or "site-packages" in path.parts or "test" in path.parts or "tests" in path.parts:
            continue
        part = path.read_bytes()[:left].decode(errors="ignore")
        left -= len(part)
        parts.append(part)
    return "\n\n".join(parts)


def read_text(path: Path) -> str:
    """Return a text file. Raises DataError, naming the byte, where it is not text in UTF-8."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such text file")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not text in UTF-8 (byte {error.start})") from None
    if "\0" in text:
        raise DataError(f"{path}: not text (a zero character at {text.index(chr(0))})")
    if not text.strip():
        raise DataError(f"{path}: no text in it")
    return text


def as_bytes(text: str) -> Tensor:
    """Return a text as its UTF-8 bytes, (T,) uint8."""
    return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())


def as_words(text: str, vocabulary: int) -> Tensor:
    """Return a text as tokens (T,) int32: 0–255 are bytes, then the commonest words, most common first."""
    pieces = _WORD.findall(text)
    common = [w for w, n in Counter(pieces).most_common() if n > 1 and len(w.encode()) > 1]
    number = {word: BYTES + k for k, word in enumerate(common[: vocabulary - BYTES])}
    tokens: list[int] = []
    for piece in pieces:
        known = number.get(piece)
        if known is None:
            tokens.extend(piece.encode())
        else:
            tokens.append(known)
    return torch.tensor(tokens, dtype=torch.int32)


class Windows(Dataset[Tensor]):
    """Pieces of ``length`` + 1 tokens, each beginning where the one before it ends: (length + 1,) int64."""

    def __init__(self, tokens: Tensor, length: int) -> None:
        self.tokens, self.length = tokens, length
        if len(self) < 1:
            raise SettingError(f"a text of {len(tokens)} tokens is shorter than the context of {length}")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.length
        return self.tokens[start : start + self.length + 1].long()


def part(tokens: Tensor, split: Split) -> Tensor:
    """Return one part of a text: the first 90 % to train, 5 % to validate, 5 % to test."""
    low, high = _SHARES[split]
    return tokens[int(low * len(tokens)) : int(high * len(tokens))]
