"""ResNet with bottleneck blocks (He et al., arXiv 1512.03385) and its variant v1.5, which halves the image
in the 3 × 3 convolution of a block where the paper does in the first 1 × 1.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.vision.images import CLASSES, ImageWorkload

NAMES = {
    "resnet50": "ResNet50",
    "resnet50-v1.5": "ResNet50v15",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
}

EXPANSION = 4


class Size(NamedTuple):
    """Blocks of each stage, width of the first, classes, side of the image in pixels and its channels.

    ``small`` images keep their size at the entrance: 3 × 3 without stride or pooling, as is usual for them.
    """

    blocks: tuple[int, ...]
    width: int
    classes: int
    side: int
    channels: int
    small: bool = False


class Normed(nn.Sequential):
    """A convolution without bias and its batch norm."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outside))


class Bottleneck(nn.Module):
    """Narrow, convolve, widen by 4; then add the input."""

    def __init__(self, inside: int, width: int, stride: int, late_stride: bool) -> None:
        super().__init__()
        outside = width * EXPANSION
        self.narrow = Normed(inside, width, 1, 1 if late_stride else stride)
        self.middle = Normed(width, width, 3, stride if late_stride else 1)
        self.widen = Normed(width, outside, 1)
        self.shortcut = (
            nn.Identity()
            if inside == outside and stride == 1
            else Normed(inside, outside, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4·width, H/stride, W/stride)."""
        y = F.relu(self.narrow(x), inplace=True)
        y = F.relu(self.middle(y), inplace=True)
        return F.relu(self.widen(y) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """A ResNet of bottleneck blocks: images (B, channels, H, W) -> class scores (B, classes)."""

    def __init__(self, size: Size, late_stride: bool) -> None:
        super().__init__()
        first = (
            Normed(size.channels, size.width, 3)
            if size.small
            else Normed(size.channels, size.width, 7, 2)
        )
        pool = nn.Identity() if size.small else nn.MaxPool2d(3, 2, 1)
        self.entrance = nn.Sequential(first, nn.ReLU(inplace=True), pool)
        stages: list[nn.Module] = []
        inside = size.width
        for stage, blocks in enumerate(size.blocks):
            width = size.width * 2**stage
            for block in range(blocks):
                stride = 2 if stage and block == 0 else 1
                stages.append(Bottleneck(inside, width, stride, late_stride))
                inside = width * EXPANSION
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inside, size.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        scores: Tensor = self.head(self.blocks(self.entrance(pixels)).mean((2, 3)))
        return scores


class ResNetWorkload(ImageWorkload):
    """A ResNet classifies images."""

    batch: ClassVar = {"tiny": 64, "base": 32}
    depth: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
    shallow: ClassVar[tuple[int, ...]] = (1, 1, 1)
    late_stride: ClassVar[bool] = False

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        tiny = preset == "tiny"
        small = Size(self.shallow, 16, CLASSES["tiny"], 8, 1, small=True)
        self.size = small if tiny else Size(self.depth, 64, CLASSES["base"], 224, 3)
        self.side, self.channels = self.size.side, self.size.channels

    def network(self) -> nn.Module:
        return ResNet(self.size, self.late_stride)


class ResNet50(ResNetWorkload):
    """ResNet-50 as published."""


class ResNet50v15(ResNetWorkload):
    """ResNet-50 v1.5, the usual one of today."""

    late_stride = True


class ResNet101(ResNetWorkload):
    """ResNet-101 as published."""

    depth = (3, 4, 23, 3)
    shallow = (1, 1, 2)


class ResNet152(ResNetWorkload):
    """ResNet-152 as published."""

    depth = (3, 8, 36, 3)
    shallow = (1, 2, 2)
