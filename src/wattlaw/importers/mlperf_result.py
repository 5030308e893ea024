"""One result of MLPerf Training: its log parsed, its samples counted, the run that it makes.

Time runs from run_start to run_stop by the log's time stamps; samples are those trained in that
time; the rate is one over the other. The throughput that submitters log has no common unit, so
it is only compared with that rate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from wattlaw.core.reading import Note, Reading, measured, missing
from wattlaw.core.run import Machine, Run
from wattlaw.core.setting import setting_from
from wattlaw.importers.importer import Imported, number

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
"""Samples of an epoch, from the rules of MLPerf Training and the train_samples of the logs."""

GPT3_TOKENS = 2_048
"""Tokens of a sample: GPT-3 logs count tokens, and a sample is a sequence."""

_COCO_SSD = 117_266
_SSD_ROUNDS_WITH_COCO = ("v0.7", "v1.0", "v1.1")
_MARK = ":::MLLOG"
_PROGRESS = ("samples_count", "epoch_num", "step_num")


class Event(NamedTuple):
    """One event of a log: ``:::MLLOG {"key": …, "value": …, "time_ms": …, "metadata": {…}}``."""

    key: object
    value: object
    time_ms: float | None
    metadata: dict[str, object]


@dataclass
class Log:
    """The facts of one log.

    values          first value of each key
    progress        last samples_count, epoch_num or step_num of the training
    throughputs     throughputs as logged, in the submitter's unit
    start_ms, stop_ms   run_start and run_stop, ms since 1970
    status          "success" if the quality was reached
    """

    values: dict[str, str | int | float] = field(default_factory=dict)
    progress: dict[str, float] = field(default_factory=dict)
    throughputs: list[float] = field(default_factory=list)
    start_ms: float | None = None
    stop_ms: float | None = None
    status: str = ""


@dataclass(frozen=True)
class TrainingResult:
    """One published result, from a log or from a row of a table. ``seconds`` is its run time."""

    benchmark: str
    nodes: int
    accelerators_per_node: int
    global_batch: float | None
    seconds: float
    samples: Reading
    throughputs: list[float]
    status: str
    edition: str
    submitter: str
    accelerator: str

    def run(
        self,
        trial: str,
        repeat: int = 0,
        energy: Reading | None = None,
        notes: tuple[Note, ...] = (),
    ) -> Run:
        """Return the result as a run. Raises SettingError for impossible counts of devices."""
        devices = self.nodes * self.accelerators_per_node
        setting: dict[str, object] = {
            "workload": self.benchmark,
            "nodes": self.nodes,
            "devices_per_node": self.accelerators_per_node,
        }
        share = (self.global_batch or 0.0) / devices
        if share >= 1 and share == int(share):
            setting["batch_per_device"] = int(share)
        quantities = self._quantities()
        if energy is not None:
            quantities["node_energy_j"] = energy
        is_done = self.status in ("", "success")
        error = "" if is_done else f"the log ends with status {self.status!r}"
        if is_done:
            # a run of MLPerf ends when the quality of the benchmark is reached
            quantities["target_time_s"] = quantities["elapsed_s"]
            quantities["target_samples"] = quantities["samples"]
        labels = {"round": self.edition, "submitter": self.submitter}
        return Run(
            setting=setting_from(setting),
            trial=trial,
            sweep=f"mlperf-{self.edition}".rstrip("-"),
            repeat=repeat,
            state="done" if is_done else "failed",
            source="mlperf",
            machine=Machine(device_name=self.accelerator, hosts=self.nodes),
            labels={name: value for name, value in labels.items() if value},
            quantities=quantities,
            warnings=(*notes, *_throughput_notes(quantities, self.throughputs, devices)),
            error=error,
        )

    def _quantities(self) -> dict[str, Reading]:
        found = {
            "elapsed_s": measured(self.seconds, "run_start to run_stop"),
            "samples": self.samples,
        }
        if self.global_batch:
            found["global_batch"] = measured(self.global_batch, "as logged")
        if self.samples.value:
            rate = self.samples.value / self.seconds
            found["samples_per_s"] = measured(rate, "samples ÷ time, evaluation included")
            if self.global_batch and rate:
                how = "time ÷ steps, evaluation included"
                found["step_time_s"] = measured(self.global_batch / rate, how)
        return found


def parse_log(text: str, name: str, found: Imported) -> Log:
    """Parse a log; lines that are not JSON are reported in ``found``."""
    log = Log()
    at_stop: dict[str, float] = {}
    for line, event in events(text, name, found):
        key, value = event.key, event.value
        if not isinstance(key, str):
            found.skip(name, "an event without a key", line)
            continue
        if key == "run_start":
            if log.start_ms is None:
                log.start_ms = event.time_ms
        elif key == "run_stop":
            log.stop_ms = event.time_ms
            log.status = str(event.metadata.get("status", ""))
            at_stop = _progress_of(event)
        elif key == "tracked_stats" and isinstance(value, dict):
            throughput = number(value.get("throughput"))
            if throughput:
                log.throughputs.append(throughput)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            log.values.setdefault(key, value)
        if key in ("eval_stop", "eval_accuracy", "block_stop"):
            log.progress.update(_progress_of(event))
    log.status = log.status or str(log.values.get("status", ""))
    _settle_progress(log, at_stop)
    return log


def _settle_progress(log: Log, at_stop: dict[str, float]) -> None:
    evaluated = number(log.values.get("eval_samples"))
    if "epoch_num" in log.progress and log.progress.get("samples_count", -1) == evaluated:
        del log.progress["samples_count"]  # samples of the evaluation, not of the training
    steps = at_stop.pop("step_num", None)
    batch = number(log.values.get("global_batch_size"))
    if steps and batch and not at_stop:
        # checkpoints may be evaluated after run_stop, so the steps at run_stop count
        at_stop["samples_count"] = steps * batch
    log.progress = at_stop or log.progress


def events(text: str, name: str, found: Imported) -> Iterator[tuple[int, Event]]:
    """Yield (line, event) of the MLLOG lines of a log; some are behind the prefix of a rank."""
    for line, content in enumerate(text.splitlines(), 1):
        _, mark, body = content.partition(_MARK)
        if not mark:
            continue
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            found.skip(name, "an event that is not JSON", line)
            continue
        if isinstance(event, dict):
            metadata = event.get("metadata")
            yield (
                line,
                Event(
                    key=event.get("key"),
                    value=event.get("value"),
                    time_ms=number(event.get("time_ms")),
                    metadata=metadata if isinstance(metadata, dict) else {},
                ),
            )


def _progress_of(event: Event) -> dict[str, float]:
    found = {}
    for unit in _PROGRESS:
        value = number(event.metadata.get(unit))
        if value:
            found[unit] = value
    return found


def samples_trained(
    benchmark: str, progress: Mapping[str, float], values: Mapping[str, object], edition: str
) -> Reading:
    """Return the samples trained until the quality was reached.

    Logs count samples, tokens, or epochs of a data set of known size. ``progress`` has the last
    samples_count and epoch_num, ``values`` the values of a log or the cells of a row.
    """
    samples, epochs = progress.get("samples_count"), progress.get("epoch_num")
    train_samples = number(values.get("train_samples"))
    if samples:
        if benchmark == "gpt3" and samples > 1e8:
            samples /= GPT3_TOKENS
        return measured(samples, "as logged")
    if not epochs:
        return missing("the log counts neither samples nor epochs")
    if benchmark == "gpt3":
        return measured(epochs / GPT3_TOKENS, "tokens as logged ÷ 2048 of a sequence")
    if epochs >= 1e5:
        return measured(epochs, "logged as epoch_num, which counts samples here")
    if benchmark == "bert":
        if epochs == 1 and train_samples:
            return measured(train_samples, "train_samples as logged")
        return missing(f"{epochs:g} epochs of BERT do not say how many samples")
    size: float | None = EPOCH_SAMPLES.get(benchmark)
    if benchmark == "ssd" and (edition in _SSD_ROUNDS_WITH_COCO or epochs > 30):
        size = _COCO_SSD
    size = size or train_samples
    if not size:
        return missing(f"the size of the data set of {benchmark} is unknown")
    return measured(epochs * size, f"{epochs:g} epochs of {size:,.0f}")


def _throughput_notes(
    quantities: Mapping[str, Reading], logged: list[float], devices: int
) -> tuple[Note, ...]:
    """Return a warning if the logged throughput differs from samples ÷ time."""
    if "samples_per_s" not in quantities or not logged:
        return ()
    rate = quantities["samples_per_s"].value
    if not rate:
        return ()
    median = sorted(logged)[len(logged) // 2]
    units = {"": 1.0, "samples per accelerator": 1.0 / devices, "tokens": float(GPT3_TOKENS)}
    for unit, factor in units.items():
        # evaluation and start-up lower the rate, so the logged one may be up to a third higher
        if 0.9 < median / (rate * factor) < 1.5:
            if not unit:
                return ()
            message = f"the log counts {unit}; the rate is samples ÷ time"
            return (Note("throughput_unit", message),)
    message = f"the log states {median:.4g} per second; samples ÷ time is {rate:.4g}, which is used"
    return (Note("throughput_disagrees", message),)
