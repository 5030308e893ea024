"""Lists studies and carries them out: sweep, laws, advice, page."""

from __future__ import annotations

from pathlib import Path

from wattlaw.core.errors import UnknownNameError
from wattlaw.core.plugins import STUDIES, load, plugins
from wattlaw.core.run import Run
from wattlaw.executors.executor import Watcher
from wattlaw.runner.node_devices import here
from wattlaw.studies.role import Study


def names() -> list[str]:
    """Return the names of all studies."""
    return sorted(plugins(STUDIES))


def find(name: str) -> Study:
    """Return a study. Raises UnknownNameError."""
    study: type[Study] = load(STUDIES, name)
    return study()


def sweep_of(study: Study, scale: str | None = None) -> dict[str, object]:
    """Return the study's sweep for this machine, as its file would give it."""
    scale = scale or study.scales[0]
    if scale not in study.scales:
        raise UnknownNameError("scale", scale, study.scales)
    return study.sweep(here(), scale)


def run_study(
    name: str, out: str | Path = "runs", scale: str | None = None, watcher: Watcher | None = None
) -> list[Run]:
    """Carry out a study's sweep and return its runs; what is done already is not run again."""
    from wattlaw.runner.sweeps import sweep

    return sweep(sweep_of(find(name), scale), out=out, watcher=watcher)
