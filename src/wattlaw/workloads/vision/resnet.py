"""ResNet with bottleneck blocks (He et al., arXiv 1512.03385) and its variant v1.5.

v1.5 puts a block's stride into its 3 × 3 convolution instead of its first 1 × 1 convolution.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.base import Options
from wattlaw.workloads.vision.image_classifier import CLASSES, ImageWorkload

NAMES = {
    "resnet50": "ResNet50",
    "resnet50-v1.5": "ResNet50v15",
    "resnet101": "ResNet101",
    "resnet152": "ResNet152",
}

EXPANSION = 4


class ResNetSize(NamedTuple):
    """Blocks of each stage, width of the first one, classes, image side in pixels, channels.

    With ``small`` images the stem is a 3 × 3 convolution without stride or pooling.
    """

    blocks: tuple[int, ...]
    width: int
    classes: int
    side: int
    channels: int
    small: bool = False


class ConvNorm(nn.Sequential):
    """A convolution without bias, then batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(out_channels))


class Bottleneck(nn.Module):
    """A 1 × 1, a 3 × 3 and a 1 × 1 convolution (to 4 × the width), then the input is added."""

    def __init__(self, in_channels: int, width: int, stride: int, stride_in_middle: bool) -> None:
        super().__init__()
        out_channels = width * EXPANSION
        self.reduce = ConvNorm(in_channels, width, 1, 1 if stride_in_middle else stride)
        self.middle = ConvNorm(width, width, 3, stride if stride_in_middle else 1)
        self.expand = ConvNorm(width, out_channels, 1)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels and stride == 1
            else ConvNorm(in_channels, out_channels, 1, stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4·width, H/stride, W/stride)."""
        y = F.relu(self.reduce(x), inplace=True)
        y = F.relu(self.middle(y), inplace=True)
        return F.relu(self.expand(y) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """A ResNet of bottleneck blocks: images (B, channels, H, W) → class scores (B, classes)."""

    def __init__(self, size: ResNetSize, stride_in_middle: bool) -> None:
        super().__init__()
        first = (
            ConvNorm(size.channels, size.width, 3)
            if size.small
            else ConvNorm(size.channels, size.width, 7, 2)
        )
        pool = nn.Identity() if size.small else nn.MaxPool2d(3, 2, 1)
        self.stem = nn.Sequential(first, nn.ReLU(inplace=True), pool)
        stages: list[nn.Module] = []
        in_channels = size.width
        for stage, blocks in enumerate(size.blocks):
            width = size.width * 2**stage
            for block in range(blocks):
                stride = 2 if stage and block == 0 else 1
                stages.append(Bottleneck(in_channels, width, stride, stride_in_middle))
                in_channels = width * EXPANSION
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(in_channels, size.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        scores: Tensor = self.head(self.blocks(self.stem(pixels)).mean((2, 3)))
        return scores


class ResNetWorkload(ImageWorkload):
    """A ResNet classifies images."""

    batch: ClassVar = {"tiny": 64, "base": 32}
    depth: ClassVar[tuple[int, ...]] = (3, 4, 6, 3)
    shallow: ClassVar[tuple[int, ...]] = (1, 1, 1)
    stride_in_middle: ClassVar[bool] = False

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        tiny = preset == "tiny"
        small = ResNetSize(self.shallow, 16, CLASSES["tiny"], 8, 1, small=True)
        self.size = small if tiny else ResNetSize(self.depth, 64, CLASSES["base"], 224, 3)
        self.side, self.channels = self.size.side, self.size.channels

    def network(self) -> nn.Module:
        return ResNet(self.size, self.stride_in_middle)


class ResNet50(ResNetWorkload):
    """ResNet-50 as published."""


class ResNet50v15(ResNetWorkload):
    """ResNet-50 v1.5, the variant most used today."""

    stride_in_middle = True


class ResNet101(ResNetWorkload):
    """ResNet-101 as published."""

    depth = (3, 4, 23, 3)
    shallow = (1, 1, 2)


class ResNet152(ResNetWorkload):
    """ResNet-152 as published."""

    depth = (3, 8, 36, 3)
    shallow = (1, 2, 2)
