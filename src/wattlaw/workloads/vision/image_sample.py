"""The sample of every image workload."""

from __future__ import annotations

from typing import TypedDict

from torch import Tensor


class Image(TypedDict):
    """A sample, or a batch of samples with one more leading dimension.

    pixels  (…, channels, height, width), standardised
    label   (…), the class
    """

    pixels: Tensor
    label: Tensor
