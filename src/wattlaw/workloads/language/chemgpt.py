"""ChemGPT: a GPT-Neo that writes molecules (Frey et al., "Neural scaling of deep chemical models", 2023).

GPT-Neo (Black et al., 2021) does not scale attention scores, has no biases before them, and every second layer
sees only the last ``window`` tokens. Shapes: B samples, T tokens, D features, V tokens of the vocabulary.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.language.text import Windows, part, read_text
from wattlaw.workloads.molecules.qm9 import qm9_smiles

NAMES = {"chemgpt": "ChemGPT"}

_TOKEN = re.compile(r"\[[^\]]*\]|Cl|Br|%\d\d|.")
"""A sign of SMILES or of SELFIES: what stands in brackets is one."""

END = 0
"""The token after each molecule; 1 stands for signs outside the vocabulary."""


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
        y_BHTd = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, scale=1.0)
        out: Tensor = self.attention_out(y_BHTd.transpose(1, 2).reshape(B, T, D))
        return out


class GPTNeo(nn.Module):
    """GPT-Neo with its token embedding used again as the output layer."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.places = nn.Embedding(size.context, size.width)
        self.blocks = nn.ModuleList(Block(size, local=layer % 2 == 1) for layer in range(size.layers))
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


def molecules_as_tokens(lines: Iterable[str], vocabulary: int) -> Tensor:
    """Return molecules, SMILES or SELFIES, one after another as tokens (T,) uint16, the commonest signs first."""
    written = [_TOKEN.findall(line.strip()) for line in lines if line.strip()]
    if not written:
        raise DataError("no molecule in the text")
    signs = Counter(sign for line in written for sign in line)
    number = {sign: 2 + k for k, (sign, _) in enumerate(signs.most_common(vocabulary - 2))}
    tokens = [t for line in written for t in (*(number.get(sign, 1) for sign in line), END)]
    return torch.tensor(tokens, dtype=torch.int32)


class ChemGPT(Workload):
    """ChemGPT learns to write molecules: QM9's SMILES, or a file of SMILES or SELFIES, one a line (``text``)."""

    presets = tuple(SIZES)
    batch: ClassVar = {"tiny": 32, "base": 8, "19m": 8, "1.2b": 8}
    options: ClassVar = {"text": ""}

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.size = SIZES[preset]

    def model(self) -> nn.Module:
        return GPTNeo(self.size)

    def data(self, split: Split) -> Dataset[Tensor]:
        given = str(self.chosen["text"])
        lines = read_text(Path(given)).splitlines() if given else qm9_smiles(self.size.molecules)[0]
        return Windows(part(molecules_as_tokens(lines, self.size.vocabulary), split), self.size.length)

    def loss(self, model: nn.Module, batch: Tensor) -> Tensor:
        return F.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=1e-3 if self.preset == "tiny" else 2e-5)

    def evaluate(self, model: nn.Module, batches: Iterable[Tensor]) -> dict[str, float]:
        """Return the loss and the perplexity per token."""
        loss = super().evaluate(model, batches)["loss"]
        return {"loss": loss, "perplexity": math.exp(loss)}
