"""Serves the live readings of a sampler to Prometheus, in its text format (version 0.0.4)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from wattlaw.core.errors import UsageError
from wattlaw.devices.meter import DeviceInfo, Sample


class Metric(NamedTuple):
    """A metric of Prometheus: the field of a sample that it shows, its name, type and help text."""

    field: str
    name: str
    type: str
    help: str


METRICS = (
    Metric("power_w", "wattlaw_power_watts", "gauge", "Power of the device."),
    Metric("energy_j", "wattlaw_energy_joules_total", "counter", "Energy counter of the device."),
    Metric(
        "utilisation", "wattlaw_utilisation_ratio", "gauge", "Busy share of the device, 0 to 1."
    ),
    Metric(
        "memory_used_bytes",
        "wattlaw_memory_used_bytes",
        "gauge",
        "Memory in use on the device, or by the job.",
    ),
    Metric("temperature_c", "wattlaw_temperature_celsius", "gauge", "Temperature of the device."),
    Metric("sm_clock_mhz", "wattlaw_sm_clock_megahertz", "gauge", "SM clock of the device."),
    Metric(
        "memory_clock_mhz",
        "wattlaw_memory_clock_megahertz",
        "gauge",
        "Memory clock of the device.",
    ),
    Metric(
        "cpu_time_s",
        "wattlaw_cpu_time_seconds_total",
        "counter",
        "CPU time of the job's processes.",
    ),
    Metric(
        "received_bytes",
        "wattlaw_pcie_received_bytes_total",
        "counter",
        "Bytes that the device received over PCIe.",
    ),
    Metric(
        "sent_bytes",
        "wattlaw_pcie_sent_bytes_total",
        "counter",
        "Bytes that the device sent over PCIe.",
    ),
    Metric(
        "nvlink_received_bytes",
        "wattlaw_nvlink_received_bytes_total",
        "counter",
        "Bytes received over NVLink.",
    ),
    Metric(
        "nvlink_sent_bytes",
        "wattlaw_nvlink_sent_bytes_total",
        "counter",
        "Bytes sent over NVLink.",
    ),
    Metric(
        "processes",
        "wattlaw_processes",
        "gauge",
        "Processes of the job; for a GPU, processes that are not of the job.",
    ),
)

Live = Callable[[], Mapping[str, Sample]]
"""Returns the latest sample of each device."""


def exposition(live: Mapping[str, Sample], devices: Mapping[str, DeviceInfo], host: str) -> str:
    """Return samples in Prometheus' text format; a quantity that was not read has no line."""
    lines = []
    for metric in METRICS:
        values = {device: getattr(sample, metric.field) for device, sample in live.items()}
        rows = [
            f"{metric.name}{_labels(device, devices.get(device), host)} {value}"
            for device, value in values.items()
            if value is not None
        ]
        if rows:
            lines.append(f"# HELP {metric.name} {metric.help}")
            lines.append(f"# TYPE {metric.name} {metric.type}")
            lines += rows
    return "\n".join(lines) + "\n"


def _labels(device: str, info: DeviceInfo | None, host: str) -> str:
    labels = {"host": host, "device": device}
    if info:
        labels |= {"boundary": info.boundary, "uuid": info.uuid}
    pairs = [f'{name}="{_escaped(value)}"' for name, value in labels.items() if value]
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@contextlib.contextmanager
def serving(
    port: int,
    live: Live,
    devices: Callable[[], tuple[DeviceInfo, ...]],
    host: str,
    address: str = "127.0.0.1",
) -> Iterator[int]:
    """Serve http://ADDRESS:PORT/metrics as long as the context lasts; yields the port.

    Port 0 is any free one. Raises UsageError if the port cannot be opened.
    """

    class MetricsHandler(BaseHTTPRequestHandler):
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
        server = ThreadingHTTPServer((address, port), MetricsHandler)
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {port} cannot be opened: {error}; choose another port") from None
    thread = threading.Thread(target=server.serve_forever, name="wattlaw-prometheus", daemon=True)
    with server:
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
