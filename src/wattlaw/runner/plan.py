"""From a sweep to its trials: checked, in random order, with estimated times."""

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

_NAMES = (*TRAINING, *(name for name in FIELDS if name != "options"), "devices")


class SweepPlan(msgspec.Struct, frozen=True):
    """The trials of a sweep in their order, and the estimated time of each by id, s.

    ``guessed`` are the ids of trials whose setting has no run from which to estimate.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    seconds: dict[str, float]
    guessed: frozenset[str]

    def time_of(self, trials: Iterable[Trial]) -> tuple[float, bool]:
        """Return the time of trials with cool-downs, s, and whether it is a rough guess."""
        ids = [trial.id for trial in trials]
        seconds = sum(self.seconds[i] + self.sweep.cooldown_s for i in ids)
        return seconds, not self.guessed.isdisjoint(ids)


def plan(sweep: Sweep, node: NodeDevices | None, runs: Sequence[Run] = ()) -> SweepPlan:
    """Check every setting of a sweep, order its trials and estimate their times.

    ``node`` is where they will run; None if that is not known. ``runs`` are earlier runs for the
    estimate. Raises SettingError or UnknownNameError for the first impossible setting.
    """
    grid = settings(sweep)
    for setting in grid:
        check(setting, node)
    commands = {setting.command for setting in grid if setting.command}
    if commands:
        template.check_swept(commands, sweep.over)
    for command in commands:
        template.check_given(command, [*sweep.setting, *sweep.over])
    versions = {setting.workload: version(setting.workload) for setting in grid}
    ordered = trials(sweep, versions)
    seconds, guessed = estimate(ordered, node, runs)
    return SweepPlan(sweep, tuple(ordered), seconds, frozenset(guessed))


def check(setting: Setting, node: NodeDevices | None) -> None:
    """Raise SettingError or UnknownNameError if a setting cannot be carried out.

    Its devices are checked if ``node`` is not None.
    """
    if node is not None:
        check_on_node(setting, node)
    training_options(setting)
    if setting.command:
        template.check_options(setting)
        template.words_of(setting, out="out")
        template.check_pattern(setting.step_pattern)
        return
    if setting.step_pattern:
        raise SettingError("step_pattern is for a command; a workload records its own steps")
    try:
        counts.check_request(setting.workload, setting.preset, workload_options(setting))
    except UnknownNameError as error:
        raise _unknown_option(setting) or error from None
    if ":" in setting.workload:
        _check_own_class(setting)
    else:
        _check_data(str(setting.options.get("data", "")))
    if importlib.util.find_spec("torch") is None:
        raise MissingPartError(f"{setting.workload} needs torch: {how_to_install('torch')}")


def version(workload: str) -> int:
    """Return the version that a workload's file declares; 1 for a user's own."""
    plugin = plugins(WORKLOADS).get(workload)
    return plugin.version if plugin else 1


def _check_data(data: str) -> None:
    """Raise SettingError if the data do not exist: once, rather than in every trial."""
    if data not in ("", "generated") and not Path(data).expanduser().exists():
        raise SettingError(
            f"data {data!r}: there is no such file or folder; name another, or generated"
        )


def _check_own_class(setting: Setting) -> None:
    facts = inspect_class(setting.workload)
    if facts.presets is not None and setting.preset not in facts.presets:
        raise UnknownNameError("preset", setting.preset, facts.presets)
    for name in workload_options(setting):
        if facts.options is not None and name not in facts.options:
            raise UnknownNameError("name", name, [*facts.options, *_NAMES])


def _unknown_option(setting: Setting) -> UnknownNameError | None:
    """Return the error of an unknown option; it offers fields too, which may be misspelt."""
    entry = counts.workload_entries().get(setting.workload)
    presets = [known.preset for known in entry.presets] if entry else []
    if entry is None or setting.preset not in presets:
        return None
    for name in workload_options(setting):
        if name not in entry.options:
            return UnknownNameError("name", name, [*entry.options, *_NAMES])
    return None
