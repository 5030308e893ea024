"""Real images that ship in an installed package: scikit-learn's 1,797 handwritten digits of 8 × 8 pixels."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, MissingPartError, SettingError
from wattlaw.core.plugins import how_to_install
from wattlaw.workloads.asked import GENERATED_NOTE, OPTIONS, asked, left_out
from wattlaw.workloads.base import Split, Workload

SPLIT_SEED = 42
_TRAIN, _VALID = 1500, 1650

GENERATED = 2048
"""So many images there are where data=generated."""


class Image(TypedDict):
    """A sample or a batch of them: pixels (…, channels, height, width), standardised, and the class (…)."""

    pixels: Tensor
    label: Tensor


class Digits(Dataset[Image]):
    """The digits of one part (1,500 / 150 / 147 images), 1 × 8 × 8 each."""

    def __init__(self, split: Split) -> None:
        pixels, labels = digits()
        order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(labels)))
        low, high = {"train": (0, _TRAIN), "valid": (_TRAIN, _VALID), "test": (_VALID, len(labels))}[split]
        chosen = order[low:high]
        # mean and deviation of the training images, in sixteenths
        self.pixels = ((pixels[chosen] - 4.88) / 6.02)[:, None]
        self.labels = labels[chosen]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Image:
        return {"pixels": self.pixels[index], "label": self.labels[index]}


def digits() -> tuple[Tensor, Tensor]:
    """Return all digits: pixels (1797, 8, 8) from 0 to 16, and labels (1797,).

    The file is found without importing scikit-learn, which takes seconds.
    Raises MissingPartError without scikit-learn, DataError where the file is broken.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingPartError(f"the digits need scikit-learn: {how_to_install('sklearn')}")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes())
        rows = np.array(text.replace(b"\n", b",").rstrip(b",").split(b","), np.float32).reshape(-1, 65)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the digits cannot be read ({error}); install scikit-learn again") from None
    return torch.from_numpy(rows[:, :64].reshape(-1, 8, 8).copy()), torch.from_numpy(rows[:, 64].astype(np.int64))


class Generated(Dataset[Image]):
    """Random images of a size, standardised, with the labels of the digits; 64 different ones again and again."""

    def __init__(self, channels: int, side: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(64, channels, side, side, generator=draw)

    def __len__(self) -> int:
        return GENERATED

    def __getitem__(self, index: int) -> Image:
        if not 0 <= index < GENERATED:
            raise IndexError(index)
        return {"pixels": self.pixels[index % 64], "label": torch.tensor(index % 10)}


class ImageWorkload(Workload):
    """A network that classifies images of ``side`` × ``side`` pixels and some channels.

    Smaller images are enlarged to that size, so that ``base`` costs what its published form does.
    Options: ``data``, a folder in ImageNet's layout in place of the digits (for ``base``), or "generated"; ``on_bad``,
    "fail" or "skip".
    """

    presets = ("tiny", "base")
    batch: ClassVar = {"tiny": 64, "base": 32}
    options: ClassVar = OPTIONS
    side: int
    channels: int

    def data(self, split: Split) -> Dataset[Image]:
        wanted = asked(self.chosen)
        self.notes = [GENERATED_NOTE] if wanted.is_generated else []
        if wanted.is_generated:
            # digits are enlarged on the device; images of a folder come as the network takes them
            return Generated(1, 8) if self.preset == "tiny" else Generated(self.channels, self.side)
        if wanted.path is None:
            return Digits(split)
        if self.channels != 3:
            raise SettingError("option data is a folder of colour images; preset tiny takes grey digits, use base")
        from wattlaw.workloads.vision.folder import ImageFolder

        folder = ImageFolder(wanted.path, split, self.side, wanted.on_bad)
        self.notes = left_out(wanted.path, folder.skipped, len(folder), folder.first_fault)
        return folder

    def loss(self, model: nn.Module, batch: Image) -> Tensor:
        return F.cross_entropy(model(self.fitted(batch["pixels"])), batch["label"])

    def scores(self, model: nn.Module, batch: Image) -> Tensor:
        """Return the class scores of a batch, (B, classes)."""
        scores: Tensor = model(self.fitted(batch["pixels"]))
        return scores

    def fitted(self, pixels: Tensor) -> Tensor:
        """Return images as the network takes them: enlarged on the device, grey repeated in each channel."""
        if pixels.shape[-1] != self.side:
            pixels = F.interpolate(pixels, size=(self.side, self.side), mode="bilinear")
        if pixels.shape[1] != self.channels:
            pixels = pixels.expand(-1, self.channels, -1, -1)
        return pixels

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
