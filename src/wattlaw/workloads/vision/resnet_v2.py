"""ResNet v2: batch norm and rectifier before each convolution (He et al., arXiv 1603.05027).

The layers' biases and the place of the strides are those of the widely used TensorFlow models.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from wattlaw.workloads.vision.images import CLASSES, ImageWorkload
from wattlaw.workloads.vision.resnet import EXPANSION, Size

NAMES = {"resnet101-v2": "ResNet101v2", "resnet152-v2": "ResNet152v2"}


class PreActivated(nn.Module):
    """Norm and rectifier, then narrow, convolve, widen by 4; then add the input as it came."""

    def __init__(self, inside: int, width: int, stride: int, widens: bool) -> None:
        super().__init__()
        self.stride = stride
        self.norm_1 = nn.BatchNorm2d(inside)
        self.shortcut = nn.Conv2d(inside, width * EXPANSION, 1, stride) if widens else None
        self.narrow = nn.Conv2d(inside, width, 1, bias=False)
        self.norm_2 = nn.BatchNorm2d(width)
        self.middle = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm_3 = nn.BatchNorm2d(width)
        self.widen = nn.Conv2d(width, width * EXPANSION, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4·width, H/stride, W/stride)."""
        y = F.relu(self.norm_1(x), inplace=True)
        if self.shortcut is not None:
            x = self.shortcut(y)
        elif self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        y = F.relu(self.norm_2(self.narrow(y)), inplace=True)
        y = F.relu(self.norm_3(self.middle(y)), inplace=True)
        out: Tensor = x + self.widen(y)
        return out


class ResNetV2(nn.Module):
    """A pre-activated ResNet: images (B, channels, H, W) -> class scores (B, classes)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        if size.small:
            self.entrance: nn.Module = nn.Conv2d(size.channels, size.width, 3, padding=1)
        else:
            first = nn.Conv2d(size.channels, size.width, 7, 2, 3)
            self.entrance = nn.Sequential(first, nn.MaxPool2d(3, 2, 1))
        blocks: list[nn.Module] = []
        inside = size.width
        for stage, count in enumerate(size.blocks):
            width = size.width * 2**stage
            for block in range(count):
                # the last block of a stage halves the image for the next one
                stride = 2 if block == count - 1 and stage < len(size.blocks) - 1 else 1
                blocks.append(PreActivated(inside, width, stride, widens=block == 0))
                inside = width * EXPANSION
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inside)
        self.head = nn.Linear(inside, size.classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> Tensor:
        """Return class scores, (B, classes)."""
        last = F.relu(self.norm(self.blocks(self.entrance(pixels))), inplace=True)
        scores: Tensor = self.head(last.mean((2, 3)))
        return scores


class ResNetV2Workload(ImageWorkload):
    """A pre-activated ResNet classifies images."""

    batch: ClassVar = {"tiny": 64, "base": 32}
    depth: ClassVar[tuple[int, ...]]
    shallow: ClassVar[tuple[int, ...]]

    def __init__(self, preset: str = "base", options: Any = None) -> None:
        super().__init__(preset, options)
        tiny = preset == "tiny"
        small = Size(self.shallow, 16, CLASSES["tiny"], 8, 1, small=True)
        self.size = small if tiny else Size(self.depth, 64, CLASSES["base"], 224, 3)
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
