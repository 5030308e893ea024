"""A setting that may be taken, with what is known of its time and power."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from wattlaw.core.run import Run

Array = NDArray[Any]


class Watts(NamedTuple):
    """ln of a device's mean power, W: middle and draws (n,)."""

    middle: float
    draws: Array


class Option(NamedTuple):
    """A setting that may be taken: ln of its time per sample, s, and of a device's power, W, where it is known.

    ``run`` is a run of it, or one alike with its setting; ``basis`` are the runs behind its figures. ``log_t`` is the
    middle, ``of_mean`` and ``of_run`` are draws (n,) of its mean and of one more run. One that is not advisable has to
    be run first: nobody can tell its time. One at a new cap stands on what caps did elsewhere.
    """

    run: Run
    basis: tuple[Run, ...]
    log_t: float
    of_mean: Array
    of_run: Array
    watts: Watts | None
    is_measured: bool
    is_beyond: bool = False
    is_advisable: bool = True
    is_at_new_cap: bool = False

    @property
    def devices(self) -> int:
        """How many devices it takes."""
        return self.run.setting.devices
