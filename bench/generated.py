"""Step time on real samples over that on generated ones.

The cases are SchNet on QM9, GPT-2 on text and ResNet-50 on a folder of JPEG images, with the
published models. To fit a laptop, the batches are small and the texts have 128 tokens.
Run with `make bench NAME=generated`.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _side_by_side import alternate, ratio
from wattlaw.core.plugins import WORKLOADS, load

BATCHES = 8
"""Number of different batches, used in turn."""

CASES: dict[str, tuple[int, int, dict[str, Any]]] = {
    "schnet": (32, 40, {}),
    "gpt2": (2, 8, {"length": 128}),
    "resnet50": (4, 8, {"data": "folder of images"}),
}
"""Batch size, rounds and options of each workload."""


def main(threads: int = 1) -> dict[str, Any]:
    """Return the ratio of step times by workload, real over generated, with its spread."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        images(Path(folder))
        found = {}
        for name, (batch, rounds, options) in CASES.items():
            real = options | ({"data": folder} if "data" in options else {})
            ways = {
                "real": step(name, batch, real),
                "generated": step(name, batch, options | {"data": "generated"}),
            }
            took = alternate(ways, rounds)
            found[name] = ratio(took["real"], took["generated"])
        return found


def step(name: str, batch: int, options: dict[str, Any]) -> Callable[[], None]:
    """Return a function that trains on the next of BATCHES different batches."""
    workload = load(WORKLOADS, name)("base", options)
    data = workload.data("train")
    shuffled = np.random.default_rng(0).permutation(len(data))
    collated = []
    for row in shuffled[: BATCHES * batch].reshape(BATCHES, batch):
        collated.append(workload.collate([data[int(k)] for k in row]))
    batches = itertools.cycle(collated)
    torch.manual_seed(0)
    model = workload.model()
    optimiser = workload.optimiser(model.parameters())

    def train() -> None:
        optimiser.zero_grad()
        workload.loss(model, next(batches)).backward()
        optimiser.step()

    return train


def images(folder: Path) -> None:
    """Write 40 random images of 500 × 375 pixels in the folder layout of ImageNet."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for number in range(40):
        place = folder / "train" / f"n{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(draw.integers(0, 256, (15, 20, 3), dtype=np.uint8))
        rough.resize((500, 375)).save(place / f"{number}.jpeg")


if __name__ == "__main__":
    for name, figures in main().items():
        print(name, figures)
