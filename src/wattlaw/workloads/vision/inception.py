"""Inception-v3 (Szegedy et al., arXiv 1512.00567) and Inception-v4 (arXiv 1602.07261).

A network is a table of blocks; a block is parallel branches; a branch is a sequence of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.base import Options
from wattlaw.workloads.vision.image_classifier import CLASSES, ImageWorkload
from wattlaw.workloads.vision.image_sample import Image

NAMES = {"inception3": "Inception3", "inception4": "Inception4"}

AUXILIARY_WEIGHT = 0.4
"""Weight of Inception-v3's auxiliary classifier in the loss."""


class ConvSpec(NamedTuple):
    """A convolution with batch norm; ``same`` pads it so that the image keeps its size."""

    filters: int
    rows: int
    columns: int
    stride: int = 1
    same: bool = True


class ForkSpec(NamedTuple):
    """Two parallel convolutions of one input at the end of a branch."""

    left: ConvSpec
    right: ConvSpec


class PoolSpec(NamedTuple):
    """Pooling over 3 × 3 pixels: the mean, which keeps the size, or the maximum with stride 2."""

    mean: bool


StepSpec = ConvSpec | ForkSpec | PoolSpec
BranchSpec = tuple[StepSpec, ...]
BlockSpec = tuple[BranchSpec, ...]


def square(filters: int, side: int = 3) -> ConvSpec:
    """Return a ``side`` × ``side`` convolution that keeps the size."""
    return ConvSpec(filters, side, side)


def reduce(filters: int) -> ConvSpec:
    """Return a 3 × 3 convolution that halves the image, without padding."""
    return ConvSpec(filters, 3, 3, 2, same=False)


def valid(filters: int) -> ConvSpec:
    """Return a 3 × 3 convolution without padding."""
    return ConvSpec(filters, 3, 3, 1, same=False)


def fork(filters: int) -> ForkSpec:
    """Return a 1 × 3 parallel a 3 × 1 convolution."""
    return ForkSpec(ConvSpec(filters, 1, 3), ConvSpec(filters, 3, 1))


MEAN, MAX = PoolSpec(True), PoolSpec(False)


def _v3_a(pooled: int) -> BlockSpec:
    return (
        (square(64, 1),),
        (square(48, 1), square(64, 5)),
        (square(64, 1), square(96), square(96)),
        (MEAN, square(pooled, 1)),
    )


def _v3_c(narrow: int) -> BlockSpec:
    return (
        (square(192, 1),),
        (square(narrow, 1), ConvSpec(narrow, 1, 7), ConvSpec(192, 7, 1)),
        (
            square(narrow, 1),
            ConvSpec(narrow, 7, 1),
            ConvSpec(narrow, 1, 7),
            ConvSpec(narrow, 7, 1),
            ConvSpec(192, 1, 7),
        ),
        (MEAN, square(192, 1)),
    )


_V3_B: BlockSpec = ((reduce(384),), (square(64, 1), square(96), reduce(96)), (MAX,))
_V3_D: BlockSpec = (
    (square(192, 1), reduce(320)),
    (square(192, 1), ConvSpec(192, 1, 7), ConvSpec(192, 7, 1), reduce(192)),
    (MAX,),
)
_V3_E: BlockSpec = (
    (square(320, 1),),
    (square(384, 1), fork(384)),
    (square(448, 1), square(384), fork(384)),
    (MEAN, square(192, 1)),
)
_V3_STEM: tuple[BlockSpec, ...] = (
    ((reduce(32), valid(32), square(64), MAX, square(80, 1), valid(192), MAX),),
)  # fmt: skip
V3_BEFORE: tuple[BlockSpec, ...] = (
    *_V3_STEM,
    *(_v3_a(32), _v3_a(64), _v3_a(64)),
    _V3_B,
    *(_v3_c(128), _v3_c(160), _v3_c(160), _v3_c(192)),
)
V3_AFTER: tuple[BlockSpec, ...] = (_V3_D, _V3_E, _V3_E)

_V4_STEM: tuple[BlockSpec, ...] = (
    ((reduce(32), valid(32), square(64)),),
    ((MAX,), (reduce(96),)),
    (
        (square(64, 1), valid(96)),
        (square(64, 1), ConvSpec(64, 1, 7), ConvSpec(64, 7, 1), valid(96)),
    ),
    ((reduce(192),), (MAX,)),
)
_V4_A: BlockSpec = (
    (square(96, 1),),
    (square(64, 1), square(96)),
    (square(64, 1), square(96), square(96)),
    (MEAN, square(96, 1)),
)
_V4_B: BlockSpec = (
    (square(384, 1),),
    (square(192, 1), ConvSpec(224, 1, 7), ConvSpec(256, 7, 1)),
    (
        square(192, 1),
        ConvSpec(192, 7, 1),
        ConvSpec(224, 1, 7),
        ConvSpec(224, 7, 1),
        ConvSpec(256, 1, 7),
    ),
    (MEAN, square(128, 1)),
)
_V4_C: BlockSpec = (
    (square(256, 1),),
    (square(384, 1), fork(256)),
    (square(384, 1), ConvSpec(448, 3, 1), ConvSpec(512, 1, 3), fork(256)),
    (MEAN, square(256, 1)),
)
_V4_REDUCE_A: BlockSpec = ((reduce(384),), (square(192, 1), square(224), reduce(256)), (MAX,))
_V4_REDUCE_B: BlockSpec = (
    (square(192, 1), reduce(192)),
    (square(256, 1), ConvSpec(256, 1, 7), ConvSpec(320, 7, 1), reduce(320)),
    (MAX,),
)
V4: tuple[BlockSpec, ...] = (
    *_V4_STEM,
    *[_V4_A] * 4,
    _V4_REDUCE_A,
    *[_V4_B] * 7,
    _V4_REDUCE_B,
    *[_V4_C] * 3,
)

TINY_DIVISOR = 16
"""``tiny`` has each kind of block once, with this many times fewer filters."""


class ConvNormReLU(nn.Module):
    """A convolution without bias, then batch norm and ReLU."""

    def __init__(self, in_channels: int, conv: ConvSpec, divisor: int) -> None:
        super().__init__()
        self.out_channels = max(conv.filters // divisor, 1)
        padding = (conv.rows // 2, conv.columns // 2) if conv.same else (0, 0)
        self.conv = nn.Conv2d(
            in_channels,
            self.out_channels,
            (conv.rows, conv.columns),
            conv.stride,
            padding,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(self.out_channels, eps=0.001)
        nn.init.trunc_normal_(self.conv.weight, std=0.1, a=-0.2, b=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, …)."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class ParallelBranches(nn.Module):
    """Branches of one input; their outputs are concatenated."""

    def __init__(self, branches: Iterable[tuple[nn.Module, int]]) -> None:
        super().__init__()
        made = list(branches)
        self.branches = nn.ModuleList(module for module, _ in made)
        self.out_channels = sum(width for _, width in made)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out_channels, …)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def branch(
    in_channels: int, steps: BranchSpec, divisor: int, exclude_padding: bool
) -> tuple[nn.Module, int]:
    """Return a branch and its output channels. ``exclude_padding``: means leave the padding out."""
    layers: list[nn.Module] = []
    for step in steps:
        if isinstance(step, PoolSpec):
            mean = nn.AvgPool2d(3, 1, 1, count_include_pad=not exclude_padding)
            layers.append(mean if step.mean else nn.MaxPool2d(3, 2))
        elif isinstance(step, ForkSpec):
            parallel = ParallelBranches(
                [branch(in_channels, (side,), divisor, exclude_padding) for side in step]
            )
            layers.append(parallel)
            in_channels = parallel.out_channels
        else:
            layers.append(ConvNormReLU(in_channels, step, divisor))
            in_channels = max(step.filters // divisor, 1)
    return nn.Sequential(*layers), in_channels


def network(
    in_channels: int, blocks: Sequence[BlockSpec], divisor: int, exclude_padding: bool
) -> tuple[nn.Sequential, int]:
    """Return a sequence of blocks and the output channels of the last."""
    made = []
    for block in blocks:
        parallel = ParallelBranches(
            [branch(in_channels, steps, divisor, exclude_padding) for steps in block]
        )
        made.append(parallel)
        in_channels = parallel.out_channels
    return nn.Sequential(*made), in_channels


class Auxiliary(nn.Module):
    """Inception-v3's auxiliary classifier in the middle of the network."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.reduce = ConvNormReLU(in_channels, square(128, 1), 1)
        self.expand = ConvNormReLU(128, ConvSpec(768, 5, 5, same=False), 1)
        self.head = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        scores: Tensor = self.head(self.expand(self.reduce(F.avg_pool2d(x, 5, 3))).mean((2, 3)))
        return scores


class Inception(nn.Module):
    """Blocks and a classifier; Inception-v3 also has an auxiliary classifier for training."""

    def __init__(
        self,
        before: Sequence[BlockSpec],
        after: Sequence[BlockSpec],
        channels: int,
        classes: int,
        divisor: int,
        dropout: float,
    ) -> None:
        super().__init__()
        with_auxiliary = bool(after) and divisor == 1
        self.before, width = network(channels, before, divisor, exclude_padding=not after)
        self.auxiliary = Auxiliary(width, classes) if with_auxiliary else None
        self.after, width = network(width, after, divisor, exclude_padding=not after)
        self.dropout = dropout
        self.head = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return class scores (B, classes), and the auxiliary scores while training."""
        x = self.before(pixels)
        auxiliary = None
        if self.auxiliary is not None and self.training:
            auxiliary = self.auxiliary(x)
        last = self.after(x).mean((2, 3))
        return self.head(F.dropout(last, self.dropout, self.training)), auxiliary


class InceptionWorkload(ImageWorkload):
    """An Inception classifies images."""

    batch: ClassVar = {"tiny": 16, "base": 32}
    before: ClassVar[tuple[BlockSpec, ...]]
    after: ClassVar[tuple[BlockSpec, ...]] = ()
    dropout: ClassVar[float]

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        self.side, self.channels = (75, 1) if preset == "tiny" else (299, 3)

    def network(self) -> nn.Module:
        if self.preset == "base":
            return Inception(self.before, self.after, 3, CLASSES["base"], 1, self.dropout)
        # each kind of block once; repeated blocks are equal tables
        once = tuple(dict.fromkeys(self.before))
        return Inception(
            once, tuple(dict.fromkeys(self.after)), 1, CLASSES["tiny"], TINY_DIVISOR, 0.0
        )

    def loss(self, model: nn.Module, batch: Image) -> Tensor:
        scores, auxiliary = model(self.prepare(batch["pixels"]))
        loss = F.cross_entropy(scores, batch["label"])
        if auxiliary is None:
            return loss
        return loss + AUXILIARY_WEIGHT * F.cross_entropy(auxiliary, batch["label"])

    def scores(self, model: nn.Module, batch: Image) -> Tensor:
        scores: Tensor = model(self.prepare(batch["pixels"]))[0]
        return scores


class Inception3(InceptionWorkload):
    """Inception-v3 with its auxiliary classifier."""

    before, after, dropout = V3_BEFORE, V3_AFTER, 0.5


class Inception4(InceptionWorkload):
    """Inception-v4."""

    before, dropout = V4, 0.2
