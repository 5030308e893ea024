"""ChemGPT: GPT-Neo on molecules (Frey et al., "Neural scaling of deep chemical models", 2023).

GPT-Neo (Black et al., 2021) does not scale attention scores and has no biases in queries, keys and
values; every second layer attends only to the last ``window`` tokens.

Shapes: B samples, T tokens, D features, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.workloads.base import Options, Split, Workload
from wattlaw.workloads.data_options import (
    GENERATED_NOTE,
    OPTIONS,
    parse_data_options,
    skipped_records,
)
from wattlaw.workloads.language.text import Windows, generated, part
from wattlaw.workloads.molecules.sources.molecule_lines import (
    NOTATIONS,
    SYMBOL,
    convert,
    read_lines,
)
from wattlaw.workloads.molecules.sources.qm9 import qm9_smiles

VERSION = 2
NAMES = {"chemgpt": "ChemGPT"}

END, UNKNOWN = 0, 1
"""The token after each molecule, and the one for symbols outside the vocabulary."""

OWN_VOCABULARY_NOTE = Note(
    "learnt_vocabulary",
    "the tokens are the symbols of the data by frequency, not ChemGPT's published vocabulary",
)


class GPTNeoSize(NamedTuple):
    """Sizes of a model. ``molecules``: how many of QM9's are used; None for all."""

    num_layers: int
    hidden_size: int
    num_heads: int
    vocabulary_size: int
    context: int
    window: int
    sequence_length: int
    molecules: int | None = None


SIZES = {
    "tiny": GPTNeoSize(2, 64, 4, 64, 128, 256, 64, 2048),
    # named by their weights without embeddings, 12·24·width²
    "base": GPTNeoSize(24, 128, 16, 1024, 2048, 256, 256),
    "19m": GPTNeoSize(24, 256, 16, 1024, 2048, 256, 256),
    "1.2b": GPTNeoSize(24, 2048, 16, 1024, 2048, 256, 256),
}


class GPTNeoBlock(nn.Module):
    """Causal attention, global or local, then an MLP, each with a residual connection."""

    def __init__(self, size: GPTNeoSize, local: bool) -> None:
        super().__init__()
        self.num_heads, self.window = size.num_heads, size.window if local else size.context
        self.norm_1 = nn.LayerNorm(size.hidden_size)
        self.qkv = nn.Linear(size.hidden_size, 3 * size.hidden_size, bias=False)
        self.attention_out = nn.Linear(size.hidden_size, size.hidden_size)
        self.norm_2 = nn.LayerNorm(size.hidden_size)
        self.mlp_in = nn.Linear(size.hidden_size, 4 * size.hidden_size)
        self.mlp_out = nn.Linear(4 * size.hidden_size, size.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        x_BTD = x_BTD + self.attend(self.norm_1(x_BTD))
        out: Tensor = x_BTD + self.mlp_out(
            F.gelu(self.mlp_in(self.norm_2(x_BTD)), approximate="tanh")
        )
        return out

    def attend(self, x_BTD: Tensor) -> Tensor:
        """Return the output of attention, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = (
            self.qkv(x_BTD)
            .view(B, T, 3, self.num_heads, D // self.num_heads)
            .permute(2, 0, 3, 1, 4)
        )
        mask = None
        if self.window < T:
            seen = torch.ones(T, T, dtype=torch.bool, device=x_BTD.device)
            mask = seen.tril() & seen.triu(1 - self.window)
        y_BHTd = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None, scale=1.0
        )
        out: Tensor = self.attention_out(y_BHTd.transpose(1, 2).reshape(B, T, D))
        return out


class GPTNeo(nn.Module):
    """GPT-Neo, whose output layer shares the weights of the token embedding."""

    def __init__(self, size: GPTNeoSize) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary_size, size.hidden_size)
        self.positions = nn.Embedding(size.context, size.hidden_size)
        self.blocks = nn.ModuleList(
            GPTNeoBlock(size, local=layer % 2 == 1) for layer in range(size.num_layers)
        )
        self.norm = nn.LayerNorm(size.hidden_size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of each next token, (B, T, V)."""
        x_BTD = self.tokens(tokens_BT) + self.positions.weight[: tokens_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.tokens.weight)


class ChemGPT(Workload):
    """Language modelling of molecules with ChemGPT.

    Options: ``data``: a file with one SMILES or SELFIES a line, a table with a column smiles, or
    "generated", instead of QM9; ``on_bad``, "fail" or "skip"; ``notation``, "selfies" or "smiles".
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 32, "base": 8, "19m": 8, "1.2b": 8}
    options: ClassVar = {**OPTIONS, "notation": "selfies"}

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.size, self.data_options, self.notation = (
            SIZES[preset],
            parse_data_options(self.chosen),
            str(self.chosen["notation"]),
        )
        if self.notation not in NOTATIONS:
            raise UnknownNameError("notation", self.notation, NOTATIONS)

    def model(self) -> nn.Module:
        return GPTNeo(self.size)

    def data(self, split: Split) -> Dataset[Tensor]:
        self.notes = [GENERATED_NOTE] if self.data_options.is_generated else []
        if self.data_options.is_generated:
            tokens = generated(self.size.vocabulary_size, self.size.sequence_length)
        else:
            tokens = as_tokens(self._lines(), self.size.vocabulary_size)
            if self.preset != "tiny":
                self.notes = [*self.notes, OWN_VOCABULARY_NOTE]
        return Windows(part(tokens, split), self.size.sequence_length)

    def _lines(self) -> list[str]:
        if self.data_options.path is None:
            return convert(qm9_smiles(self.size.molecules)[0], self.notation, source="QM9").lines
        found = read_lines(self.data_options.path, self.notation, self.data_options.on_bad)
        self.notes = skipped_records(
            self.data_options.path, found.skipped, len(found.lines), found.first_fault
        )
        return found.lines

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=1e-3 if self.preset == "tiny" else 2e-5)

    def evaluate(self, model: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
        """Return the loss and the perplexity per token."""
        loss = super().evaluate(model, batches)["loss"]
        return {"loss": loss, "perplexity": math.exp(loss)}


def as_tokens(lines: Sequence[str], vocabulary_size: int) -> Tensor:
    """Return molecules one after another as tokens (T,) int32, numbered by frequency.

    Each molecule ends with END.
    """
    split = [SYMBOL.findall(line) for line in lines]
    counts = Counter(symbol for line in split for symbol in line)
    common = counts.most_common(vocabulary_size - 2)
    number = {symbol: UNKNOWN + 1 + k for k, (symbol, _) in enumerate(common)}
    tokens = []
    for line in split:
        tokens += [number.get(symbol, UNKNOWN) for symbol in line]
        tokens.append(END)
    return torch.tensor(tokens, dtype=torch.int32)
