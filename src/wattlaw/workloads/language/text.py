"""Text to learn from: what every Python brings along (its reference in English, then its own sources), the user's, or
random tokens; cut into windows of equal length.
"""

from __future__ import annotations

import hashlib
import math
import sysconfig
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, MissingPartError, SettingError
from wattlaw.core.units import counted
from wattlaw.workloads.base import Split
from wattlaw.workloads.cache import kept
from wattlaw.workloads.language.vocabulary import Vocabulary

SOURCE_BYTES = 8 * 2**20
"""The most that is read of Python's sources."""

GENERATED = 2048
"""So many windows are drawn where data=generated."""

QUICK = 2**20
"""Shorter texts, in characters, are not worth keeping as tokens."""

ENCODING = 1
"""Changes when a vocabulary's tokens do, so that older ones in the cache are passed over."""

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


def generated(tokens: int, length: int, seed: int = 0) -> Tensor:
    """Return random tokens (T,) int32 for 2,048 windows, frequent ones far more often than rare ones, as in a text."""
    draw = torch.rand(GENERATED * length + 1, generator=torch.Generator().manual_seed(seed))
    # the k-th commonest word is met about 1/k times as often as the first
    return (torch.exp(draw * math.log(tokens + 1)) - 1).int().clamp(0, tokens - 1)


def encoded(text: str, vocabulary: Vocabulary) -> Tensor:
    """Return a text as tokens (T,); what took long is kept in the cache."""
    if len(text) < QUICK:
        return vocabulary.encode(text)
    told = f"{ENCODING} {vocabulary.name} {vocabulary.tokens}\0"
    digest = hashlib.sha256(told.encode() + text.encode(errors="surrogatepass")).hexdigest()[:16]
    return torch.from_numpy(kept(f"tokens-{digest}", lambda: {"tokens": vocabulary.encode(text).numpy()})["tokens"])


class Windows(Dataset[Tensor]):
    """Pieces of ``length`` + 1 tokens, each beginning where the one before it ends: (length + 1,) int64."""

    def __init__(self, tokens: Tensor, length: int) -> None:
        self.tokens, self.length = tokens, length
        if len(self) < 1:
            raise SettingError(f"a text of {counted(len(tokens), 'token')} is shorter than the context of {length}")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.length
        return self.tokens[start : start + self.length + 1].long()


def part(tokens: Tensor, split: Split) -> Tensor:
    """Return one part of a text: the first 90 % to train, 5 % to validate, 5 % to test."""
    low, high = _SHARES[split]
    return tokens[int(low * len(tokens)) : int(high * len(tokens))]
