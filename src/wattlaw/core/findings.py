"""Fitted laws and advice, as the report, the command line and JSON show them."""

from __future__ import annotations

import msgspec

from wattlaw.core.reading import Note
from wattlaw.core.setting import Setting


class Interval(msgspec.Struct, frozen=True):
    """A value with the ends of its interval (90 % unless the finding says otherwise).

    Both ends are None if too few repeats were made to give an interval; a warning then says so.
    """

    value: float
    low: float | None = None
    high: float | None = None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """A law fitted to one group of runs.

    group           the factors that the runs share, such as {"workload": "schnet"}
    target, over    the explained quantity and the explaining one, such as step_time_s over devices
    law             name of the law: "speedup" (two sizes), "power", "usl", …
    parameters      the law's parameters with intervals; of "speedup" one per size: "speedup_2"
    points          (x, median target, low, high) of the data, for drawing
    curve           (x, predicted, low, high) of the law, for drawing; empty for "speedup"
    n, sizes        the numbers of runs and of distinct values of ``over``
    held_out_error  median relative error of predicting each size from the others; None below three
                    sizes
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
    """The setting recommended for one group under a limit on the slowdown.

    group          the factors that the candidates share, such as {"workload": "schnet"}
    minimise       the objective, a quantity
    setting        the recommended setting
    baseline       the setting that the gain refers to (the fastest one)
    predicted      quantities of the recommended setting, by name
    gain           share of ``minimise`` saved against the baseline; 0.1 is 10 % less
    slowdown       time per sample relative to the baseline, minus 1
    probability_bound_holds  of the limit on the slowdown, in [0, 1]; None without a limit
    is_measured    whether the setting was run (else a law predicts it)
    extrapolated   why the prediction reaches beyond the runs, if it does
    next_run       the setting to run next, to narrow the answer most; None if there is none
    next_run_saves share of ``minimise`` that the choice after that run is expected to save; None
                   if it is unknown
    words          the advice as text
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
