"""Live values for Prometheus."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from wattlaw.devices.meter import DeviceInfo, Sample
from wattlaw.integrations.prometheus import exposition


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_only_what_was_read_has_a_line_and_labels_are_escaped() -> None:
    text = exposition(
        {"gpu:0": Sample(time_s=1, device="gpu:0", power_w=250.5, energy_j=1000.0)},
        {"gpu:0": DeviceInfo(id="gpu:0", boundary="gpu", uuid='GPU-"x"')},
        "node7",
    )
    assert text.splitlines() == [
        "# HELP wattlaw_power_watts Power of the device.",
        "# TYPE wattlaw_power_watts gauge",
        'wattlaw_power_watts{host="node7",device="gpu:0",boundary="gpu",uuid="GPU-\\"x\\""} 250.5',
        "# HELP wattlaw_energy_joules_total Energy counter of the device.",
        "# TYPE wattlaw_energy_joules_total counter",
        'wattlaw_energy_joules_total{host="node7",device="gpu:0",boundary="gpu",uuid="GPU-\\"x\\""} 1000.0',
    ]


def test_a_measured_command_serves_its_live_values() -> None:
    port = free_port()
    words = [
        sys.executable,
        "-m",
        "wattlaw",
        "measure",
        "-q",
        "--prometheus",
        str(port),
        "--",
        "sleep",
        "4",
    ]
    job = subprocess.Popen(words)
    body, until = "", time.monotonic() + 20
    while "wattlaw_cpu_time_seconds_total" not in body and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
                body = answer.read().decode()
        except urllib.error.URLError:
            time.sleep(0.05)
    assert 'device="job"' in body
    assert job.wait(30) == 0


def test_a_port_in_use_is_a_one_line_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = [
            sys.executable,
            "-m",
            "wattlaw",
            "measure",
            "--prometheus",
            str(port),
            "--",
            "true",
        ]
        done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f"wattlaw: port {port} cannot be opened:")
