"""Text data: Python's documentation and sources, the user's files, or random tokens.

Text is cut into windows of equal length.
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
from wattlaw.workloads.cache import Array, cached
from wattlaw.workloads.language.vocabulary import Vocabulary

METRICS = {
    "perplexity": {"title": "perplexity", "better": "less"},
    "accuracy": {"title": "share of correct answers", "better": "more"},
}

SOURCE_BYTES = 8 * 2**20
"""Limit on what is read of Python's sources."""

GENERATED = 2048
"""Number of windows with data=generated."""

CACHED_CHARACTERS = 2**20
"""The tokens of texts at least this long are cached."""

ENCODING = 1
"""Increase it when a vocabulary's tokens change, so that cached ones are not used."""

_SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.9),
    "valid": (0.9, 0.95),
    "test": (0.95, 1.0),
}


def reference() -> str:
    """Return the help pages of the Python language, 0.5 MB of English.

    Raises MissingPartError if this Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError:
        raise MissingPartError(
            "the text needs Python's help pages (pydoc_data); install the full Python package"
        ) from None
    return "\n\n".join(topics.values())


def sources(most: int = SOURCE_BYTES) -> str:
    """Return Python's own source files in the order of their names, up to ``most`` bytes."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts: list[str] = []
    left = most
    for path in sorted(folder.rglob("*.py")):
        if left <= 0:
            break
        if {"site-packages", "test", "tests"} & set(path.parts):
            continue
        part = path.read_bytes()[:left].decode(errors="ignore")
        left -= len(part)
        parts.append(part)
    return "\n\n".join(parts)


class UserText(NamedTuple):
    """A user's text, the number of skipped and of good lines, and the first fault."""

    text: str
    skipped: int
    good: int
    first_fault: str


def read_text(path: Path, on_bad: str = "fail") -> str:
    """Return the text of a file; see ``read_texts``."""
    return read_texts([path], on_bad).text


def read_texts(paths: Sequence[Path], on_bad: str = "fail") -> UserText:
    """Return the text of UTF-8 files, one after another.

    A bad line is not UTF-8 or has a NUL character. Raises DataError naming file and line, unless
    ``on_bad`` is "skip"; also if a file has no text, or most of its lines are bad.
    """
    texts = [_read(path, on_bad) for path in paths]
    first_fault = next((text.first_fault for text in texts if text.first_fault), "")
    return UserText(
        "\n".join(text.text for text in texts),
        sum(text.skipped for text in texts),
        sum(text.good for text in texts),
        first_fault,
    )


def text_files(path: Path) -> list[Path]:
    """Return a text file, or a folder's files sorted by name.

    Raises DataError if there is none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    if not files:
        raise DataError(f"{path}: no text file in it")
    return files


def _read(path: Path, on_bad: str) -> UserText:
    if not path.is_file():
        raise DataError(f"{path}: there is no such text file")
    with explained(path, "read"):
        data = path.read_bytes()
    text = _decoded(data)
    if text is not None:
        return UserText(_not_empty(path, text), 0, 0, "")
    lines, skipped, first_fault = [], 0, ""
    for number, line in enumerate(data.split(b"\n"), 1):
        fault = _fault(line)
        if not fault:
            lines.append(line)
            continue
        skipped += 1
        first_fault = first_fault or f"{path}, line {number}: {fault}"
    if skipped > len(lines):
        share = f"{skipped} of its {skipped + len(lines)} lines are bad"
        raise DataError(f"{first_fault}; not a text file: {share}")
    if skipped and on_bad != "skip":
        raise DataError(f"{first_fault}; skip such lines with --on-bad skip")
    text = b"\n".join(lines).decode("utf-8-sig")
    return UserText(_not_empty(path, text), skipped, len(lines), first_fault)


def _decoded(data: bytes) -> str | None:
    """Return the text of a file without bad lines; None if it has some."""
    try:
        return None if b"\0" in data else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _not_empty(path: Path, text: str) -> str:
    if not text.strip():
        raise DataError(f"{path}: no text in it")
    return text


def _fault(line: bytes) -> str:
    if b"\0" in line:
        return f"not text (a NUL character at byte {line.index(0) + 1})"
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return f"not text in UTF-8 (byte {error.start + 1} of the line)"
    return ""


def generated(tokens: int, length: int, seed: int = 0) -> Tensor:
    """Return random tokens (T,) int32 for 2,048 windows, distributed by Zipf's law as words are."""
    draw = torch.rand(GENERATED * length + 1, generator=torch.Generator().manual_seed(seed))
    # the k-th most frequent word is about 1/k times as frequent as the first
    return (torch.exp(draw * math.log(tokens + 1)) - 1).int().clamp(0, tokens - 1)


def encoded(text: str, vocabulary: Vocabulary) -> Tensor:
    """Return a text as tokens (T,); those of long texts are cached."""
    if len(text) < CACHED_CHARACTERS:
        return vocabulary.encode(text)
    identity = f"{ENCODING} {vocabulary.name} {vocabulary.tokens}\0"
    digest = hashlib.sha256(identity.encode() + text.encode(errors="surrogatepass")).hexdigest()[
        :16
    ]

    def encode() -> dict[str, Array]:
        return {"tokens": vocabulary.encode(text).numpy()}

    return torch.from_numpy(cached(f"tokens-{digest}", encode)["tokens"])


class Windows(Dataset[Tensor]):
    """Consecutive windows of ``length`` + 1 tokens that overlap by one: (length + 1,) int64.

    Raises DataError naming the ``source`` of a text with fewer tokens than one window.
    """

    def __init__(self, tokens: Tensor, length: int, source: Path | str | None = None) -> None:
        self.tokens, self.length = tokens, length
        if len(self) < 1:
            parts = "a split (90 % train, 5 % valid, 5 % test)"
            has = f"{parts} has {counted(len(tokens), 'token')}, a sample needs {length + 1}"
            raise DataError(f"{source or 'the text'}: {has}; give more text")

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.length
        return self.tokens[start : start + self.length + 1].long()


def part(tokens: Tensor, split: Split) -> Tensor:
    """Return one split of a text: train the first 90 %, valid the next 5 %, test the last 5 %."""
    low, high = _SHARES[split]
    return tokens[int(low * len(tokens)) : int(high * len(tokens))]
