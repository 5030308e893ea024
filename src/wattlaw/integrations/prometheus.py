"""Serves the live readings of a sampler to Prometheus, in its text format (version 0.0.4)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from wattlaw.core.errors import UsageError
from wattlaw.devices.meter import DeviceInfo, Sample

_METRICS = {
    "power_w": ("wattlaw_power_watts", "gauge", "Power of the device."),
    "energy_j": ("wattlaw_energy_joules_total", "counter", "Energy counter of the device."),
    "utilisation": ("wattlaw_utilisation_ratio", "gauge", "Busy share of the device, 0 to 1."),
    "memory_used_bytes": (
        "wattlaw_memory_used_bytes",
        "gauge",
        "Memory in use on the device, or by the job.",
    ),
    "temperature_c": ("wattlaw_temperature_celsius", "gauge", "Temperature of the device."),
    "sm_clock_mhz": ("wattlaw_sm_clock_megahertz", "gauge", "SM clock of the device."),
    "memory_clock_mhz": ("wattlaw_memory_clock_megahertz", "gauge", "Memory clock of the device."),
    "cpu_time_s": ("wattlaw_cpu_time_seconds_total", "counter", "CPU time of the job's processes."),
    "received_bytes": (
        "wattlaw_pcie_received_bytes_total",
        "counter",
        "Bytes that the device received over PCIe.",
    ),
    "sent_bytes": (
        "wattlaw_pcie_sent_bytes_total",
        "counter",
        "Bytes that the device sent over PCIe.",
    ),
    "nvlink_received_bytes": (
        "wattlaw_nvlink_received_bytes_total",
        "counter",
        "Bytes received over NVLink.",
    ),
    "nvlink_sent_bytes": ("wattlaw_nvlink_sent_bytes_total", "counter", "Bytes sent over NVLink."),
    "processes": (
        "wattlaw_processes",
        "gauge",
        "Processes of the job; on a GPU those that are not the job's.",
    ),
}

Live = Callable[[], Mapping[str, Sample]]


def exposition(live: Mapping[str, Sample], devices: Mapping[str, DeviceInfo], host: str) -> str:
    """Return readings in Prometheus' text format; what was not read has no line."""
    lines = []
    for field, (name, kind, words) in _METRICS.items():
        rows = [
            (device, value)
            for device, s in live.items()
            if (value := getattr(s, field)) is not None
        ]
        if rows:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]
            lines += [
                f"{name}{_labels(device, devices.get(device), host)} {value}"
                for device, value in rows
            ]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serving(
    port: int,
    live: Live,
    devices: Callable[[], tuple[DeviceInfo, ...]],
    host: str,
    address: str = "127.0.0.1",
) -> Iterator[int]:
    """Serve http://ADDRESS:PORT/metrics as long as the context lasts; yields the port (0 asks for a free one).

    Raises UsageError where the port cannot be had.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/metrics", "/"):
                self.send_error(404)
                return
            body = exposition(live(), {d.id: d for d in devices()}, host).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            return

    try:
        server = ThreadingHTTPServer((address, port), Handler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {port} cannot be served: {error}") from None
    thread = threading.Thread(target=server.serve_forever, name="wattlaw-prometheus", daemon=True)
    with server:
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _labels(device: str, info: DeviceInfo | None, host: str) -> str:
    pairs = {
        "host": host,
        "device": device,
        "boundary": info.boundary if info else "",
        "uuid": info.uuid if info else "",
    }
    escaped = {
        k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for k, v in pairs.items()
        if v
    }
    return "{" + ",".join(f'{k}="{v}"' for k, v in escaped.items()) + "}"
