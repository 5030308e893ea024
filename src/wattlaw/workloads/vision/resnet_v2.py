"""ResNet v2: batch norm and ReLU before each convolution (He et al., arXiv 1603.05027).

Biases and strides are those of the widely used TensorFlow models.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.base import Options
from wattlaw.workloads.vision.image_classifier import CLASSES, ImageWorkload
from wattlaw.workloads.vision.resnet import EXPANSION, ResNetSize

NAMES = {"resnet101-v2": "ResNet101v2", "resnet152-v2": "ResNet152v2"}


class PreActivationBlock(nn.Module):
    """Batch norm and ReLU before each of three convolutions; then the input is added."""

    def __init__(self, in_channels: int, width: int, stride: int, is_first: bool) -> None:
        super().__init__()
        self.stride = stride
        self.norm_1 = nn.BatchNorm2d(in_channels)
        self.shortcut = nn.Conv2d(in_channels, width * EXPANSION, 1, stride) if is_first else None
        self.reduce = nn.Conv2d(in_channels, width, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(width)
        self.middle = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm_3 = nn.BatchNorm2d(width)
        self.expand = nn.Conv2d(width, width * EXPANSION, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4·width, H/stride, W/stride)."""
        y = F.relu(self.norm_1(x), inplace=True)
        if self.shortcut is not None:
            x = self.shortcut(y)
        elif self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        y = F.relu(self.norm_2(self.reduce(y)), inplace=True)
        y = F.relu(self.norm_3(self.middle(y)), inplace=True)
        out: Tensor = x + self.expand(y)
        return out


class ResNetV2(nn.Module):
    """A pre-activation ResNet: images (B, channels, H, W) → class scores (B, classes)."""

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        if size.small:
            self.stem: nn.Module = nn.Conv2d(size.channels, size.width, 3, padding=1)
        else:
            first = nn.Conv2d(size.channels, size.width, 7, 2, 3)
            self.stem = nn.Sequential(first, nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        in_channels = size.width
        for stage, count in enumerate(size.blocks):
            width = size.width * 2**stage
            for block in range(count):
                # the last block of a stage halves the image for the next one
                stride = 2 if block == count - 1 and stage < len(size.blocks) - 1 else 1
                blocks.append(PreActivationBlock(in_channels, width, stride, is_first=block == 0))
                in_channels = width * EXPANSION
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(in_channels)
        self.head = nn.Linear(in_channels, size.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        last = F.relu(self.norm(self.blocks(self.stem(pixels))), inplace=True)
        scores: Tensor = self.head(last.mean((2, 3)))
        return scores


class ResNetV2Workload(ImageWorkload):
    """A pre-activation ResNet classifies images."""

    batch: ClassVar = {"tiny": 64, "base": 32}
    depth: ClassVar[tuple[int, ...]]
    shallow: ClassVar[tuple[int, ...]]

    def __init__(self, preset: str = "base", options: Options | None = None) -> None:
        super().__init__(preset, options)
        tiny = preset == "tiny"
        small = ResNetSize(self.shallow, 16, CLASSES["tiny"], 8, 1, small=True)
        self.size = small if tiny else ResNetSize(self.depth, 64, CLASSES["base"], 224, 3)
        self.side, self.channels = self.size.side, self.size.channels

    def network(self) -> nn.Module:
        return ResNetV2(self.size)


class ResNet101v2(ResNetV2Workload):
    """ResNet-101 v2."""

    depth = (3, 4, 23, 3)
    shallow = (1, 1, 2)


class ResNet152v2(ResNetV2Workload):
    """ResNet-152 v2."""

    depth = (3, 8, 36, 3)
    shallow = (1, 2, 2)
