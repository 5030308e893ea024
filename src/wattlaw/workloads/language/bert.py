"""BERT (Devlin et al., arXiv 1810.04805) and DistilBERT (Sanh et al., arXiv 1910.01108).

Tasks: masked language modelling and text classification.

Shapes: B samples, T tokens, D features, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, NamedTuple, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, UnknownNameError
from wattlaw.workloads.base import Options, Split, Workload
from wattlaw.workloads.language.corpus import OPTIONS, Corpus
from wattlaw.workloads.language.text import Windows, generated, part, reference, sources, text_files
from wattlaw.workloads.language.vocabulary import Marks, of_bert

VERSION = 2
NAMES = {"bert-base": "BertBase", "distilbert": "DistilBert"}

TASKS = ("masked-lm", "classify")
MASKED_SHARE = 0.15
"""Share of tokens to predict; 80 % of them become the mask, 10 % a random token, 10 % stay."""
NUM_SPECIAL = len(Marks._fields)


class BertSize(NamedTuple):
    """Sizes of a model. ``token_types``: 2 in BERT, 0 in DistilBERT. ``context``: positions."""

    num_layers: int
    hidden_size: int
    num_heads: int
    vocabulary_size: int
    context: int
    sequence_length: int
    token_types: int
    dropout: float


class BertBlock(nn.Module):
    """Attention to all tokens, then an MLP; each is added to its input and then normalised."""

    def __init__(self, size: BertSize) -> None:
        super().__init__()
        self.num_heads, self.dropout = size.num_heads, size.dropout
        self.qkv = nn.Linear(size.hidden_size, 3 * size.hidden_size)
        self.attention_out = nn.Linear(size.hidden_size, size.hidden_size)
        self.norm_1 = nn.LayerNorm(size.hidden_size, eps=1e-12)
        self.mlp_in = nn.Linear(size.hidden_size, 4 * size.hidden_size)
        self.mlp_out = nn.Linear(4 * size.hidden_size, size.hidden_size)
        self.norm_2 = nn.LayerNorm(size.hidden_size, eps=1e-12)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = (
            self.qkv(x_BTD)
            .view(B, T, 3, self.num_heads, D // self.num_heads)
            .permute(2, 0, 3, 1, 4)
        )
        dropout = self.dropout if self.training else 0.0
        y_BTD = (
            F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
            .transpose(1, 2)
            .reshape(B, T, D)
        )
        x_BTD = self.norm_1(x_BTD + self.drop(self.attention_out(y_BTD)))
        out: Tensor = self.norm_2(x_BTD + self.drop(self.mlp_out(F.gelu(self.mlp_in(x_BTD)))))
        return out

    def drop(self, x: Tensor) -> Tensor:
        """Return ``x`` with dropout while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class Bert(nn.Module):
    """An encoder with one head: masked language modelling (``classes`` = 0) or classification."""

    def __init__(self, size: BertSize, classes: int) -> None:
        super().__init__()
        self.size, self.classes = size, classes
        self.tokens = nn.Embedding(size.vocabulary_size, size.hidden_size)
        self.positions = nn.Embedding(size.context, size.hidden_size)
        self.token_types = (
            nn.Embedding(size.token_types, size.hidden_size) if size.token_types else None
        )
        self.norm = nn.LayerNorm(size.hidden_size, eps=1e-12)
        self.blocks = nn.ModuleList(BertBlock(size) for _ in range(size.num_layers))
        self.transform = nn.Linear(size.hidden_size, size.hidden_size)
        if classes:
            self.head = nn.Linear(size.hidden_size, classes)
        else:
            self.head_norm = nn.LayerNorm(size.hidden_size, eps=1e-12)
            self.head_bias = nn.Parameter(torch.zeros(size.vocabulary_size))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor, positions_BK: Tensor | None = None) -> Tensor:
        """Return logits: of classes (B, classes), all tokens (B, T, V), or positions (B, K, V)."""
        x_BTD = self.encode(tokens_BT)
        if self.classes:
            # DistilBERT has ReLU where BERT's pooler has tanh
            first = self.transform(x_BTD[:, 0])
            first = torch.tanh(first) if self.size.token_types else F.relu(first)
            out: Tensor = self.head(F.dropout(first, self.size.dropout, self.training))
            return out
        if positions_BK is not None:
            # only masked tokens need the large product with the vocabulary
            x_BTD = x_BTD.gather(1, positions_BK[..., None].expand(-1, -1, x_BTD.shape[2]))
        shown = self.head_norm(F.gelu(self.transform(x_BTD)))
        scores: Tensor = F.linear(shown, self.tokens.weight, self.head_bias)
        return scores

    def encode(self, tokens_BT: Tensor) -> Tensor:
        """Return the features of each token, (B, T, D)."""
        x_BTD: Tensor = self.tokens(tokens_BT) + self.positions.weight[: tokens_BT.shape[1]]
        if self.token_types is not None:
            # each text is one segment: all tokens have the first type
            x_BTD = x_BTD + self.token_types.weight[0]
        x_BTD = F.dropout(self.norm(x_BTD), self.size.dropout, self.training)
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return x_BTD


class TextBatch(TypedDict, total=False):
    """A sample or a batch.

    tokens     (…, T)
    positions  (…, K) of the masked tokens; absent for classification
    target     (…, K) the masked tokens, or the class (…)
    """

    tokens: Tensor
    positions: Tensor
    target: Tensor


class MaskedText(Dataset[TextBatch]):
    """Texts with masked tokens. Each text's mask is random and depends only on its index."""

    def __init__(self, windows: Windows, tokens: int, marks: Marks) -> None:
        self.windows, self.tokens, self.marks = windows, tokens, marks

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> TextBatch:
        tokens = framed(self.windows[index], self.marks)
        draw = torch.Generator().manual_seed(index)
        # each text masks the same number of tokens, so that the losses of half batches average
        inner = len(tokens) - 2
        hidden = torch.randperm(inner, generator=draw)[: max(1, round(MASKED_SHARE * inner))] + 1
        chance = torch.rand(len(hidden), generator=draw)
        other = torch.randint(self.tokens, (len(hidden),), generator=draw)
        shown = torch.where(
            chance < 0.8, self.marks.mask, torch.where(chance < 0.9, other, tokens[hidden])
        )
        target = tokens[hidden]
        tokens[hidden] = shown
        return {"tokens": tokens, "positions": hidden, "target": target}


class ClassifiedText(Dataset[TextBatch]):
    """Texts of several classes, interleaved."""

    def __init__(self, classes: list[Windows], marks: Marks) -> None:
        self.classes, self.marks = classes, marks

    def __len__(self) -> int:
        return len(self.classes) * min(len(windows) for windows in self.classes)

    def __getitem__(self, index: int) -> TextBatch:
        position, label = divmod(index, len(self.classes))
        tokens = framed(self.classes[label][position], self.marks)
        return {"tokens": tokens, "target": torch.tensor(label)}


def framed(window: Tensor, marks: Marks) -> Tensor:
    """Return the first T of T + 1 tokens, the outer ones replaced by the begin and end tokens."""
    tokens = window[:-1].clone()
    tokens[0], tokens[-1] = marks.begin, marks.end
    return tokens


class BertWorkload(Workload):
    """Masked language modelling or text classification with an encoder.

    Options: ``task``; ``data`` and ``vocabulary``, see ``corpus``. For classification, ``data`` is
    a folder of text files, one for each class; without it the classes are English and source code.
    """

    presets = ("tiny", "base")
    options: ClassVar = {"task": "masked-lm", **OPTIONS}
    sizes: ClassVar[dict[str, BertSize]]

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.task = str(self.chosen["task"])
        if self.task not in TASKS:
            raise UnknownNameError("task", self.task, TASKS)
        size = self.sizes[preset]
        self.corpus = Corpus(
            self.chosen, preset == "tiny", of_bert, size.vocabulary_size - NUM_SPECIAL
        )
        self.size = size._replace(vocabulary_size=self.corpus.vocabulary.size)

    def model(self) -> nn.Module:
        return Bert(self.size, self.classes if self.task == "classify" else 0)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self._files()) if self.corpus.data_options.path else 2

    def data(self, split: Split) -> Dataset[TextBatch]:
        if self.task == "classify":
            data: Dataset[TextBatch] = self._classified(split)
        else:
            data = self._masked(split)
        self.notes = self.corpus.warnings()
        return data

    def _masked(self, split: Split) -> MaskedText:
        vocabulary, length = self.corpus.vocabulary, self.size.sequence_length
        tokens = self.corpus.tokens(split, length)
        windows = Windows(tokens, length, self.corpus.data_options.path)
        return MaskedText(windows, vocabulary.tokens, vocabulary.marks)

    def _classified(self, split: Split) -> ClassifiedText:
        sources: list[Path | None] = [None, None]
        if self.corpus.data_options.path:
            sources = [*self._files()]
        classes = []
        for tokens, source in zip(self._class_tokens(split), sources, strict=True):
            classes.append(Windows(tokens, self.size.sequence_length, source))
        return ClassifiedText(classes, self.corpus.vocabulary.marks)

    def _class_tokens(self, split: Split) -> list[Tensor]:
        path = self.corpus.data_options.path
        if self.corpus.data_options.is_generated:
            tokens, length = self.corpus.vocabulary.tokens, self.size.sequence_length
            return [part(generated(tokens, length, seed), split) for seed in range(2)]
        texts = self.corpus.read_classes(path) if path else [reference(), sources(2**20)]
        return [self.corpus.part_of(text, split) for text in texts]

    def _files(self) -> list[Path]:
        folder = self.corpus.data_options.path
        assert folder is not None
        needed = "classification needs a folder of text files, one for each class"
        if not folder.is_dir():
            raise DataError(f"{folder}: {needed}")
        files = text_files(folder)
        if len(files) < 2:
            raise DataError(f"{folder}: {len(files)} text file in it; {needed}")
        return files

    def loss(self, model: nn.Module, batch: TextBatch) -> Tensor:
        scores = model(batch["tokens"], batch.get("positions"))
        return F.cross_entropy(scores.flatten(0, -2), batch["target"].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        rate = 1e-3 if self.preset == "tiny" else 5e-5
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)

    def evaluate(self, model: nn.Module, batches: Iterable[TextBatch]) -> dict[str, float]:
        """Return loss and accuracy; for masked language modelling also the perplexity."""
        correct = predicted = 0
        total = 0.0
        for batch in batches:
            scores = model(batch["tokens"], batch.get("positions")).detach().flatten(0, -2)
            target = batch["target"].flatten()
            total += float(F.cross_entropy(scores, target, reduction="sum"))
            correct += int((scores.argmax(-1) == target).sum())
            predicted += len(target)
        metrics = {"loss": total / predicted, "accuracy": correct / predicted}
        if self.task == "masked-lm":
            metrics["perplexity"] = math.exp(total / predicted)
        return metrics


class BertBase(BertWorkload):
    """BERT-base, uncased, as published; gradients are clipped as in google-research/bert."""

    clip_norm: ClassVar = 1.0
    batch: ClassVar = {"tiny": 16, "base": 16}
    sizes: ClassVar = {
        "tiny": BertSize(2, 64, 4, 256 + NUM_SPECIAL, 128, 128, 2, 0.0),
        "base": BertSize(12, 768, 12, 30522, 512, 128, 2, 0.1),
    }


class DistilBert(BertWorkload):
    """DistilBERT as published, without its teacher; gradients clipped as in its authors' code."""

    clip_norm: ClassVar = 5.0
    batch: ClassVar = {"tiny": 16, "base": 16}
    sizes: ClassVar = {
        "tiny": BertSize(1, 64, 4, 256 + NUM_SPECIAL, 128, 128, 0, 0.0),
        "base": BertSize(6, 768, 12, 30522, 512, 128, 0, 0.1),
    }
