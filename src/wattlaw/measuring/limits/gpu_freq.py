"""Clock limits that Slurm sets: `srun --gpu-freq`, which needs no root, and what the devices then said of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import UsageError
from wattlaw.core.files import write_whole
from wattlaw.core.reading import Note
from wattlaw.measuring.files.host_files import HostWindow, read_host, read_telemetry
from wattlaw.measuring.limits.limits import CLOCKS, Limit, write_limits
from wattlaw.measuring.reduce.series import peak, within
from wattlaw.slurm.environment import options_of_srun

ASKED = "asked-of-slurm.json"
"""Clocks that Slurm was asked for, MHz, by the name of a setting's field; in an attempt's folder."""

_CLOSE = 0.02
"""Slurm takes the nearest clock that a device offers; a difference up to this share is that."""


def with_gpu_freq(words: Sequence[str], clocks: Mapping[str, float]) -> list[str]:
    """Return a command of srun with the option that asks Slurm for clocks, MHz."""
    parts = [f"{clocks['sm_clock_mhz']:.0f}"] if "sm_clock_mhz" in clocks else []
    parts += [f"memory={clocks['memory_clock_mhz']:.0f}"] if "memory_clock_mhz" in clocks else []
    return [words[0], f"--gpu-freq={','.join(parts)}", *words[1:]]


def check_not_given(words: Sequence[str]) -> None:
    """Raise UsageError where the user asks srun for clocks already: two would be in force one after the other."""
    given = [o for o in options_of_srun(words) if o.split("=")[0] == "--gpu-freq"]
    if given or "SLURM_GPU_FREQ" in os.environ:
        where = given[0] if given else f"SLURM_GPU_FREQ={os.environ['SLURM_GPU_FREQ']}"
        raise UsageError(
            f"{where} asks Slurm for GPU clocks already; leave it out, or wattlaw's own clock limits"
        )


def tell_asked(attempt: Path, clocks: Mapping[str, float]) -> None:
    """Note in an attempt's folder what Slurm was asked for."""
    write_whole(attempt / ASKED, msgspec.json.encode(clocks))


def asked(attempt: Path) -> dict[str, float]:
    """Return the clocks that Slurm was asked for in an attempt; none where it was not."""
    try:
        return msgspec.json.decode((attempt / ASKED).read_bytes(), type=dict[str, float])
    except FileNotFoundError:
        return {}


def write_read_back(attempt: Path) -> None:
    """Write limits-<host>.json of every host from the clocks that its devices said they were told to run at."""
    wanted = asked(attempt)
    for path in attempt.glob("host-*.json") if wanted else ():
        host = read_host(path)
        telemetry = attempt / f"telemetry-{host.host}.csv"
        series = read_telemetry(telemetry) if telemetry.exists() else {}
        window = HostWindow(host, series, float("-inf"), float("inf"))
        limits = [
            Limit(
                control=name,
                device=d.uuid or d.id,
                asked=value,
                now=_told(window, d.id, name),
                by="slurm",
            )
            for d in host.devices
            if d.boundary == "gpu"
            for name, value in wanted.items()
        ]
        write_limits(attempt, host.host, limits)


def clock_notes(wanted: Mapping[str, float], windows: Sequence[HostWindow]) -> list[Note]:
    """Return the warnings about clocks asked of Slurm: not in force, or not to be read back."""
    return [
        note
        for name in CLOCKS
        if name in wanted
        for w in windows
        for d in w.host.devices
        if d.boundary == "gpu" and (note := _note(w, d.id, name, wanted[name]))
    ] or _nobody(wanted, windows)


def _note(window: HostWindow, device: str, name: str, value: float) -> Note | None:
    told = _told(window, device, name)
    seen = (
        peak(window.series[device].column(name), window.start_s, window.end_s)
        if device in window.series
        else None
    )
    where, what = f"{device} on {window.host.host}", name.removesuffix("_mhz").replace("_", " ")
    if told is not None and abs(told - value) <= _CLOSE * value:
        return None
    if told is not None:
        return Note(
            "clock_not_as_asked",
            f"{where}: its {what} was set to {told:g} MHz; {value:g} were asked of Slurm",
        )
    if seen is not None and seen > value * (1 + _CLOSE):
        return Note(
            "clock_not_as_asked",
            f"{where}: its {what} reached {seen:g} MHz; {value:g} were asked of Slurm",
        )
    below = "" if seen is None else f"; it was never seen above {seen:g} MHz"
    return Note(
        "clock_not_read_back",
        f"{where}: {what} of {value:g} MHz was asked of Slurm, not read back{below}",
    )


def _nobody(wanted: Mapping[str, float], windows: Sequence[HostWindow]) -> list[Note]:
    if not wanted or any(d.boundary == "gpu" for w in windows for d in w.host.devices):
        return []
    return [
        Note(
            "clock_not_read_back",
            "clocks were asked of Slurm, and no GPU is seen to read them back from",
        )
    ]


def _told(window: HostWindow, device: str, name: str) -> float | None:
    """Return the clock that a device said it was told to run at in the window: the middle reading, MHz."""
    if device not in window.series:
        return None
    values = sorted(
        within(window.series[device].column(f"application_{name}"), window.start_s, window.end_s)
    )
    return values[len(values) // 2] if values else None
