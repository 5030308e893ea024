"""Our models equal the published ones: parameter counts, and outputs and gradients of independent
implementations with the same weights.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wattlaw.core.plugins import WORKLOADS, load
from wattlaw.workloads import counts
from wattlaw.workloads.language.chemgpt import SIZES as CHEMGPT_SIZES
from wattlaw.workloads.language.chemgpt import GPTNeo
from wattlaw.workloads.language.gpt2 import GPT2
from wattlaw.workloads.language.gpt2 import SIZES as GPT2_SIZES
from wattlaw.workloads.vision.resnet import ResNet, ResNetSize

PUBLISHED = {
    "schnet": 455_809,
    "dimenet": 2_100_070,
    "dimenet++": 1_885_830,
    "resnet50": 25_557_032,
    "resnet50-v1.5": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "nnconv": 617_025,
    "schnet-forces": 240_641,
    "resnet101-v2": 44_577_896,
    "resnet152-v2": 60_236_904,
    "inception3": 27_161_264,
    "inception4": 42_679_816,
    "vgg11": 132_863_336,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "gpt2": 124_439_808,
    "bert-base": 109_514_298,
    "distilbert": 66_985_530,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_base_has_the_published_number_of_parameters(name, parameters):
    counted = counts.preset_counts(name, "base")
    assert counted is not None
    assert counted.parameters == parameters
    with torch.device("meta"):
        model = load(WORKLOADS, name)("base").model()
    assert sum(p.numel() for p in model.parameters()) == parameters


def copy_in_order(source: nn.Module, target: nn.Module, transposed: tuple[str, ...] = ()) -> None:
    """Copy weights to a model with the same order of parameters."""
    ours = list(target.parameters())
    theirs = list(source.named_parameters())
    assert len(ours) == len(theirs)
    with torch.no_grad():
        for mine, (name, other) in zip(ours, theirs, strict=True):
            mine.copy_(other.T if name.endswith(transposed) and transposed else other)


def same_gradients(ours: nn.Module, theirs: nn.Module, transposed: tuple[str, ...] = ()) -> None:
    for mine, (name, other) in zip(ours.parameters(), theirs.named_parameters(), strict=True):
        assert mine.grad is not None, name
        assert other.grad is not None, name
        other_grad = other.grad.T if name.endswith(transposed) and transposed else other.grad
        torch.testing.assert_close(mine.grad, other_grad, rtol=1e-9, atol=1e-11)


def test_gpt2_equals_transformers_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(
        vocab_size=256, n_positions=128, n_embd=64, n_layer=2, n_head=4,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="eager",
    )  # fmt: skip
    theirs = transformers.GPT2LMHeadModel(config).double()
    ours = GPT2(GPT2_SIZES["tiny"]).double()
    # transformers stores the weights of its linear layers transposed
    turned = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    copy_in_order(theirs, ours, turned)
    tokens = torch.randint(0, 256, (2, 65), generator=torch.Generator().manual_seed(0))
    logits, expected = ours(tokens[:, :-1]), theirs(tokens[:, :-1]).logits
    torch.testing.assert_close(logits, expected, rtol=1e-10, atol=1e-12)
    for model, out in ((ours, logits), (theirs, expected)):
        model.zero_grad()
        nn.functional.cross_entropy(out.flatten(0, 1), tokens[:, 1:].flatten()).backward()
    same_gradients(ours, theirs, turned)


@pytest.mark.parametrize("stride_in_middle", [False, True])
def test_resnet_equals_transformers_with_the_same_weights(stride_in_middle):
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[256, 512, 1024, 2048], depths=[1, 2, 1, 1],
        downsample_in_bottleneck=not stride_in_middle, num_labels=10,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.ResNetForImageClassification(config).double()
    ours = ResNet(ResNetSize((1, 2, 1, 1), 64, 10, 64, 3), stride_in_middle).double()
    copy_in_order(_shortcut_last(theirs), ours)
    pixels = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    label = torch.tensor([1, 7])
    scores, expected = ours(pixels), theirs(pixels).logits
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-11)
    for out in (scores, expected):
        nn.functional.cross_entropy(out, label).backward()
    same_gradients(ours, _shortcut_last(theirs))


def _shortcut_last(model: nn.Module) -> nn.Module:
    """Order the layers of a block before those of its shortcut, as ours are."""
    for module in model.modules():
        if "shortcut" in module._modules:
            module._modules["shortcut"] = module._modules.pop("shortcut")
    return model


@pytest.mark.parametrize("task", ["masked-lm", "classify"])
@pytest.mark.parametrize("name", ["bert-base", "distilbert"])
def test_bert_equals_transformers_with_the_same_weights(name, task):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    workload = load(WORKLOADS, name)("tiny", {"task": task})
    size = workload.size
    ours = workload.model().double().eval()
    if name == "bert-base":
        config = transformers.BertConfig(
            vocab_size=size.vocabulary_size, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=256, max_position_embeddings=128, num_labels=2,
        )  # fmt: skip
        kinds = {
            "masked-lm": transformers.BertForMaskedLM,
            "classify": transformers.BertForSequenceClassification,
        }
    else:
        config = transformers.DistilBertConfig(
            vocab_size=size.vocabulary_size, dim=64, n_layers=1, n_heads=4, hidden_dim=256, max_position_embeddings=128,
            num_labels=2,
        )  # fmt: skip
        kinds = {
            "masked-lm": transformers.DistilBertForMaskedLM,
            "classify": transformers.DistilBertForSequenceClassification,
        }
    theirs = kinds[task](config).double().eval()
    copy_encoder(dict(theirs.named_parameters()), ours)
    batch = workload.collate([workload.data("train")[k] for k in range(3)])
    scores, expected = ours(batch["tokens"]), theirs(batch["tokens"]).logits
    torch.testing.assert_close(scores, expected, rtol=1e-10, atol=1e-12)
    workload.loss(ours, batch).backward()
    if task == "masked-lm":
        expected = torch.take_along_dim(expected, batch["positions"][..., None], 1)
    nn.functional.cross_entropy(expected.flatten(0, -2), batch["target"].flatten()).backward()
    embedding = next(
        p for n, p in theirs.named_parameters() if n.endswith("word_embeddings.weight")
    )
    torch.testing.assert_close(ours.tokens.weight.grad, embedding.grad, rtol=1e-9, atol=1e-12)


def copy_encoder(theirs: dict[str, torch.Tensor], ours: nn.Module) -> None:
    """Copy an encoder with separate query, key and value layers into ours, which has one layer."""
    left = {n: p for n, p in theirs.items() if not any(w in n for w in ("position", "token_type"))}
    with torch.no_grad():
        for name, mine in ours.named_parameters():
            if name.startswith("positions"):
                mine.copy_(next(p for n, p in theirs.items() if "position" in n))
            elif name.startswith("token_types"):
                mine.copy_(next(p for n, p in theirs.items() if "token_type" in n))
            elif name == "head_bias":
                mine.copy_(
                    left.pop(
                        next(n for n in left if n.endswith(("predictions.bias", "projector.bias")))
                    )
                )
            elif ".qkv." in name:
                three = [
                    n
                    for n in left
                    if any(w in n for w in ("query", "key", "value", "q_lin", "k_lin", "v_lin"))
                ]
                three = [n for n in three if n.endswith(name.rpartition(".")[2])][:3]
                mine.copy_(torch.cat([left.pop(n) for n in three]))
            else:
                mine.copy_(
                    left.pop(
                        next(
                            n
                            for n, p in left.items()
                            if p.shape == mine.shape and same_kind(n, name)
                        )
                    )
                )


def same_kind(theirs: str, ours: str) -> bool:
    """Return whether both names are weights or both are biases, outside the attention layers."""
    inside = any(
        w in theirs
        for w in ("query", "key", "value", "q_lin", "k_lin", "v_lin", "predictions.bias")
    )
    return not inside and theirs.rpartition(".")[2] == ours.rpartition(".")[2]


MULTIPLY_ADDS = {
    "resnet50": 3.86e9, "resnet50-v1.5": 4.09e9, "resnet101": 7.6e9, "resnet152": 11.3e9,
    "vgg11": 7.6e9, "vgg16": 15.5e9, "vgg19": 19.6e9, "inception3": 5.7e9, "inception4": 12.3e9,
}  # fmt: skip
"""Published multiply-adds of the forward pass on one image."""


@pytest.mark.parametrize(("name", "published"), MULTIPLY_ADDS.items())
def test_counted_operations_equal_the_published_ones(name, published):
    counted = counts.preset_counts(name, "base")
    assert counted is not None
    # forward and backward cost three forwards, minus the input gradient of the first layer
    assert counted.flop_per_sample / 6 == pytest.approx(published, rel=0.03)


def test_chemgpt_equals_transformers_gpt_neo_with_the_same_weights():
    transformers = pytest.importorskip("transformers")
    size = CHEMGPT_SIZES["tiny"]._replace(window=8)
    config = transformers.GPTNeoConfig(
        vocab_size=64, max_position_embeddings=128, hidden_size=64, num_layers=2, num_heads=4, window_size=8,
        attention_types=[[["global", "local"], 1]], intermediate_size=256, resid_dropout=0, embed_dropout=0,
        attention_dropout=0, attn_implementation="eager", bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    theirs = transformers.GPTNeoForCausalLM(config).double().eval()
    ours = GPTNeo(size).double()
    known = theirs.transformer.state_dict()
    state = {"tokens.weight": known["wte.weight"], "positions.weight": known["wpe.weight"]}
    names = {
        "norm_1": "ln_1", "norm_2": "ln_2", "attention_out": "attn.attention.out_proj", "mlp_in": "mlp.c_fc",
        "mlp_out": "mlp.c_proj",
    }  # fmt: skip
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = known[f"ln_f.{kind}"]
        for block in range(2):
            for mine, other in names.items():
                state[f"blocks.{block}.{mine}.{kind}"] = known[f"h.{block}.{other}.{kind}"]
    for block in range(2):
        three = [known[f"h.{block}.attn.attention.{w}_proj.weight"] for w in "qkv"]
        state[f"blocks.{block}.qkv.weight"] = torch.cat(three)
    ours.load_state_dict(state)
    tokens = torch.randint(0, 64, (2, 40), generator=torch.Generator().manual_seed(0))
    # transformers computes attention in single precision
    torch.testing.assert_close(ours(tokens), theirs(tokens).logits, rtol=1e-5, atol=1e-6)


def test_chemgpt_has_the_published_sizes():
    for preset, weights in (("base", 4_718_592), ("19m", 18_874_368), ("1.2b", 1_207_959_552)):
        with torch.device("meta"):
            model = GPTNeo(CHEMGPT_SIZES[preset])
        inner = [p.numel() for n, p in model.blocks.named_parameters() if p.ndim == 2]
        assert sum(inner) == weights
