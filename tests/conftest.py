"""Depth, required parts, and the published data that some tests develop against."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

FULL = os.environ.get("DEPTH") == "full"
MAY_BE_MISSING = ("needs a GPU", "needs an AMD device", "needs RAPL", "needs the published data",
                  "needs a name space of its own")  # fmt: skip
"""The start of the only skip reasons that are accepted with DEPTH=full."""

# background jobs of a shell ignore these signals, and so would their children
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(
            _number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL
        )

# Regular runs use the same examples each time, so that a failure comes from the change;
# EXAMPLES=5000 uses that many random ones, to search longer for a counterexample.
EXAMPLES = int(os.environ.get("EXAMPLES", "400" if FULL else "40"))
settings.register_profile("wattlaw", max_examples=EXAMPLES, derandomize="EXAMPLES" not in os.environ, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
settings.load_profile("wattlaw")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("full") and not FULL:
            item.add_marker(pytest.mark.skip(reason="runs with DEPTH=full"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = (yield).get_result()
    if FULL and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
        if not reason.startswith(MAY_BE_MISSING):
            report.outcome = "failed"
            report.longrepr = f"skipped where every part is required: {reason}"


@pytest.fixture(scope="session")
def published() -> Path:
    """Folder of published measurements: $WATTLAW_DATA, or shared/data beside the checkout."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WATTLAW_DATA", beside))
    if not folder.is_dir():
        pytest.skip("needs the published data: set WATTLAW_DATA to its folder")
    return folder
