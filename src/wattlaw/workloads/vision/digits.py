"""Handwritten digits that ship with scikit-learn (1,797 of 8 × 8 pixels), and random images."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError, MissingPartError
from wattlaw.core.plugins import how_to_install
from wattlaw.workloads.base import Split
from wattlaw.workloads.vision.image_sample import Image

SPLIT_SEED = 42
_TRAIN, _VALID = 1500, 1650

GENERATED = 2048
"""Number of images with data=generated."""


class Digits(Dataset[Image]):
    """The digits of one split (1,500 / 150 / 147 images), 1 × 8 × 8 pixels each."""

    def __init__(self, split: Split) -> None:
        pixels, labels = digits()
        order = torch.from_numpy(np.random.default_rng(SPLIT_SEED).permutation(len(labels)))
        low, high = {
            "train": (0, _TRAIN),
            "valid": (_TRAIN, _VALID),
            "test": (_VALID, len(labels)),
        }[split]
        chosen = order[low:high]
        # mean and standard deviation of the training images, whose pixels range from 0 to 16
        self.pixels = ((pixels[chosen] - 4.88) / 6.02)[:, None]
        self.labels = labels[chosen]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Image:
        return {"pixels": self.pixels[index], "label": self.labels[index]}


def digits() -> tuple[Tensor, Tensor]:
    """Return all digits: pixels (1797, 8, 8) from 0 to 16, and labels (1797,).

    The file is read without importing scikit-learn, which takes seconds.
    Raises MissingPartError without scikit-learn, DataError if the file is damaged.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise MissingPartError(f"the digits need scikit-learn: {how_to_install('sklearn')}")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        text = gzip.decompress(path.read_bytes())
        cells = text.replace(b"\n", b",").rstrip(b",").split(b",")
        rows = np.array(cells, np.float32).reshape(-1, 65)
    except (OSError, EOFError, ValueError) as error:
        advice = "install scikit-learn again"
        raise DataError(f"{path}: the digits cannot be read ({error}); {advice}") from None
    pixels, labels = rows[:, :64].reshape(-1, 8, 8), rows[:, 64].astype(np.int64)
    return torch.from_numpy(pixels.copy()), torch.from_numpy(labels)


class GeneratedImages(Dataset[Image]):
    """Random standardised images (channels, side, side), labels 0 to 9; 64 of them, repeated."""

    def __init__(self, channels: int, side: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(64, channels, side, side, generator=draw)

    def __len__(self) -> int:
        return GENERATED

    def __getitem__(self, index: int) -> Image:
        if not 0 <= index < GENERATED:
            raise IndexError(index)
        return {"pixels": self.pixels[index % 64], "label": torch.tensor(index % 10)}
