"""VGG-11, VGG-16 and VGG-19 without batch norm (Simonyan and Zisserman, arXiv 1409.1556)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from wattlaw.workloads.base import Options
from wattlaw.workloads.vision.image_classifier import CLASSES, ImageWorkload

NAMES = {"vgg11": "VGG11", "vgg16": "VGG16", "vgg19": "VGG19"}


class VGGSize(NamedTuple):
    """Convolutions of each stage, width of the first one, hidden units of the classifier,
    classes, image side in pixels, channels, dropout.
    """

    stages: tuple[int, ...]
    width: int
    hidden: int
    classes: int
    side: int
    channels: int
    dropout: float


class VGGStage(nn.Sequential):
    """Convolutions of one width, each with ReLU, then pooling that halves the side."""


def _halving(side: int) -> nn.Module:
    # compiled for a CPU, torch 2.13's MaxPool2d has no gradient if its output is one pixel
    return nn.MaxPool2d(2) if side > 2 else nn.AdaptiveMaxPool2d(1)


class VGG(nn.Module):
    """Five stages and a classifier: images (B, channels, H, W) → class scores (B, classes)."""

    def __init__(self, size: VGGSize) -> None:
        super().__init__()
        stages = []
        in_channels = size.channels
        for stage, convolutions in enumerate(size.stages):
            # the last two stages are equally wide
            width = size.width * 2 ** min(stage, 3)
            layers: list[nn.Module] = []
            for _ in range(convolutions):
                layers += [nn.Conv2d(in_channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                in_channels = width
            stages.append(VGGStage(*layers, _halving(size.side // 2**stage)))
        self.stages = nn.Sequential(*stages)
        left = size.side // 32
        self.head = nn.Sequential(
            nn.Linear(in_channels * left * left, size.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(size.dropout),
            nn.Linear(size.hidden, size.hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(size.dropout),
            nn.Linear(size.hidden, size.classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        scores: Tensor = self.head(self.stages(pixels).flatten(1))
        return scores


class VGGWorkload(ImageWorkload):
    """A VGG classifies images."""

    batch: ClassVar = {"tiny": 32, "base": 32}
    stages: ClassVar[tuple[int, ...]]

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        base = VGGSize(self.stages, 64, 4096, CLASSES["base"], 224, 3, 0.5)
        self.size = (
            base if preset == "base" else VGGSize(self.stages, 8, 64, CLASSES["tiny"], 32, 1, 0.0)
        )
        self.side, self.channels = self.size.side, self.size.channels

    def network(self) -> nn.Module:
        return VGG(self.size)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        if self.preset == "tiny":
            # without batch norm, so narrow a network hardly learns with SGD
            return torch.optim.Adam(parameters, lr=2e-3)
        return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)


class VGG11(VGGWorkload):
    """VGG-11."""

    stages = (1, 1, 2, 2, 2)


class VGG16(VGGWorkload):
    """VGG-16."""

    stages = (2, 2, 3, 3, 3)


class VGG19(VGGWorkload):
    """VGG-19."""

    stages = (2, 2, 4, 4, 4)
