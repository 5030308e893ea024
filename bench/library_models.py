"""Step time of ResNet-50 v1.5, BERT and GPT-2 against the models of transformers.

Both have the same shapes: ResNet-50 v1.5 on 8 images of 64 × 64 pixels; BERT (masked words) and
GPT-2 with 4 layers of 256 features on 8 texts of 128 tokens, without dropout. A step is the forward
pass, the backward pass and AdamW's update. ``ratio`` is the reference's time over ours.
Run with `make bench NAME=library_models`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from _side_by_side import alternate, ratio
from wattlaw.workloads.language.bert import Bert, BertSize
from wattlaw.workloads.language.gpt2 import GPT2, GPT2Size
from wattlaw.workloads.vision.image_classifier import channels_last
from wattlaw.workloads.vision.resnet import ResNet, ResNetSize

BATCH = 8


def main(rounds: int = 15, threads: int = 1) -> dict[str, Any]:
    """Return the ratio of each model with its spread."""
    torch.set_num_threads(threads)
    found: dict[str, Any] = {"threads": threads}
    for name, pair in {"resnet50-v1.5": resnet, "bert": bert, "gpt2": gpt2}.items():
        took = alternate(pair(), rounds)
        found[name] = ratio(took["reference"], took["ours"])
    return found


def step(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def train() -> None:
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()

    return train


def resnet(batch: int = BATCH) -> dict[str, Callable[[], None]]:
    from transformers import ResNetConfig, ResNetForImageClassification

    pixels, label = torch.randn(batch, 3, 64, 64), torch.randint(0, 1000, (batch,))
    ours = channels_last(ResNet(ResNetSize((3, 4, 6, 3), 64, 1000, 64, 3), stride_in_middle=True))
    theirs = ResNetForImageClassification(ResNetConfig(num_labels=1000)).train()
    return {
        "ours": step(ours, lambda: F.cross_entropy(ours(laid_out(pixels)), label)),
        "reference": step(theirs, lambda: theirs(pixels, labels=label).loss),
    }


def laid_out(pixels: Tensor) -> Tensor:
    """Return pixels in the memory layout that the workload uses."""
    return pixels.contiguous(memory_format=torch.channels_last)


def bert(batch: int = BATCH) -> dict[str, Callable[[], None]]:
    from transformers import BertConfig, BertForMaskedLM

    tokens = torch.randint(0, 8000, (batch, 128))
    places = torch.stack([torch.randperm(128)[:19] for _ in range(batch)])
    hidden = tokens.gather(1, places)
    target = torch.full_like(tokens, -100).scatter(1, places, hidden)
    ours = Bert(BertSize(4, 256, 4, 8000, 512, 128, 2, 0.0), 0)
    config = BertConfig(
        vocab_size=8000,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=1024,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    theirs = BertForMaskedLM(config).train()

    def our_loss() -> Tensor:
        return F.cross_entropy(ours(tokens, places).flatten(0, 1), hidden.flatten())

    return {
        "ours": step(ours, our_loss),
        "reference": step(theirs, lambda: theirs(tokens, labels=target).loss),
    }


def gpt2(batch: int = BATCH) -> dict[str, Callable[[], None]]:
    from transformers import GPT2Config, GPT2LMHeadModel

    tokens = torch.randint(0, 8000, (batch, 129))
    ours = GPT2(GPT2Size(4, 256, 4, 128, 128, 8000, 0.0))
    config = GPT2Config(
        vocab_size=8000,
        n_positions=128,
        n_embd=256,
        n_layer=4,
        n_head=4,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    theirs = GPT2LMHeadModel(config).train()
    inputs, target = tokens[:, :-1].contiguous(), tokens[:, 1:]

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())

    return {
        "ours": step(ours, lambda: loss_of(ours(inputs))),
        "reference": step(theirs, lambda: loss_of(theirs(inputs, use_cache=False).logits)),
    }


if __name__ == "__main__":
    print(main())
