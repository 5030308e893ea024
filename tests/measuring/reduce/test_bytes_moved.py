"""Bytes over PCIe and NVLink from the available counters, or missing with a reason."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fake_nvml import FakeNvml, build

from wattlaw.measuring.files.host_files import TelemetryColumn
from wattlaw.measuring.reduce.series import bytes_total

SUMMED, BY_LINK, NEWER, OLD_COUNTERS, OLD_COUNTERS_OF_PACKETS = range(5)
RATE = 25e9


def measure(fake: FakeNvml, seconds: float = 3) -> dict:
    words = [
        sys.executable,
        "-m",
        "wattlaw",
        "measure",
        "-q",
        "--json",
        "--",
        "sleep",
        str(seconds),
    ]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=True, env=fake.environment
    )
    return json.loads(done.stdout)


def test_every_kind_of_counter_gives_the_same_bytes(library: Path, tmp_path: Path) -> None:
    fake = FakeNvml(library, tmp_path / "state", count=4)
    for gpu, way in enumerate((SUMMED, BY_LINK, NEWER, OLD_COUNTERS)):
        fake.set(gpu, links=3, link_way=way, link_rate=RATE, pcie_rate=2e9)
    found = measure(fake)
    sent = RATE * found["overall"]["elapsed_s"]
    for item in found["items"][:4]:
        assert item["nvlink_sent_bytes"] == pytest.approx(sent, rel=0.03)
        assert item["nvlink_received_bytes"] == pytest.approx(sent / 2, rel=0.03)
        assert item["pcie_sent_bytes"] == pytest.approx(sent * 2 / 25, rel=0.03)
        assert item["pcie_received_bytes"] == pytest.approx(sent / 25, rel=0.03)
    total = found["overall"]["quantities"]["nvlink_sent_bytes"]
    assert (total["value"], total.get("status", "measured")) == (
        pytest.approx(4 * sent, rel=0.03),
        "measured",
    )


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"links": 0}, "gpu:1 on .*: no NVLink of this GPU is up"),
        (
            {"links": 2, "link_way": OLD_COUNTERS_OF_PACKETS},
            "the driver reports no byte counters of NVLink",
        ),
    ],
)
def test_a_sum_that_lacks_one_gpu_is_missing_with_the_reason(
    library, tmp_path, values, why
) -> None:
    fake = FakeNvml(library, tmp_path / "state")
    fake.set(0, links=2, link_rate=RATE)
    fake.set(1, **values)
    found = measure(fake, 2)
    assert found["items"][0]["nvlink_sent_bytes"] > 0
    assert found["items"][1]["nvlink_sent_bytes"] is None
    total = found["overall"]["quantities"]["nvlink_sent_bytes"]
    assert total["value"] is None
    assert re.search(why, total["how"])


def test_an_old_driver_has_only_the_counters_of_links(tmp_path: Path) -> None:
    fake = FakeNvml(build(tmp_path / "old", is_old=True), tmp_path / "state", count=1)
    fake.set(0, links=2, link_way=OLD_COUNTERS, link_rate=RATE, pcie_rate=2e9)
    found = measure(fake)
    assert found["items"][0]["nvlink_sent_bytes"] == pytest.approx(
        RATE * found["overall"]["elapsed_s"], rel=0.03
    )
    assert found["overall"]["quantities"]["pcie_sent_bytes"]["how"].endswith(
        "the driver has no byte counters of PCIe"
    )


def column(*rows: tuple[float, float]) -> TelemetryColumn:
    made = TelemetryColumn()
    for time_s, value in rows:
        made.times.append(time_s)
        made.values.append(value)
    return made


def test_an_idle_counter_gives_0_and_a_falling_one_no_total() -> None:
    assert bytes_total(column((0, 5), (1, 5), (2, 5)), 0.5, 1.5).value == 0
    assert bytes_total(column((0, 0), (1, 10), (2, 20)), 0.5, 1.5).value == 10
    assert "fell" in bytes_total(column((0, 4e9), (1, 10), (2, 20)), 0.5, 1.5).why
    assert bytes_total(column((0, 4e9), (1, 10), (2, 20), (3, 30)), 1.5, 2.5).value == 10
    assert bytes_total(column((0, 4e9)), 0, 1).why == "it was read fewer than twice"
    assert "during the whole window" in bytes_total(column((0, 0), (1, 10), (2, 20)), 0, 60).why
