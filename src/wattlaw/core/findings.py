"""What a law or an advice says, as the report, the command line and JSON carry it."""

from __future__ import annotations

import msgspec

from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting


class Interval(msgspec.Struct, frozen=True):
    """A value with the ends of its interval (90 % unless the finding says otherwise).

    Both ends are None where too few repeats were made to give an interval; a warning then says so.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """One fitted law of one group of runs.

    group           what the group's runs share, such as {"workload": "schnet", "batch_per_device":
                    "32"}
    target, over    the quantity explained and the quantity it is explained by, such as step_time_s
                    over devices
    law             name of the form: "speedup" (two sizes), "power", "usl", …
    parameters      the law's parameters with intervals; for "speedup" one per size: "speedup_2"
    points          (x, median target, low, high) of the data, for drawing
    curve           (x, predicted, low, high) of the law, for drawing; empty for "speedup"
    n, sizes        runs and distinct values of ``over`` used
    held_out_error  median relative error when each size is predicted from the others; None below
                    three sizes
    """

    group: dict[str, str]
    target: str
    over: str
    law: str
    parameters: dict[str, Interval]
    points: tuple[tuple[float, float, float, float], ...] = ()
    curve: tuple[tuple[float, float, float, float], ...] = ()
    n: int = 0
    sizes: int = 0
    held_out_error: float | None = None
    status: str = "measured"
    warnings: tuple[Note, ...] = ()


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A setting recommended for one group under a bound.

    group          what the choices share, such as {"workload": "schnet"}
    minimise       the quantity made small
    setting        the setting to run
    baseline       the setting that the gain compares with (the fastest one)
    predicted      quantities of the recommended setting, by name
    gain           share of ``minimise`` saved against the baseline; 0.1 is 10 % less
    slowdown       time per sample against the baseline, minus 1
    probability_bound_holds   that the bound on the slowdown is kept, in [0, 1]; None without a
                              bound
    is_measured    whether the setting itself was run (else a law predicts it)
    extrapolated   why the prediction reaches beyond the runs, if it does
    next_run       the setting whose run would narrow the answer most; None where none is worth
                   running, or unknown
    next_run_saves  share of ``minimise`` that choosing after that run is expected to save; None
                    where it is unknown
    words          the advice as a sentence
    """

    group: dict[str, str]
    minimise: str
    setting: Setting
    baseline: Setting
    predicted: dict[str, Interval]
    gain: Interval
    slowdown: Interval
    probability_bound_holds: float | None = None
    is_measured: bool = True
    extrapolated: str = ""
    next_run: Setting | None = None
    next_run_saves: float | None = None
    words: str = ""
    warnings: tuple[Note, ...] = ()
