"""ChemGPT: a GPT-Neo that writes molecules (Frey et al., "Neural scaling of deep chemical models", 2023).

GPT-Neo (Black et al., 2021) does not scale attention scores, has no biases before them, and every second layer
sees only the last ``window`` tokens. Shapes: B samples, T tokens, D features, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.reading import Note
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.data_options import (
    GENERATED_NOTE,
    OPTIONS,
    parse_data_options,
    skipped_records,
)
from wattlaw.workloads.language.molecules_as_text import NOTATIONS, as_tokens, read_lines, written
from wattlaw.workloads.language.text import Windows, generated, part
from wattlaw.workloads.molecules.sources.qm9 import qm9_smiles

VERSION = 2
NAMES = {"chemgpt": "ChemGPT"}

LEARNT = Note(
    "learnt_vocabulary",
    "signs are numbered by how common they are in the data, not by ChemGPT's own list",
)


class Size(NamedTuple):
    """How large a model is; ``length`` tokens a sample, and how many molecules of QM9 (None: all)."""

    layers: int
    width: int
    heads: int
    vocabulary: int
    context: int
    window: int
    length: int
    molecules: int | None = None


SIZES = {
    "tiny": Size(2, 64, 4, 64, 128, 256, 64, 2048),
    # named by their weights outside embeddings, 12·24·width²
    "base": Size(24, 128, 16, 1024, 2048, 256, 256),
    "19m": Size(24, 256, 16, 1024, 2048, 256, 256),
    "1.2b": Size(24, 2048, 16, 1024, 2048, 256, 256),
}


class Block(nn.Module):
    """Attention to what came before, then a perceptron, each added to its input."""

    def __init__(self, size: Size, local: bool) -> None:
        super().__init__()
        self.heads, self.window = size.heads, size.window if local else size.context
        self.norm_1 = nn.LayerNorm(size.width)
        self.qkv = nn.Linear(size.width, 3 * size.width, bias=False)
        self.attention_out = nn.Linear(size.width, size.width)
        self.norm_2 = nn.LayerNorm(size.width)
        self.up = nn.Linear(size.width, 4 * size.width)
        self.down = nn.Linear(4 * size.width, size.width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the layer's output, (B, T, D)."""
        x_BTD = x_BTD + self.attend(self.norm_1(x_BTD))
        out: Tensor = x_BTD + self.down(F.gelu(self.up(self.norm_2(x_BTD)), approximate="tanh"))
        return out

    def attend(self, x_BTD: Tensor) -> Tensor:
        """Return what each token takes from those it sees, (B, T, D)."""
        B, T, D = x_BTD.shape
        q, k, v = self.qkv(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
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
    """GPT-Neo with its token embedding used again as the output layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(
            Block(size, local=layer % 2 == 1) for layer in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the logits of each next token, (B, T, V)."""
        x_BTD = self.tokens(tokens_BT) + self.places.weight[: tokens_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD)
        return F.linear(self.norm(x_BTD), self.tokens.weight)


class ChemGPT(Workload):
    """ChemGPT learns to write molecules.

    Options: ``data``, a file of SMILES or SELFIES, one a line, or a table with a column smiles, in place of QM9's, or
    "generated"; ``on_bad``, "fail" or "skip"; ``notation`` that is learnt, "selfies" or "smiles".
    """

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 32, "base": 8, "19m": 8, "1.2b": 8}
    options: ClassVar = {**OPTIONS, "notation": "selfies"}

    def __init__(self, preset: str = "base", options: Any = None) -> None:
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
            tokens = generated(self.size.vocabulary, self.size.length)
        else:
            tokens = as_tokens(self._lines(), self.size.vocabulary)
            if self.preset != "tiny":
                self.notes = [*self.notes, LEARNT]
        return Windows(part(tokens, split), self.size.length)

    def _lines(self) -> list[str]:
        if self.data_options.path is None:
            return written(qm9_smiles(self.size.molecules)[0], self.notation, source="QM9").lines
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
