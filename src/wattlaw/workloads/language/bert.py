"""BERT (Devlin et al., arXiv 1810.04805) and DistilBERT (Sanh et al., arXiv 1910.01108), for masked words and
for classifying texts.

Shapes: B samples, T tokens, D features, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.language.corpus import OPTIONS, Corpus
from wattlaw.workloads.language.text import Windows, generated, part, reference, sources, text_files
from wattlaw.workloads.language.vocabulary import Marks, of_bert

VERSION = 2
NAMES = {"bert-base": "BertBase", "distilbert": "DistilBert"}

TASKS = ("masked-lm", "classify")
MASKED = 0.15
"""Share of the tokens that are hidden; of these 80 % are shown as a mask, 10 % as another token, 10 % as they are."""
SPECIAL = len(Marks._fields)


class Size(NamedTuple):
    """How large a model is. ``kinds`` of text part: BERT tells two apart, DistilBERT none (0)."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    length: int
    kinds: int
    dropout: float


class Block(nn.Module):
    """Attention to all tokens, then a perceptron; each added to its input and normalised after it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.dropout = size.heads, size.dropout
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.attention_out = nn.Linear(size.width, size.width)
        self.norm_1 = nn.LayerNorm(size.width, eps=1e-12)
        self.up = nn.Linear(size.width, 4 * size.width)
        self.down = nn.Linear(4 * size.width, size.width)
        self.norm_2 = nn.LayerNorm(size.width, eps=1e-12)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        y_BTD = (
            F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
            .transpose(1, 2)
            .reshape(B, T, D)
        )
        x_BTD = self.norm_1(x_BTD + self.drop(self.attention_out(y_BTD)))
        out: Tensor = self.norm_2(x_BTD + self.drop(self.down(F.gelu(self.up(x_BTD)))))
        return out

    def drop(self, x: Tensor) -> Tensor:
        """Return ``x`` with some of it set to 0 while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Bert(nn.Module):
    """An encoder with one head: for masked words (``classes`` = 0) or for classes of texts."""

    def __init__(self, size: Size, classes: int) -> None:
        super().__init__()
        self.size, self.classes = size, classes
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.kinds = nn.Embedding(size.kinds, size.width) if size.kinds else None
        self.norm = nn.LayerNorm(size.width, eps=1e-12)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.transform = nn.Linear(size.width, size.width)
        if classes:
            self.head = nn.Linear(size.width, classes)
        else:
            self.head_norm = nn.LayerNorm(size.width, eps=1e-12)
            self.head_bias = nn.Parameter(torch.zeros(size.vocabulary))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor, places_BK: Tensor | None = None) -> Tensor:
        """Return the scores of each class, (B, classes), or of each token (B, T, V), or of those at ``places``."""
        x_BTD = self.encode(tokens_BT)
        if self.classes:
            # DistilBERT has no pooler of its own and takes a rectifier where BERT takes a tanh
            first = self.transform(x_BTD[:, 0])
            first = torch.tanh(first) if self.size.kinds else F.relu(first)
            out: Tensor = self.head(F.dropout(first, self.size.dropout, self.training))
            return out
        if places_BK is not None:
            # the large product with the vocabulary is needed for hidden tokens alone
            x_BTD = x_BTD.gather(1, places_BK[..., None].expand(-1, -1, x_BTD.shape[2]))
        shown = self.head_norm(F.gelu(self.transform(x_BTD)))
        scores: Tensor = F.linear(shown, self.tokens.weight, self.head_bias)
        return scores

    def encode(self, tokens_BT: Tensor) -> Tensor:
        """Return the features of each token, (B, T, D)."""
        x_BTD: Tensor = self.tokens(tokens_BT) + self.places.weight[: tokens_BT.shape[1]]
        if self.kinds is not None:
            # all of a text is of the first kind here
            x_BTD = x_BTD + self.kinds.weight[0]
        x_BTD = F.dropout(self.norm(x_BTD), self.size.dropout, self.training)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return x_BTD


class Text(TypedDict, total=False):
    """A sample or batch: tokens (…, T) and what is asked: a class (…), or the tokens (…, K) hidden at ``places``."""

    tokens: Tensor
    places: Tensor
    target: Tensor


class Masked(Dataset[Text]):
    """Texts with hidden tokens. Which ones are hidden is drawn once for each text, from its index."""

    def __init__(self, windows: Windows, tokens: int, marks: Marks) -> None:
        self.windows, self.tokens, self.marks = windows, tokens, marks

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Text:
        tokens = framed(self.windows[index], self.marks)
        draw = torch.Generator().manual_seed(index)
        # every text hides equally many, so that halves of a batch average to the whole
        inner = len(tokens) - 2
        hidden = torch.randperm(inner, generator=draw)[: max(1, round(MASKED * inner))] + 1
        chance = torch.rand(len(hidden), generator=draw)
        other = torch.randint(self.tokens, (len(hidden),), generator=draw)
        shown = torch.where(
            chance < 0.8, self.marks.mask, torch.where(chance < 0.9, other, tokens[hidden])
        )
        target = tokens[hidden]
        tokens[hidden] = shown
        return {"tokens": tokens, "places": hidden, "target": target}


class Classified(Dataset[Text]):
    """Texts of several sources in turn; the class of a text is its source."""

    def __init__(self, kinds: list[Windows], marks: Marks) -> None:
        self.kinds, self.marks = kinds, marks

    def __len__(self) -> int:
        return len(self.kinds) * min(len(k) for k in self.kinds)

    def __getitem__(self, index: int) -> Text:
        place, kind = divmod(index, len(self.kinds))
        return {"tokens": framed(self.kinds[kind][place], self.marks), "target": torch.tensor(kind)}


def framed(window: Tensor, marks: Marks) -> Tensor:
    """Return a window of T + 1 tokens as T with the signs for begin and end in place of the outer ones."""
    tokens = window[:-1].clone()
    tokens[0], tokens[-1] = marks.begin, marks.end
    return tokens


class BertWorkload(Workload):
    """An encoder learns hidden words or the source of a text.

    Options: ``task``; ``data`` and ``vocabulary``, see ``corpus``. To classify, ``data`` is a folder of text files, one
    a class; without it texts in English are told from programs.
    """

    presets = ("tiny", "base")
    options: ClassVar = {"task": "masked-lm", **OPTIONS}
    sizes: ClassVar[dict[str, Size]]

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.task = str(self.chosen["task"])
        if self.task not in TASKS:
            raise UnknownNameError("task", self.task, TASKS)
        size = self.sizes[preset]
        self.corpus = Corpus(self.chosen, preset == "tiny", of_bert, size.vocabulary - SPECIAL)
        self.size = size._replace(vocabulary=self.corpus.vocabulary.size)

    def model(self) -> nn.Module:
        return Bert(self.size, self.classes if self.task == "classify" else 0)

    @property
    def classes(self) -> int:
        """How many kinds of text are told apart."""
        return len(self._files()) if self.corpus.data_options.path else 2

    def data(self, split: Split) -> Dataset[Text]:
        length, vocabulary, path = (
            self.size.length,
            self.corpus.vocabulary,
            self.corpus.data_options.path,
        )
        if self.task == "classify":
            names: list[Path | None] = [*self._files()] if path else [None, None]
            kinds = [
                Windows(t, length, name) for t, name in zip(self._kinds(split), names, strict=True)
            ]
            data: Dataset[Text] = Classified(kinds, vocabulary.marks)
        else:
            data = Masked(
                Windows(self.corpus.tokens(split, length), length, path),
                vocabulary.tokens,
                vocabulary.marks,
            )
        self.notes = self.corpus.warnings()
        return data

    def _kinds(self, split: Split) -> list[Tensor]:
        if self.corpus.data_options.is_generated:
            tokens = self.corpus.vocabulary.tokens
            return [part(generated(tokens, self.size.length, seed), split) for seed in range(2)]
        if self.corpus.data_options.path:
            texts = self.corpus.read_classes(self.corpus.data_options.path)
        else:
            texts = [reference(), sources(2**20)]
        return [self.corpus.part_of(text, split) for text in texts]

    def _files(self) -> list[Path]:
        folder = self.corpus.data_options.path
        assert folder is not None, "asked for with a folder"
        if not folder.is_dir():
            raise DataError(f"{folder}: to classify, data is a folder of text files, one a class")
        files = text_files(folder)
        if len(files) < 2:
            raise DataError(
                f"{folder}: {len(files)} text files in it; to classify, there must be one for each class"
            )
        return files

    def loss(self, model: nn.Module, batch: Text) -> Tensor:
        scores = model(batch["tokens"], batch.get("places"))
        return F.cross_entropy(scores.flatten(0, -2), batch["target"].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        rate = 1e-3 if self.preset == "tiny" else 5e-5
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)

    def evaluate(self, model: nn.Module, batches: Iterable[Text]) -> dict[str, float]:
        """Return the loss with the share of right answers, or with the perplexity of hidden tokens."""
        right = asked = 0
        total = 0.0
        for batch in batches:
            scores = model(batch["tokens"], batch.get("places")).detach().flatten(0, -2)
            target = batch["target"].flatten()
            total += float(F.cross_entropy(scores, target, reduction="sum"))
            right += int((scores.argmax(-1) == target).sum())
            asked += len(target)
        found = {"loss": total / asked, "accuracy": right / asked}
        return (
            found if self.task == "classify" else {**found, "perplexity": math.exp(total / asked)}
        )


class BertBase(BertWorkload):
    """BERT-base, uncased, as published; gradients are clipped as in google-research/bert, optimization.py."""

    clip_norm: ClassVar = 1.0
    batch: ClassVar = {"tiny": 16, "base": 16}
    sizes: ClassVar = {
        "tiny": Size(2, 64, 4, 256 + SPECIAL, 128, 128, 2, 0.0),
        "base": Size(12, 768, 12, 30522, 512, 128, 2, 0.1),
    }


class DistilBert(BertWorkload):
    """DistilBERT as published, trained without its teacher; gradients are clipped as its authors' train.py does."""

    clip_norm: ClassVar = 5.0
    batch: ClassVar = {"tiny": 16, "base": 16}
    sizes: ClassVar = {
        "tiny": Size(1, 64, 4, 256 + SPECIAL, 128, 128, 0, 0.0),
        "base": Size(6, 768, 12, 30522, 512, 128, 0, 0.1),
    }
