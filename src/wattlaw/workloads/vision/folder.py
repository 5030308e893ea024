"""ImageNet's layout: images as ``FOLDER/train/<class>/<image>`` and ``FOLDER/val/<class>/<image>``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.base import Split
from wattlaw.workloads.vision.images import Image

ENDINGS = {".jpeg", ".jpg", ".png", ".webp", ".bmp"}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, red, green, blue, from 0 to 1, as every published model takes them."""


class ImageFolder(Dataset[Image]):
    """The images of one part; "valid" and "test" are both ``val``.

    To train, a random square of 25 to 100 % of the image, mirrored or not, is drawn (from torch's seed);
    else the middle of it. With ``on_bad`` "skip" every file is opened once at the start, and ``skipped`` counts those
    left out. An image that cannot be read later raises DataError naming the file; none becomes a blank sample.
    """

    def __init__(self, folder: Path, split: Split, side: int, on_bad: str = "fail") -> None:
        self.pillow = need("PIL.Image", "an image folder")
        part = folder / ("train" if split == "train" else "val")
        if not part.is_dir():
            raise DataError(f"{part}: there is no such folder; images are looked for in train/CLASS/ and val/CLASS/")
        self.side, self.training = side, split == "train"
        self.classes = sorted(p.name for p in part.iterdir() if p.is_dir())
        found = [(p, k) for k, name in enumerate(self.classes) for p in sorted((part / name).iterdir())
                 if p.suffix.lower() in ENDINGS]  # fmt: skip
        self.files = [(p, k) for p, k in found if on_bad != "skip" or self._opens(p)]
        self.skipped = len(found) - len(self.files)
        if not self.files:
            raise DataError(f"{part}: no image in it")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image:
        path, label = self.files[index]
        try:
            with self.pillow.open(path) as picture:
                square = self._square(picture.convert("RGB"))
        except (OSError, SyntaxError) as error:
            raise DataError(f"{path}: the image cannot be read ({error})") from None
        pixels = torch.from_numpy(np.asarray(square, np.float32).copy()).permute(2, 0, 1) / 255
        mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
        return {"pixels": (pixels - mean) / deviation, "label": torch.tensor(label)}

    def _opens(self, path: Path) -> bool:
        try:
            with self.pillow.open(path) as picture:
                picture.verify()
        except (OSError, SyntaxError):
            return False
        return True

    def _square(self, picture: Any) -> Any:
        short = min(picture.size)
        chance = torch.rand(4) if self.training else torch.tensor([0.0, 0.5, 0.5, 1.0])
        # the middle seven eighths, or a random share of the area
        size = round(short * (float(0.25 + 0.75 * chance[0]) ** 0.5 if self.training else 0.875))
        left, top = ((round(float(c) * (whole - size))) for c, whole in zip(chance[1:3], picture.size, strict=True))
        square = picture.resize(
            (self.side, self.side), self.pillow.Resampling.BILINEAR, (left, top, left + size, top + size)
        )
        mirrored = self.training and float(chance[3]) < 0.5
        return square.transpose(self.pillow.Transpose.FLIP_LEFT_RIGHT) if mirrored else square
