"""How the measurements of one command on several nodes, one a node, become one record."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from wattlaw.core.files import write_whole
from wattlaw.measuring.files.host import host_name, read_host

_WAIT_S = 60.0
_LOOK_S = 0.1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """command-<host>.json: when the command ran on one node (s on its monotonic clock) and how it ended there."""

    host: str
    start_s: float
    end_s: float
    exit_code: int


def tell_end(attempt: Path, start_s: float, end_s: float, exit_code: int) -> None:
    """Note when the command ran on this node; times on its monotonic clock, s."""
    part = Part(host=host_name(), start_s=start_s, end_s=end_s, exit_code=exit_code)
    write_whole(attempt / f"command-{part.host}.json", msgspec.json.encode(part))


def wait_for_all_ends(attempt: Path, nodes: int) -> list[Part]:
    """Wait up to a minute for the command to end on every node, so that no sampler ends before the last of them."""
    until = time.monotonic() + _WAIT_S
    while len(paths := sorted(attempt.glob("command-*.json"))) < nodes and time.monotonic() < until:
        time.sleep(_LOOK_S)
    return [msgspec.json.decode(p.read_bytes(), type=Part) for p in paths]


def wait_for_all_samplers(attempt: Path, nodes: int) -> None:
    """Wait up to a minute for every node's sampler to have written its last row."""
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        hosts = [read_host(p) for p in attempt.glob("host-*.json")]
        if sum(h.clock_end is not None for h in hosts) >= nodes:
            return
        time.sleep(_LOOK_S)


def common_window(attempt: Path, parts: list[Part]) -> tuple[float, float]:
    """Return the window in which the command ran on all nodes: latest start to latest end, on this host's clock, s."""
    offsets = {p.host: read_host(attempt / f"host-{p.host}.json").offset_s for p in parts}
    here = offsets[host_name()]
    return max(p.start_s + offsets[p.host] for p in parts) - here, max(
        p.end_s + offsets[p.host] for p in parts
    ) - here
