"""Images in ImageNet's layout: FOLDER/train/CLASS/IMAGE and FOLDER/val/CLASS/IMAGE."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.base import Split
from wattlaw.workloads.vision.image_sample import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

ENDINGS = {".jpeg", ".jpg", ".png", ".webp", ".bmp"}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue channels, scaled to 0–1, as published models use them."""

AREA_RANGE, ASPECT_RANGE = (0.08, 1.0), (3 / 4, 4 / 3)
"""Of random crops: share of the area, and width / height (Szegedy et al., arXiv 1409.4842)."""

MAX_CHECKED = 20_000
"""Files, evenly spaced, that are checked before training starts; all files with on_bad=skip."""

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}
"""The first bytes of an image file, and what its last bytes contain when it is complete."""

_ERRORS = (OSError, SyntaxError, ValueError, NotImplementedError)
"""What Pillow raises for an incomplete image, besides its own error for a huge one."""


class ImageFolder(Dataset[Image]):
    """The images of one split; "valid" and "test" are both ``val``.

    Training takes a random crop, flipped half of the time (from torch's seed); evaluation takes
    the centre crop. Files are checked before training: an empty, truncated or invalid one raises
    DataError with its name, or is skipped with ``on_bad`` "skip"; ``skipped`` counts these.
    """

    def __init__(self, folder: Path, split: Split, side: int, on_bad: str = "fail") -> None:
        self.pillow = need("PIL.Image", "an image folder")
        self.errors = (*_ERRORS, self.pillow.DecompressionBombError)
        part = folder / ("train" if split == "train" else "val")
        if not part.is_dir():
            expected = "images are expected in train/CLASS/ and val/CLASS/"
            raise DataError(f"{part}: there is no such folder; {expected}")
        self.side, self.training = side, split == "train"
        self.classes = class_names(folder)
        self.files: list[tuple[Path, int]] = []
        for label, name in enumerate(self.classes):
            self.files += [(path, label) for path in _images(part / name)]
        if not self.files:
            endings = ", ".join(sorted(ENDINGS))
            raise DataError(f"{part}: no image in it ({endings} in a folder for each class)")
        self.skipped, self.first_fault = 0, ""
        if on_bad == "skip":
            self._skip_bad()
        else:
            self._refuse_bad()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image:
        path, label = self.files[index]
        try:
            with self.pillow.open(path) as picture:
                square = self._crop(self._to_rgb(picture))
        except self.errors as error:
            raise DataError(f"{path}: the image cannot be read ({error})") from None
        pixels = torch.from_numpy(np.asarray(square, np.float32).copy()).permute(2, 0, 1) / 255
        mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
        return {"pixels": (pixels - mean) / deviation, "label": torch.tensor(label)}

    def _refuse_bad(self) -> None:
        checked = min(len(self.files), MAX_CHECKED)
        for index in np.linspace(0, len(self.files) - 1, checked).astype(int).tolist():
            path = self.files[index][0]
            if fault := self._fault(path):
                raise DataError(f"{path}: {fault}; skip such files with --on-bad skip")

    def _skip_bad(self) -> None:
        good = []
        for path, label in self.files:
            if fault := self._fault(path):
                self.first_fault = self.first_fault or f"{path}: {fault}"
            else:
                good.append((path, label))
        self.skipped, self.files = len(self.files) - len(good), good
        if not good:
            raise DataError(f"no usable image ({self.first_fault})")

    def _fault(self, path: Path) -> str:
        """Return what is wrong with a file, or "". Only a suspicious file is decoded."""
        try:
            with open(path, "rb") as file:
                head = file.read(4)
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                tail = file.read()
            if any(head.startswith(begin) and end in tail for begin, end in _ENDS.items()):
                return ""
            if not tail:
                return "the file is empty"
            with self.pillow.open(path) as picture:
                picture.load()
        except self.errors as error:
            return f"the image cannot be read ({error})"
        return ""

    def _to_rgb(self, picture: PillowImage) -> PillowImage:
        if picture.mode == "F":
            raise ValueError("its grey levels are floating-point numbers of unknown range")
        if picture.mode.startswith("I"):
            # 16-bit grey levels, which Pillow would clip at 255
            levels = np.asarray(picture).astype(np.int64).clip(0, 65535) // 257
            picture = self.pillow.fromarray(levels.astype(np.uint8))
        return picture.convert("RGB")

    def _crop(self, picture: PillowImage) -> PillowImage:
        box = random_crop(*picture.size) if self.training else centre_crop(*picture.size)
        size = (self.side, self.side)
        square = picture.resize(size, self.pillow.Resampling.BILINEAR, box)
        if self.training and float(torch.rand(())) < 0.5:
            return square.transpose(self.pillow.Transpose.FLIP_LEFT_RIGHT)
        return square


def class_names(folder: Path) -> list[str]:
    """Return the class names in order: the folders of the training split."""
    training = folder / "train"
    if not training.is_dir():
        return []
    return sorted(path.name for path in training.iterdir() if path.is_dir())


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)


def random_crop(width: int, height: int) -> tuple[float, float, float, float]:
    """Return a random crop of an image as (left, upper, right, lower)."""
    chance = torch.rand(4).tolist()
    area = width * height * (AREA_RANGE[0] + (AREA_RANGE[1] - AREA_RANGE[0]) * chance[0])
    shape = math.exp(
        math.log(ASPECT_RANGE[0]) + chance[1] * math.log(ASPECT_RANGE[1] / ASPECT_RANGE[0])
    )
    wide, high = min(width, math.sqrt(area * shape)), min(height, math.sqrt(area / shape))
    left, upper = chance[2] * (width - wide), chance[3] * (height - high)
    return left, upper, left + wide, upper + high


def centre_crop(width: int, height: int) -> tuple[float, float, float, float]:
    """Return the central square, 7/8 of the shorter side, as (left, upper, right, lower)."""
    size = 0.875 * min(width, height)
    left, upper = (width - size) / 2, (height - size) / 2
    return left, upper, left + size, upper + size
