"""ImageNet's layout: images as ``FOLDER/train/<class>/<image>`` and ``FOLDER/val/<class>/<image>``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from wattlaw.core.errors import DataError
from wattlaw.core.plugins import need
from wattlaw.workloads.base import Split
from wattlaw.workloads.vision.image import Image

ENDINGS = {".jpeg", ".jpg", ".png", ".webp", ".bmp"}
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels, red, green, blue, from 0 to 1, as every published model takes them."""

AREA, SHAPE = (0.08, 1.0), (3 / 4, 4 / 3)
"""Share of the image that is seen in training, and width over height of it (Szegedy et al., arXiv 1409.4842)."""

LOOKED_AT = 20_000
"""So many files, evenly spread, are looked at before training starts; all where bad ones are to be left out."""

_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG": b"IEND"}
"""How a file of a kind begins, and what its last bytes hold."""

_ERRORS = (OSError, SyntaxError, ValueError, NotImplementedError)
"""What Pillow raises for a file that is no image, or not a whole one, besides its own error for one too large."""


class ImageFolder(Dataset[Image]):
    """The images of one part; "valid" and "test" are both ``val``.

    To train, a random part of the image, mirrored or not, is drawn (from torch's seed); else the middle of it.
    Files are looked at before training: one that is empty, cut off or no image raises DataError naming it, or is left
    out with ``on_bad`` "skip"; ``skipped`` counts these. None becomes a blank sample.
    """

    def __init__(self, folder: Path, split: Split, side: int, on_bad: str = "fail") -> None:
        self.pillow = need("PIL.Image", "an image folder")
        self.errors = (*_ERRORS, self.pillow.DecompressionBombError)
        part = folder / ("train" if split == "train" else "val")
        if not part.is_dir():
            raise DataError(
                f"{part}: there is no such folder; images are looked for in train/CLASS/ and val/CLASS/"
            )
        self.side, self.training = side, split == "train"
        self.classes = class_names(folder)
        found = [(p, k) for k, name in enumerate(self.classes) for p in _images(part / name)]
        if not found:
            raise DataError(
                f"{part}: no image in it ({', '.join(sorted(ENDINGS))} in a folder for each class)"
            )
        self.files, self.skipped, self.first_fault = found, 0, ""
        if on_bad == "skip":
            self._leave_out_bad()
        else:
            for index in (
                np.linspace(0, len(found) - 1, min(len(found), LOOKED_AT)).astype(int).tolist()
            ):
                if fault := self._fault(found[index][0]):
                    raise DataError(
                        f"{found[index][0]}: {fault}; leave such out with --on-bad skip"
                    )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Image:
        path, label = self.files[index]
        try:
            with self.pillow.open(path) as picture:
                square = self._square(self._coloured(picture))
        except self.errors as error:
            raise DataError(f"{path}: the image cannot be read ({error})") from None
        pixels = torch.from_numpy(np.asarray(square, np.float32).copy()).permute(2, 0, 1) / 255
        mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(DEVIATION)[:, None, None]
        return {"pixels": (pixels - mean) / deviation, "label": torch.tensor(label)}

    def _leave_out_bad(self) -> None:
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
        """Return what is wrong with a file, "" for nothing; only an odd one is decoded."""
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

    def _coloured(self, picture: Any) -> Any:
        if picture.mode == "F":
            raise ValueError("its grey levels are floating-point numbers of an unknown range")
        if picture.mode.startswith("I"):
            # grey levels of 16 bits, which Pillow would cut off at 255
            levels = np.asarray(picture).astype(np.int64).clip(0, 65535) // 257
            picture = self.pillow.fromarray(levels.astype(np.uint8))
        return picture.convert("RGB")

    def _square(self, picture: Any) -> Any:
        box = drawn_box(*picture.size) if self.training else middle_box(*picture.size)
        square = picture.resize((self.side, self.side), self.pillow.Resampling.BILINEAR, box)
        mirrored = self.training and float(torch.rand(())) < 0.5
        return square.transpose(self.pillow.Transpose.FLIP_LEFT_RIGHT) if mirrored else square


def class_names(folder: Path) -> list[str]:
    """Return the classes of a folder, which are those of its training part; a number for each in order."""
    return (
        sorted(p.name for p in (folder / "train").iterdir() if p.is_dir())
        if (folder / "train").is_dir()
        else []
    )


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in ENDINGS)


def drawn_box(width: int, height: int) -> tuple[float, float, float, float]:
    """Return a random part of an image: left, upper, right, lower; of random area and shape, within the image."""
    chance = torch.rand(4).tolist()
    area = width * height * (AREA[0] + (AREA[1] - AREA[0]) * chance[0])
    shape = math.exp(math.log(SHAPE[0]) + chance[1] * math.log(SHAPE[1] / SHAPE[0]))
    wide, high = min(width, math.sqrt(area * shape)), min(height, math.sqrt(area / shape))
    left, upper = chance[2] * (width - wide), chance[3] * (height - high)
    return left, upper, left + wide, upper + high


def middle_box(width: int, height: int) -> tuple[float, float, float, float]:
    """Return the middle seven eighths of an image, a square: left, upper, right, lower."""
    size = 0.875 * min(width, height)
    left, upper = (width - size) / 2, (height - size) / 2
    return left, upper, left + size, upper + size
