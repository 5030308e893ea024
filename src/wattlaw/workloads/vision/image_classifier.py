"""The base of all image classifiers: data, loss, scores and metrics."""

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
from wattlaw.workloads.vision.digits import Digits, GeneratedImages
from wattlaw.workloads.vision.image_folder import ImageFolder
from wattlaw.workloads.vision.image_sample import Image

METRICS = {
    "top1": {"title": "Top-1 accuracy, a share of 1,", "better": "more"},
    "top5": {"title": "Top-5 accuracy, a share of 1,", "better": "more"},
}

CLASSES = {"tiny": 10, "base": 1000}
"""Classes of each preset: of the digits and of ImageNet."""


def channels_last(network: nn.Module) -> nn.Module:
    """Convert the weights of convolutions to channels-last layout, in place; return the network.

    A training step is 1.0 to 1.5 times as fast on a CPU. A 1 × 1 kernel has one layout only.
    """
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size != (1, 1):
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
    return network


class ImageWorkload(Workload):
    """A network that classifies images of ``channels`` × ``side`` × ``side`` pixels.

    Smaller images are enlarged to that size, so that ``base`` costs what its published form does.
    Options: ``data``, a folder in ImageNet's layout instead of the digits, or "generated";
    ``on_bad``, "fail" or "skip".
    """

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 64, "base": 32}
    options: ClassVar = OPTIONS
    side: int
    channels: int

    @abstractmethod
    def network(self) -> nn.Module:
        """Return a new network, its weights initialised from torch's current seed."""

    def model(self) -> nn.Module:
        return channels_last(self.network())

    def data(self, split: Split) -> Dataset[Image]:
        options = parse_data_options(self.chosen)
        self.notes = [GENERATED_NOTE] if options.is_generated else []
        if options.is_generated:
            # digits are enlarged on the device; images of a folder have the network's size
            is_tiny = self.preset == "tiny"
            return GeneratedImages(1, 8) if is_tiny else GeneratedImages(self.channels, self.side)
        if options.path is None:
            return Digits(split)
        folder = ImageFolder(options.path, split, self.side, options.on_bad)
        known = CLASSES[self.preset]
        if len(folder.classes) > known:
            classes = f"{len(folder.classes)} classes; preset {self.preset} has {known}"
            raise DataError(f"{options.path}: {classes}")
        self.notes = skipped_records(options.path, folder.skipped, len(folder), folder.first_fault)
        return folder

    def loss(self, model: nn.Module, batch: Image) -> Tensor:
        return F.cross_entropy(model(self.prepare(batch["pixels"])), batch["label"])

    def scores(self, model: nn.Module, batch: Image) -> Tensor:
        """Return the class scores of a batch, (B, classes)."""
        scores: Tensor = model(self.prepare(batch["pixels"]))
        return scores

    def prepare(self, pixels: Tensor) -> Tensor:
        """Return images in the network's size, channels and channels-last layout.

        Grey is repeated over three channels; colours are averaged to grey.
        """
        if pixels.shape[-1] != self.side:
            pixels = F.interpolate(pixels, size=(self.side, self.side), mode="bilinear")
        if pixels.shape[1] != self.channels:
            is_grey = self.channels == 1
            grey = pixels.mean(1, keepdim=True)
            pixels = grey if is_grey else pixels.expand(-1, self.channels, -1, -1)
        return pixels.contiguous(memory_format=torch.channels_last)

    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-4)

    def evaluate(self, model: nn.Module, batches: Iterable[Image]) -> dict[str, float]:
        """Return Top-1 and Top-5 accuracy, each a share of 1."""
        first = fifth = images = 0
        for batch in batches:
            guesses = self.scores(model, batch).detach().topk(5).indices == batch["label"][:, None]
            first += int(guesses[:, 0].sum())
            fifth += int(guesses.sum())
            images += len(guesses)
        return {"top1": first / images, "top5": fifth / images} if images else {}
