"""Inception-v3 (Szegedy et al., arXiv 1512.00567) and Inception-v4 (arXiv 1602.07261), as tables of branches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.vision.image import Image
from wattlaw.workloads.vision.images import CLASSES, ImageWorkload

NAMES = {"inception3": "Inception3", "inception4": "Inception4"}

AUXILIARY_WEIGHT = 0.4
"""Weight of Inception-v3's auxiliary classifier in the loss."""


class Conv(NamedTuple):
    """A convolution with batch norm: filters, kernel (rows, columns), stride; ``same`` keeps the image's size."""

    filters: int
    rows: int
    columns: int
    stride: int = 1
    same: bool = True


class Fork(NamedTuple):
    """Two convolutions of one input, side by side, at the end of a branch."""

    left: Conv
    right: Conv


class Pool(NamedTuple):
    """Pooling over 3 × 3 pixels: of the mean, keeping the image's size, or of the greatest with stride 2."""

    mean: bool


Step = Conv | Fork | Pool
Branch = tuple[Step, ...]
Block = tuple[Branch, ...]


def square(filters: int, side: int = 3) -> Conv:
    """Return a convolution of ``side`` × ``side`` pixels that keeps the image's size."""
    return Conv(filters, side, side)


def reduce(filters: int) -> Conv:
    """Return a 3 × 3 convolution that halves the image, without padding."""
    return Conv(filters, 3, 3, 2, same=False)


def valid(filters: int) -> Conv:
    """Return a 3 × 3 convolution without padding."""
    return Conv(filters, 3, 3, 1, same=False)


def fork(filters: int) -> Fork:
    """Return a 1 × 3 beside a 3 × 1 convolution."""
    return Fork(Conv(filters, 1, 3), Conv(filters, 3, 1))


MEAN, MAX = Pool(True), Pool(False)


def _v3_a(pooled: int) -> Block:
    return (
        (square(64, 1),),
        (square(48, 1), square(64, 5)),
        (square(64, 1), square(96), square(96)),
        (MEAN, square(pooled, 1)),
    )


def _v3_c(narrow: int) -> Block:
    return (
        (square(192, 1),),
        (square(narrow, 1), Conv(narrow, 1, 7), Conv(192, 7, 1)),
        (
            square(narrow, 1),
            Conv(narrow, 7, 1),
            Conv(narrow, 1, 7),
            Conv(narrow, 7, 1),
            Conv(192, 1, 7),
        ),
        (MEAN, square(192, 1)),
    )


_V3_B: Block = ((reduce(384),), (square(64, 1), square(96), reduce(96)), (MAX,))
_V3_D: Block = (
    (square(192, 1), reduce(320)),
    (square(192, 1), Conv(192, 1, 7), Conv(192, 7, 1), reduce(192)),
    (MAX,),
)
_V3_E: Block = (
    (square(320, 1),),
    (square(384, 1), fork(384)),
    (square(448, 1), square(384), fork(384)),
    (MEAN, square(192, 1)),
)
_V3_STEM: tuple[Block, ...] = (
    ((reduce(32), valid(32), square(64), MAX, square(80, 1), valid(192), MAX),),
)  # fmt: skip
V3_BEFORE: tuple[Block, ...] = (
    *_V3_STEM, _v3_a(32), _v3_a(64), _v3_a(64), _V3_B, _v3_c(128), _v3_c(160), _v3_c(160), _v3_c(192),
)  # fmt: skip
V3_AFTER: tuple[Block, ...] = (_V3_D, _V3_E, _V3_E)

_V4_STEM: tuple[Block, ...] = (
    ((reduce(32), valid(32), square(64)),),
    ((MAX,), (reduce(96),)),
    ((square(64, 1), valid(96)), (square(64, 1), Conv(64, 1, 7), Conv(64, 7, 1), valid(96))),
    ((reduce(192),), (MAX,)),
)
_V4_A: Block = (
    (square(96, 1),),
    (square(64, 1), square(96)),
    (square(64, 1), square(96), square(96)),
    (MEAN, square(96, 1)),
)
_V4_B: Block = (
    (square(384, 1),),
    (square(192, 1), Conv(224, 1, 7), Conv(256, 7, 1)),
    (square(192, 1), Conv(192, 7, 1), Conv(224, 1, 7), Conv(224, 7, 1), Conv(256, 1, 7)),
    (MEAN, square(128, 1)),
)
_V4_C: Block = (
    (square(256, 1),),
    (square(384, 1), fork(256)),
    (square(384, 1), Conv(448, 3, 1), Conv(512, 1, 3), fork(256)),
    (MEAN, square(256, 1)),
)
_V4_REDUCE_A: Block = ((reduce(384),), (square(192, 1), square(224), reduce(256)), (MAX,))
_V4_REDUCE_B: Block = (
    (square(192, 1), reduce(192)),
    (square(256, 1), Conv(256, 1, 7), Conv(320, 7, 1), reduce(320)),
    (MAX,),
)
V4: tuple[Block, ...] = (
    *_V4_STEM,
    *[_V4_A] * 4,
    _V4_REDUCE_A,
    *[_V4_B] * 7,
    _V4_REDUCE_B,
    *[_V4_C] * 3,
)

SHARE = 16
"""``tiny`` has so many times fewer filters, and each kind of block once."""


class Normed(nn.Module):
    """A convolution without bias, its batch norm and a rectifier."""

    def __init__(self, inside: int, conv: Conv, share: int) -> None:
        super().__init__()
        self.outside = max(conv.filters // share, 1)
        padding = (conv.rows // 2, conv.columns // 2) if conv.same else (0, 0)
        self.conv = nn.Conv2d(
            inside, self.outside, (conv.rows, conv.columns), conv.stride, padding, bias=False
        )
        self.norm = nn.BatchNorm2d(self.outside, eps=0.001)
        nn.init.trunc_normal_(self.conv.weight, std=0.1, a=-0.2, b=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outside, …)."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class Beside(nn.Module):
    """Branches of one input, their outputs one after another."""

    def __init__(self, branches: Iterable[tuple[nn.Module, int]]) -> None:
        super().__init__()
        made = list(branches)
        self.branches = nn.ModuleList(module for module, _ in made)
        self.outside = sum(width for _, width in made)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outside, …)."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def branch(inside: int, steps: Branch, share: int, countless: bool) -> tuple[nn.Module, int]:
    """Return a branch and its width. ``countless`` leaves the padding out of means."""
    layers: list[nn.Module] = []
    for step in steps:
        if isinstance(step, Pool):
            mean = nn.AvgPool2d(3, 1, 1, count_include_pad=not countless)
            layers.append(mean if step.mean else nn.MaxPool2d(3, 2))
        elif isinstance(step, Fork):
            beside = Beside([branch(inside, (side,), share, countless) for side in step])
            layers.append(beside)
            inside = beside.outside
        else:
            layers.append(Normed(inside, step, share))
            inside = max(step.filters // share, 1)
    return nn.Sequential(*layers), inside


def network(
    inside: int, blocks: Sequence[Block], share: int, countless: bool
) -> tuple[nn.Sequential, int]:
    """Return blocks in a row and the width of the last."""
    made = []
    for block in blocks:
        beside = Beside([branch(inside, steps, share, countless) for steps in block])
        made.append(beside)
        inside = beside.outside
    return nn.Sequential(*made), inside


class Auxiliary(nn.Module):
    """Inception-v3's second classifier, in the middle of the network."""

    def __init__(self, inside: int, classes: int) -> None:
        super().__init__()
        self.narrow = Normed(inside, square(128, 1), 1)
        self.wide = Normed(128, Conv(768, 5, 5, same=False), 1)
        self.head = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        scores: Tensor = self.head(self.wide(self.narrow(F.avg_pool2d(x, 5, 3))).mean((2, 3)))
        return scores


class Inception(nn.Module):
    """Blocks in a row and a classifier; in training also the auxiliary one's scores where there is one."""

    def __init__(
        self,
        before: Sequence[Block],
        after: Sequence[Block],
        channels: int,
        classes: int,
        share: int,
        dropout: float,
    ) -> None:
        super().__init__()
        with_auxiliary = bool(after) and share == 1
        self.before, width = network(channels, before, share, countless=not after)
        self.auxiliary = Auxiliary(width, classes) if with_auxiliary else None
        self.after, width = network(width, after, share, countless=not after)
        self.dropout = dropout
        self.head = nn.Linear(width, classes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return class scores (B, classes), and the auxiliary ones while training."""
        x = self.before(pixels)
        aside = self.auxiliary(x) if self.auxiliary is not None and self.training else None
        last = self.after(x).mean((2, 3))
        return self.head(F.dropout(last, self.dropout, self.training)), aside


class InceptionWorkload(ImageWorkload):
    """An Inception classifies images."""

    batch: ClassVar = {"tiny": 16, "base": 32}
    before: ClassVar[tuple[Block, ...]]
    after: ClassVar[tuple[Block, ...]] = ()
    dropout: ClassVar[float]

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        self.side, self.channels = (75, 1) if preset == "tiny" else (299, 3)

    def network(self) -> nn.Module:
        if self.preset == "base":
            return Inception(self.before, self.after, 3, CLASSES["base"], 1, self.dropout)
        # each kind of block once: what repeats is the same table
        once = tuple(dict.fromkeys(self.before))
        return Inception(once, tuple(dict.fromkeys(self.after)), 1, CLASSES["tiny"], SHARE, 0.0)

    def loss(self, model: nn.Module, batch: Image) -> Tensor:
        scores, aside = model(self.fitted(batch["pixels"]))
        loss = F.cross_entropy(scores, batch["label"])
        return (
            loss
            if aside is None
            else loss + AUXILIARY_WEIGHT * F.cross_entropy(aside, batch["label"])
        )

    def scores(self, model: nn.Module, batch: Image) -> Tensor:
        scores: Tensor = model(self.fitted(batch["pixels"]))[0]
        return scores


class Inception3(InceptionWorkload):
    """Inception-v3 with its auxiliary classifier."""

    before, after, dropout = V3_BEFORE, V3_AFTER, 0.5


class Inception4(InceptionWorkload):
    """Inception-v4."""

    before, dropout = V4, 0.2
