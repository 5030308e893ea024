"""Text to learn from: what every Python brings along (its reference in English, then its own sources), the user's, or
random tokens; cut into windows of equal length.
"""

from __future__ import annotations

import hashlib
import math
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, MissingPartError
from wattlaw.core.files import explained
from wattlaw.core.units import counted
from wattlaw.workloads.base import Split
from wattlaw.workloads.cache import cached
from wattlaw.workloads.language.vocabulary import Vocabulary

METRICS = {
    "perplexity": {"title": "perplexity", "better": "less"},
    "accuracy": {"title": "share of right answers", "better": "more"},
}

SOURCE_BYTES = 8 * 2**20
"""The most that is read of Python's sources."""

GENERATED = 2048
"""So many windows are drawn where data=generated."""

QUICK = 2**20
"""Shorter texts, in characters, are not worth keeping as tokens."""

ENCODING = 1
"""Changes when a vocabulary's tokens do, so that older ones in the cache are passed over."""

_SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.9),
    "valid": (0.9, 0.95),
    "test": (0.95, 1.0),
}


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
        if (
            left <= 0
            or "site-packages" in path.parts
            or "test" in path.parts
            or "tests" in path.parts
        ):
            continue
        part = path.read_bytes()[:left].decode(errors="ignore")
        left -= len(part)
        parts.append(part)
    return "\n\n".join(parts)


class Given(NamedTuple):
    """A user's text, how many of its lines were left out and how many stayed, and why the first was left out."""

    text: str
    skipped: int
    good: int
    first_fault: str


def read_text(path: Path, on_bad: str = "fail") -> str:
    """Return a text file; see ``read_texts``."""
    return read_texts([path], on_bad).text


def read_texts(paths: Sequence[Path], on_bad: str = "fail") -> Given:
    """Return text files one after another, each a text in UTF-8.

    A bad line is none in UTF-8, or has a zero character. Raises DataError naming file and line, unless ``on_bad`` is
    "skip"; and where a file has no text, or most of its lines are bad.
    """
    texts, skipped, good, first = [], 0, 0, ""
    for path in paths:
        found = _read(path, on_bad)
        texts.append(found.text)
        skipped, good, first = (
            skipped + found.skipped,
            good + found.good,
            first or found.first_fault,
        )
    return Given("\n".join(texts), skipped, good, first)


def text_files(path: Path) -> list[Path]:
    """Return a text file, or those of a folder in the order of their names. Raises DataError where there is none."""
    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise DataError(f"{path}: no text file in it")
    return files


def _read(path: Path, on_bad: str) -> Given:
    if not path.is_file():
        raise DataError(f"{path}: there is no such text file")
    with explained(path, "read"):
        data = path.read_bytes()
    text = _whole(data)
    if text is not None:
        return Given(_some(path, text), 0, 0, "")
    faults: list[tuple[int, str]] = []
    lines = []
    for number, line in enumerate(data.split(b"\n"), 1):
        fault = _fault(line)
        faults += [(number, fault)] if fault else []
        lines += [] if fault else [line]
    where = f"{path}, line {faults[0][0]}: {faults[0][1]}" if faults else ""
    if len(faults) > len(lines):
        raise DataError(
            f"{where}; not a text file: so are {len(faults)} of its {len(faults) + len(lines)} lines"
        )
    if faults and on_bad != "skip":
        raise DataError(f"{where}; leave such lines out with --on-bad skip")
    text = b"\n".join(lines).decode("utf-8-sig")
    return Given(_some(path, text), len(faults), len(lines), where)


def _whole(data: bytes) -> str | None:
    """Return a text with no bad line; None where there are some."""
    try:
        return None if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _some(path: Path, text: str) -> str:
    if not text.strip():
        raise DataError(f"{path}: no text in it")
    return text


def _fault(line: bytes) -> str:
    if b"\0" in line:
        return f"not text (a zero character at byte {line.index(0) + 1})"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"not text in UTF-8 (byte {error.start + 1} of the line)"
    return ""


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
    return torch.from_numpy(
        cached(f"tokens-{digest}", lambda: {"tokens": vocabulary.encode(text).numpy()})["tokens"]
    )


class Windows(Dataset[Tensor]):
    """Pieces of ``length`` + 1 tokens, each beginning where the one before it ends: (length + 1,) int64.

    Raises DataError naming the ``source`` of a text with fewer tokens than one piece.
    """

    def __init__(self, tokens: Tensor, length: int, source: Path | str | None = None) -> None:
        self.tokens, self.length = tokens, length
        if len(self) < 1:
            has = f"a part of it (90 % train, 5 % validate, 5 % test) has {counted(len(tokens), 'token')}"
            raise DataError(
                f"{source or 'the text'}: {has}, and a sample {length + 1}; give more text"
            )

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.length
        return self.tokens[start : start + self.length + 1].long()


def part(tokens: Tensor, split: Split) -> Tensor:
    """Return one part of a text: the first 90 % to train, 5 % to validate, 5 % to test."""
    low, high = _SHARES[split]
    return tokens[int(low * len(tokens)) : int(high * len(tokens))]
