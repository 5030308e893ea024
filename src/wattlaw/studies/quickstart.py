"""The first study that anybody runs: what does training cost on this machine, and do more devices help?"""

from __future__ import annotations

from typing import Any

from wattlaw.runner.node_devices import NodeDevices
from wattlaw.studies.role import Study

NAMES = {"quickstart": "QuickStart"}


class QuickStart(Study):
    """Three workloads of three domains on real data, over devices and batch, in fresh processes."""

    title = "What training costs on this machine"
    paper = "wattlaw's own first look, in the manner of arXiv 2201.12423"
    question = "How much faster is training on more devices here, and which setting costs least?"

    def sweep(self, place: NodeDevices, scale: str) -> dict[str, Any]:
        over: dict[str, list[Any]] = {
            "workload": ["schnet", "gpt2", "resnet50"],
            "devices": device_counts(place),
            "batch_per_device": [16, 32],
        }
        setting: dict[str, Any] = {"preset": "tiny", "stop": {"steps": 80}, "warmup_steps": 10}
        if place.gpus:
            over["precision"] = ["fp32", "bf16"]
            setting["stop"] = {"steps": 200}
        else:
            # one thread a process: then two processes stand for two devices, not for one split in two
            setting["threads"] = 1
        return {
            "name": "quickstart",
            "repeats": 3,
            "time_limit_s": 120.0,
            "setting": setting,
            "over": over,
        }


def device_counts(place: NodeDevices) -> list[int]:
    """Return the device counts to compare: all counts of GPUs up to eight, else one and two processes."""
    return list(range(1, min(len(place.gpus), 8) + 1)) if place.gpus else [1, 2]
