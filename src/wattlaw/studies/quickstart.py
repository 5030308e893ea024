"""The quick start: what training costs on this machine, and how much more devices help."""

from __future__ import annotations

from wattlaw.core.units import counted
from wattlaw.runner.node_devices import NodeDevices
from wattlaw.studies.result import StudyResult
from wattlaw.studies.role import Study, StudyInputs, SweepValues

NAMES = {"quickstart": "QuickStart"}

MAX_GPUS = 8
"""GPUs of one node that the study compares at most."""


class QuickStart(Study):
    """Three workloads of three domains on real data, over devices and batch size, in fresh
    processes.
    """

    name = "quickstart"
    title = "What training costs on this machine"
    paper = "wattlaw's own first measurement, with the method of arXiv 2201.12423"
    question = "How much faster is training on more devices here, and which setting costs least?"
    scales = ("tiny", "laptop")
    has_report = True

    def sweep(self, node: NodeDevices, scale: str) -> SweepValues:
        if scale == "tiny":
            return _tiny_sweep(self.name)
        over: dict[str, list[object]] = {
            "workload": ["schnet", "gpt2", "resnet50"],
            "devices": list(device_counts(node)),
            "batch_per_device": [16, 32],
        }
        setting: dict[str, object] = {"preset": "tiny", "warmup_steps": 10}
        if node.gpus:
            over["precision"] = ["fp32", "bf16"]
            setting["stop"] = {"steps": 200}
        else:
            # with one thread each, two processes act as two devices, not as one that is split
            setting |= {"threads": 1, "stop": {"steps": 80}}
        return {
            "name": self.name,
            "repeats": 3,
            "time_limit_s": 120.0,
            "setting": setting,
            "over": over,
        }

    def analyse(self, inputs: StudyInputs) -> StudyResult:
        """Return a result whose page is the report of all runs, with its laws and advice."""
        workloads = ", ".join(sorted({run.setting.workload for run in inputs.runs}))
        failed = sum(run.state == "failed" for run in inputs.runs)
        work = f"{counted(len(inputs.runs), 'trial')} of {workloads} ran in fresh processes"
        work += f"; {failed} failed." if failed else "."
        return StudyResult(work=work)


def _tiny_sweep(name: str) -> SweepValues:
    return {
        "name": name,
        "repeats": 1,
        "time_limit_s": 60.0,
        "setting": {"workload": "schnet", "preset": "tiny", "threads": 1, "stop": {"steps": 10}},
        "over": {"devices": [1, 2], "batch_per_device": [16]},
    }


def device_counts(node: NodeDevices) -> range:
    """Return the device counts to compare: all counts of GPUs up to eight, otherwise one and two
    processes.
    """
    return range(1, min(len(node.gpus), MAX_GPUS) + 1) if node.gpus else range(1, 3)
