"""GPT-2: a transformer that predicts the next token (Radford et al., "Language Models are Unsupervised
Multitask Learners", 2019).

Shapes: B samples, T tokens, D features, H heads, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import SettingError
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.language.corpus import OPTIONS, Corpus
from wattlaw.workloads.language.text import Windows
from wattlaw.workloads.language.vocabulary import of_gpt2

VERSION = 2
NAMES = {"gpt2": "GPT2Workload"}


class Size(NamedTuple):
    """How large a GPT-2 is. ``context`` is the longest text it can see, ``length`` what a sample holds."""

    layers: int
    width: int
    heads: int
    context: int
    length: int
    vocabulary: int
    dropout: float


SIZES = {
    "tiny": Size(2, 64, 4, 128, 128, 256, 0.0),
    "base": Size(12, 768, 12, 1024, 1024, 50257, 0.1),
}


class Block(nn.Module):
    """One layer: attention to what came before, then a perceptron, each added to its input."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.dropout = size.heads, size.dropout
        self.norm_1 = nn.LayerNorm(size.width)
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.attention_out = nn.Linear(size.width, size.width)
        self.norm_2 = nn.LayerNorm(size.width)
        self.up = nn.Linear(size.width, 4 * size.width)
        self.down = nn.Linear(4 * size.width, size.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        x_BTD = x_BTD + self.drop(self.attend(self.norm_1(x_BTD)))
        hidden = F.gelu(self.up(self.norm_2(x_BTD)), approximate="tanh")
        return x_BTD + self.drop(self.down(hidden))

    def attend(self, x_BTD: Tensor) -> Tensor:
        """Return what each token takes from those up to itself, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        y_BHTd = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        out: Tensor = self.attention_out(y_BHTd.transpose(1, 2).reshape(B, T, D))
        return out

    def drop(self, x: Tensor) -> Tensor:
        """Return ``x`` with some of it set to 0 while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class GPT2(nn.Module):
    """GPT-2 with its token embedding used again as the output layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.apply(self._draw)

    def _draw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, Block):
            # what is added to the residual stream is made smaller, the more layers add to it
            for last in (module.attention_out, module.down):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * self.size.layers))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of each next token, (B, T, V)."""
        places = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = F.dropout(
            self.tokens(tokens_BT) + self.places(places), self.size.dropout, self.training
        )
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.tokens.weight)


class GPT2Workload(Workload):
    """GPT-2 learns to predict text.

    Options: ``data`` and ``vocabulary``, see ``corpus``; ``length`` of a sample in tokens, 0 for the preset's own.
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 16, "base": 4}
    options: ClassVar = {**OPTIONS, "length": 0}

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        size = SIZES[preset]
        length = int(self.chosen["length"]) or size.length
        if not 1 <= length <= size.context:
            raise SettingError(
                f"option length is {length}; it must be from 1 to {size.context} (0: {size.length})"
            )
        self.corpus = Corpus(self.chosen, preset == "tiny", of_gpt2, size.vocabulary)
        self.size = size._replace(length=length, vocabulary=self.corpus.vocabulary.tokens)

    def model(self) -> nn.Module:
        return GPT2(self.size)

    def data(self, split: Split) -> Dataset[Tensor]:
        tokens = self.corpus.tokens(split, self.size.length)
        self.notes = self.corpus.warnings()
        return Windows(tokens, self.size.length, self.corpus.data_options.path)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        logits = model(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def evaluate(self, model: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
        """Return the perplexity: e to the mean loss, per token of this vocabulary."""
        loss = super().evaluate(model, batches)["loss"]
        return {"loss": loss, "perplexity": math.exp(loss)}
