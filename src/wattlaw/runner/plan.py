"""From a sweep to the trials that are to be run: checked, ordered, estimated."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from wattlaw.core.errors import MissingPartError, SettingError, UnknownNameError
from wattlaw.core.options import TRAINING, training_options, workload_options
from wattlaw.core.plugins import WORKLOADS, how_to_install, plugins
from wattlaw.core.run import Run
from wattlaw.core.setting import FIELDS, Setting
from wattlaw.core.sweepfile import Sweep, Trial, settings, trials
from wattlaw.runner.command import template
from wattlaw.runner.estimate import estimate
from wattlaw.runner.node_devices import NodeDevices, check_on_node
from wattlaw.workloads import counts
from wattlaw.workloads.inspect_class import inspect_class

_NAMES = (*TRAINING, *(f for f in FIELDS if f != "options"), "devices")


class SweepPlan(msgspec.Struct, frozen=True):
    """Trials in the order in which they run, and how long each should take, s.

    ``guessed`` are those whose time comes from no run of their own setting.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    seconds: dict[str, float]
    guessed: frozenset[str]

    def time_of(self, wanted: Iterable[Trial]) -> tuple[float, bool]:
        """Return the estimated time of some trials, cool-downs included, s, and whether it is a rough guess."""
        ids = [t.id for t in wanted]
        return sum(
            self.seconds[i] + self.sweep.cooldown_s for i in ids
        ), not self.guessed.isdisjoint(ids)


def plan(sweep: Sweep, node: NodeDevices | None, runs: Sequence[Run] = ()) -> SweepPlan:
    """Check every setting of a sweep and order its trials.

    ``runs`` are earlier runs that the estimate of time is taken from. Raises SettingError or
    UnknownNameError for the first impossible setting.
    """
    grid = settings(sweep)
    for setting in grid:
        check(setting, node)
    commands = {s.command for s in grid if s.command}
    if commands:
        template.check_swept(commands, sweep.over)
    for each in commands:
        template.check_given(each, [*sweep.setting, *sweep.over])
    ordered = trials(sweep, {s.workload: version(s.workload) for s in grid})
    seconds, guessed = estimate(ordered, node, runs)
    return SweepPlan(sweep, tuple(ordered), seconds, frozenset(guessed))


def check(setting: Setting, node: NodeDevices | None) -> None:
    """Raise SettingError or UnknownNameError where a setting cannot be carried out here."""
    if node is not None:
        check_on_node(setting, node)
    training_options(setting)
    if setting.command:
        template.check_options(setting)
        template.words_of(setting, out="out")
        template.check_pattern(setting.step_pattern)
        return
    if setting.step_pattern:
        raise SettingError("step_pattern goes with a command; a workload records its own steps")
    try:
        counts.check_request(setting.workload, setting.preset, workload_options(setting))
    except UnknownNameError as error:
        raise _with_fields(setting, error) from None
    if ":" in setting.workload:
        _check_own(setting)
    else:
        _check_data(str(setting.options.get("data", "")))
    if importlib.util.find_spec("torch") is None:
        raise MissingPartError(f"{setting.workload} needs torch: {how_to_install('torch')}")


def version(workload: str) -> int:
    """Return the version that a workload's file declares; 1 for a user's own."""
    plugin = plugins(WORKLOADS).get(workload)
    return plugin.version if plugin else 1


def _check_data(data: str) -> None:
    """Raise SettingError where the data are not there: at once, not in every trial after its start."""
    if data not in ("", "generated") and not Path(data).expanduser().exists():
        raise SettingError(
            f"data {data!r}: there is no such file or folder; name another, or generated"
        )


def _check_own(setting: Setting) -> None:
    facts = inspect_class(setting.workload)
    if facts.presets is not None and setting.preset not in facts.presets:
        raise UnknownNameError("preset", setting.preset, facts.presets)
    for name in workload_options(setting):
        if facts.options is not None and name not in facts.options:
            raise UnknownNameError("name", name, [*facts.options, *_NAMES])


def _with_fields(setting: Setting, error: UnknownNameError) -> UnknownNameError:
    # a misspelt field of a setting arrives as an option: offer the fields as well
    entry = counts.workload_entries().get(setting.workload)
    known = [*(entry.options if entry else ()), *_NAMES]
    wrong = [n for n in workload_options(setting) if entry and n not in entry.options]
    return (
        UnknownNameError("name", wrong[0], known)
        if wrong and setting.preset in _presets(entry)
        else error
    )


def _presets(entry: counts.WorkloadEntry | None) -> list[str]:
    return [c.preset for c in entry.presets] if entry else []
