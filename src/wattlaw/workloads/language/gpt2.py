"""GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019).

Shapes: B samples, T tokens, D features, H heads, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import SettingError
from wattlaw.workloads.base import Options, Split, Workload
from wattlaw.workloads.language.corpus import OPTIONS, Corpus
from wattlaw.workloads.language.text import Windows
from wattlaw.workloads.language.vocabulary import of_gpt2

VERSION = 2
NAMES = {"gpt2": "GPT2Workload"}


class GPT2Size(NamedTuple):
    """Sizes of a GPT-2. ``context``: positions. ``sequence_length``: tokens of a sample."""

    num_layers: int
    hidden_size: int
    num_heads: int
    context: int
    sequence_length: int
    vocabulary_size: int
    dropout: float


SIZES = {
    "tiny": GPT2Size(2, 64, 4, 128, 128, 256, 0.0),
    "base": GPT2Size(12, 768, 12, 1024, 1024, 50257, 0.1),
}


class GPT2Block(nn.Module):
    """One layer: causal attention, then an MLP, each with a residual connection."""

    def __init__(self, size: GPT2Size) -> None:
        super().__init__()
        self.num_heads, self.dropout = size.num_heads, size.dropout
        self.norm_1 = nn.LayerNorm(size.hidden_size)
        self.qkv = nn.Linear(size.hidden_size, 3 * size.hidden_size)
        self.attention_out = nn.Linear(size.hidden_size, size.hidden_size)
        self.norm_2 = nn.LayerNorm(size.hidden_size)
        self.mlp_in = nn.Linear(size.hidden_size, 4 * size.hidden_size)
        self.mlp_out = nn.Linear(4 * size.hidden_size, size.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        x_BTD = x_BTD + self.drop(self.attend(self.norm_1(x_BTD)))
        hidden = F.gelu(self.mlp_in(self.norm_2(x_BTD)), approximate="tanh")
        return x_BTD + self.drop(self.mlp_out(hidden))

    def attend(self, x_BTD: Tensor) -> Tensor:
        """Return the output of causal attention, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = (
            self.qkv(x_BTD)
            .view(B, T, 3, self.num_heads, D // self.num_heads)
            .permute(2, 0, 3, 1, 4)
        )
        dropout = self.dropout if self.training else 0.0
        y_BHTd = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=dropout)
        out: Tensor = self.attention_out(y_BHTd.transpose(1, 2).reshape(B, T, D))
        return out

    def drop(self, x: Tensor) -> Tensor:
        """Return ``x`` with dropout while training."""
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


class GPT2(nn.Module):
    """GPT-2, whose output layer shares the weights of the token embedding."""

    def __init__(self, size: GPT2Size) -> None:
        super().__init__()
        self.size = size
        self.tokens = nn.Embedding(size.vocabulary_size, size.hidden_size)
        self.positions = nn.Embedding(size.context, size.hidden_size)
        self.blocks = nn.ModuleList(GPT2Block(size) for _ in range(size.num_layers))
        self.norm = nn.LayerNorm(size.hidden_size)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, GPT2Block):
            # the residual stream sums two outputs a layer; scale them down accordingly
            for last in (module.attention_out, module.mlp_out):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * self.size.num_layers))

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of each next token, (B, T, V)."""
        positions = torch.arange(tokens_BT.shape[1], device=tokens_BT.device)
        x_BTD = F.dropout(
            self.tokens(tokens_BT) + self.positions(positions), self.size.dropout, self.training
        )
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.tokens.weight)


class GPT2Workload(Workload):
    """Language modelling with GPT-2.

    Options: ``data`` and ``vocabulary``, see ``corpus``; ``length``: tokens of a sample, 0 for the
    preset's own.
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 16, "base": 4}
    options: ClassVar = {**OPTIONS, "length": 0}

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        size = SIZES[preset]
        length = int(self.chosen["length"]) or size.sequence_length
        if not 1 <= length <= size.context:
            valid = f"from 1 to {size.context}, or 0 for {size.sequence_length}"
            raise SettingError(f"option length is {length}; it must be {valid}")
        self.corpus = Corpus(self.chosen, preset == "tiny", of_gpt2, size.vocabulary_size)
        self.size = size._replace(
            sequence_length=length, vocabulary_size=self.corpus.vocabulary.tokens
        )

    def model(self) -> nn.Module:
        return GPT2(self.size)

    def data(self, split: Split) -> Dataset[Tensor]:
        tokens = self.corpus.tokens(split, self.size.sequence_length)
        self.notes = self.corpus.warnings()
        return Windows(tokens, self.size.sequence_length, self.corpus.data_options.path)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        logits = model(batch[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def evaluate(self, model: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
        """Return the loss and the perplexity per token."""
        loss = super().evaluate(model, batches)["loss"]
        return {"loss": loss, "perplexity": math.exp(loss)}
