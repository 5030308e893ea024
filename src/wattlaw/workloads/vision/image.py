"""One sample of every image workload."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class Image(TypedDict):
    """A sample or a batch of them: pixels (…, channels, height, width), standardised, and the class (…)."""

    pixels: Tensor
    label: Tensor
