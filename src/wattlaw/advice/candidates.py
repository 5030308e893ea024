"""Settings that advice on unmeasured settings may choose, with what is known of time and power."""

from __future__ import annotations

from typing import NamedTuple

from wattlaw.analysis.caps_on_devices import LogDraws
from wattlaw.core.run import Run
from wattlaw.laws.statistics.arrays import Array


class Candidate(NamedTuple):
    """A setting that may be chosen.

    run             a run of the setting, or a similar run with its setting replaced
    basis           the runs from which its figures come
    log_t           ln of the time per sample, s
    of_mean, of_run draws (n,) of ``log_t``: of its mean, and of one more run
    power           ln of the mean power of one device, W; None if no meter measured it
    is_measured     whether the setting was run
    is_beyond       whether it uses more or fewer devices than any run
    is_advisable    False if its time is so uncertain that it must be run first
    is_at_new_cap   whether its figures come from caps run in other settings
    """

    run: Run
    basis: tuple[Run, ...]
    log_t: float
    of_mean: Array
    of_run: Array
    power: LogDraws | None
    is_measured: bool
    is_beyond: bool = False
    is_advisable: bool = True
    is_at_new_cap: bool = False

    @property
    def devices(self) -> int:
        """Number of devices."""
        return self.run.setting.devices
