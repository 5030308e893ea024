"""What all image workloads share: their data, their loss and their scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.workloads.base import Split, Workload
from wattlaw.workloads.data_options import (
    GENERATED_NOTE,
    OPTIONS,
    parse_data_options,
    skipped_records,
)
from wattlaw.workloads.vision.digits import Digits, Generated
from wattlaw.workloads.vision.folder import ImageFolder
from wattlaw.workloads.vision.image import Image

METRICS = {
    "top1": {"title": "Top-1 accuracy, a share of 1,", "better": "more"},
    "top5": {"title": "Top-5 accuracy, a share of 1,", "better": "more"},
}

CLASSES = {"tiny": 10, "base": 1000}
"""So many classes the network of a preset tells apart: the digits', ImageNet's."""


def channels_last(network: nn.Module) -> nn.Module:
    """Lay the weights of convolutions out with their channels last, in place, and return the network.

    That is how matrix units and vector units like them: 1.0 to 1.5 times as fast on a CPU. Weights of 1 × 1 lie so in
    either layout, and stay as they are.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
    return network


class ImageWorkload(Workload):
    """A network that classifies images of ``side`` × ``side`` pixels and some channels.

    Smaller images are enlarged to that size, so that ``base`` costs what its published form does.
    Options: ``data``, a folder in ImageNet's layout in place of the digits, or "generated"; ``on_bad``, "fail" or
    "skip".
    """

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 64, "base": 32}
    options: ClassVar = OPTIONS
    side: int
    channels: int

    @abstractmethod
    def network(self) -> nn.Module:
        """Return a new network, its weights drawn from torch's current seed."""

    def model(self) -> nn.Module:
        return channels_last(self.network())

    def data(self, split: Split) -> Dataset[Image]:
        options = parse_data_options(self.chosen)
        self.notes = [GENERATED_NOTE] if options.is_generated else []
        if options.is_generated:
            # digits are enlarged on the device; images of a folder come as the network takes them
            return Generated(1, 8) if self.preset == "tiny" else Generated(self.channels, self.side)
        if options.path is None:
            return Digits(split)
        folder = ImageFolder(options.path, split, self.side, options.on_bad)
        known = CLASSES[self.preset]
        if len(folder.classes) > known:
            raise DataError(
                f"{options.path}: {len(folder.classes)} classes; preset {self.preset} tells {known} apart"
            )
        self.notes = skipped_records(options.path, folder.skipped, len(folder), folder.first_fault)
        return folder

    def loss(self, model: nn.Module, batch: Image) -> Tensor:
        return F.cross_entropy(model(self.fitted(batch["pixels"])), batch["label"])

    def scores(self, model: nn.Module, batch: Image) -> Tensor:
        """Return the class scores of a batch, (B, classes)."""
        scores: Tensor = model(self.fitted(batch["pixels"]))
        return scores

    def fitted(self, pixels: Tensor) -> Tensor:
        """Return images as the network takes them: enlarged on the device, grey repeated, colours averaged to grey.

        They lie with their channels last.
        """
        if pixels.shape[-1] != self.side:
            pixels = F.interpolate(pixels, size=(self.side, self.side), mode="bilinear")
        if pixels.shape[1] != self.channels:
            pixels = (
                pixels.mean(1, keepdim=True)
                if self.channels == 1
                else pixels.expand(-1, self.channels, -1, -1)
            )
        return pixels.contiguous(memory_format=torch.channels_last)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4)

    def evaluate(self, model: nn.Module, batches: Iterable[Image]) -> dict[str, float]:
        """Return the shares of images whose class is the first guess, and among the first five."""
        first = fifth = images = 0
        for batch in batches:
            guesses = self.scores(model, batch).detach().topk(5).indices == batch["label"][:, None]
            first += int(guesses[:, 0].sum())
            fifth += int(guesses.sum())
            images += len(guesses)
        return {"top1": first / images, "top5": fifth / images} if images else {}
