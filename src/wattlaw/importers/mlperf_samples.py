"""How many samples an MLPerf run trained: logs count samples, tokens, or epochs of a data set of known size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wattlaw.core.reading import Reading, missing
from wattlaw.importers.imported import number

EPOCH_SAMPLES = {
    "resnet": 1_281_167,  # ImageNet
    "ssd": 1_170_301,  # OpenImages, the MLPerf subset
    "maskrcnn": 117_266,  # COCO 2017, images with objects
    "rnnt": 278_528,  # LibriSpeech after the length limit
    "unet3d": 168,  # KiTS19
    "dlrm": 4_195_197_692,  # Criteo 1 TB
    "dlrm_dcnv2": 4_195_197_692,
    "gnn": 94_605_581,  # IGBH training nodes
}
"""Samples of an epoch, from the rules of MLPerf Training and the logs' own train_samples."""

_COCO_SSD = 117_266
GPT3_TOKENS = 2_048
"""GPT-3 logs count tokens; a sample is a sequence of so many."""


def samples_trained(
    benchmark: str, progress: Mapping[str, float], values: Mapping[str, Any], edition: str
) -> Reading:
    """Return the samples trained until the target; ``progress`` holds the last samples_count and epoch_num."""
    counted, epochs = progress.get("samples_count"), progress.get("epoch_num")
    if counted:
        tokens = benchmark == "gpt3" and counted > 1e8
        return Reading(counted / GPT3_TOKENS if tokens else counted, "measured", "as logged")
    if not epochs:
        return missing("the log counts neither samples nor epochs")
    if benchmark == "gpt3":
        return Reading(epochs / GPT3_TOKENS, "measured", "tokens as logged ÷ 2048 a sequence")
    if epochs >= 1e5:
        return Reading(epochs, "measured", "logged as epoch_num, which counts samples here")
    if benchmark == "bert":
        total = number(values.get("train_samples"))
        if epochs == 1 and total:
            return Reading(total, "measured", "train_samples as logged")
        return missing(f"{epochs:g} epochs of BERT are no count of samples")
    size: float | None = EPOCH_SAMPLES.get(benchmark)
    if benchmark == "ssd" and (edition in ("v0.7", "v1.0", "v1.1") or epochs > 30):
        size = _COCO_SSD
    size = size or number(values.get("train_samples"))
    if not size:
        return missing(f"the size of {benchmark}'s data set is unknown")
    return Reading(epochs * size, "measured", f"{epochs:g} epochs of {size:,.0f}")
