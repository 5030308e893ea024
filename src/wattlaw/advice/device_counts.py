"""How many devices to use, and at which cap, among settings that were run and others.

Candidates and their draws come from device_count_candidates.py. The probability of a limit is
the share of the draws of one more run in which it holds. What a further run would save follows
laws/statistics/value_of_information.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.advice.candidates import Candidate
from wattlaw.advice.request import AdviceRequest, Constraint
from wattlaw.advice.sentences import AdviceComparison, NextRun, advice_on_devices
from wattlaw.advice.verdict import is_unclear_gain_for_time, share_added, share_saved
from wattlaw.analysis.groups import Group
from wattlaw.analysis.prices import COST, Prices
from wattlaw.analysis.run_laws import run_noise
from wattlaw.core.errors import FitError
from wattlaw.core.findings import Advice, Interval
from wattlaw.core.quantities import DEVICE_TIME, ENERGY, GPU_ENERGY, TIME, derive
from wattlaw.core.reading import Note
from wattlaw.laws.scaling import BEYOND_RUNS
from wattlaw.laws.statistics.arrays import WIDEST_SANE, Array, clipped_exp
from wattlaw.laws.statistics.posterior import draws_interval
from wattlaw.laws.statistics.value_of_information import costs_with_fallback, expected_savings

KNOWN = (TIME, DEVICE_TIME, GPU_ENERGY, COST)
"""Quantities by which candidates can be compared."""

SAFE = 0.95
"""A user who finds a limit violated falls back to the cheapest setting that satisfies it with this
probability."""


class EvaluatedCandidates(NamedTuple):
    """Candidates with the quantity to minimise, and whether they satisfy the limits.

    costs        (k,) point estimate of the quantity
    of_run       (k, n) its draws for one more run
    of_mean      (k, n) its draws for the mean
    holds        (k, n) whether all limits hold in each draw of one more run
    mean_holds   (k, n) whether they hold in each draw of the mean
    fastest      index of the fastest candidate that was run
    """

    candidates: list[Candidate]
    costs: Array
    of_run: Array
    of_mean: Array
    holds: Array
    mean_holds: Array
    fastest: int

    @property
    def probabilities(self) -> Array:
        """Return the probability that all limits hold, for each candidate, (k,)."""
        found: Array = self.holds.mean(axis=1)
        return found

    @property
    def advisable(self) -> Array:
        """Return which candidates may be advised without being run first, (k,)."""
        return np.array([c.is_advisable for c in self.candidates])

    def gain(self, index: int) -> Interval:
        """Return the share of the cost that a candidate saves over the fastest one that was run."""
        if index == self.fastest:
            return Interval(0.0, 0.0, 0.0)
        return share_saved(self.cost_ratio(index))

    def cost_ratio(self, index: int) -> Interval:
        """Return the cost of a candidate over that of the fastest one that was run."""
        if index == self.fastest:
            return Interval(1.0, 1.0, 1.0)
        middle = float(self.costs[index] / self.costs[self.fastest])
        return draws_interval(middle, self.of_run[index] / self.of_run[self.fastest])

    def time_ratio(self, index: int) -> Interval:
        """Return the time of a candidate over that of the fastest one that was run."""
        if index == self.fastest:
            return Interval(1.0, 1.0, 1.0)
        candidate, fastest = self.candidates[index], self.candidates[self.fastest]
        middle = float(np.exp(candidate.log_t - fastest.log_t))
        return draws_interval(middle, clipped_exp(candidate.of_run - fastest.of_run))


def advise_devices(
    group: Group, candidates: list[Candidate], request: AdviceRequest, notes: Sequence[Note]
) -> Advice | None:
    """Advise a number of devices, and a cap if any of ``candidates`` is at a cap that was not run.

    The limits, and the bound on the slowdown against the fastest setting that was run, hold
    together with at least the requested confidence. Returns None if only settings that were run can
    be compared, or if the request names other quantities than ``KNOWN``. Raises FitError if no
    candidate satisfies the limits.
    """
    objective = _objective(group, candidates, request.minimise)
    request = request._replace(constraints=tuple(map(_with_gpu_energy, request.constraints)))
    limits = request.limit_values()
    if objective is None or not set(limits) <= set(KNOWN):
        return None
    known = [c for c in candidates if _knows(c, (objective, *limits), request.prices)]
    if len({c.is_measured for c in known}) < 2:
        return None
    evaluated = evaluate(known, objective, request.max_slowdown, limits, request.prices)
    chosen = choose_clear(evaluated, request.confidence)
    if chosen is None:
        most_probable = evaluated.probabilities[evaluated.advisable].max()
        raise FitError(
            f"no setting satisfies {' and '.join(request.limits_as_text())} with probability "
            f"{request.confidence:g}; the most likely one has probability {most_probable:.2f}"
        )
    return _advice(group, evaluated, chosen, objective, request, notes)


def evaluate(
    candidates: list[Candidate],
    objective: str,
    max_slowdown: float | None,
    limits: Mapping[str, float],
    prices: Prices,
) -> EvaluatedCandidates:
    """Evaluate candidates. Each must have the objective and every limited quantity."""
    measured = [i for i, c in enumerate(candidates) if c.is_measured]
    fastest = min(measured, key=lambda i: candidates[i].log_t)
    costs, of_run, of_mean, holds, mean_holds = [], [], [], [], []
    for index, candidate in enumerate(candidates):
        # the slowdown of the fastest setting is 0, within any bound
        bound = None if index == fastest else max_slowdown
        against = candidates[fastest].of_mean
        costs.append(_value(candidate, objective, prices))
        of_run.append(_value(candidate, objective, prices, candidate.of_run))
        of_mean.append(_value(candidate, objective, prices, candidate.of_mean))
        holds.append(_holds(candidate, candidate.of_run, against, bound, limits, prices))
        mean_holds.append(_holds(candidate, candidate.of_mean, against, bound, limits, prices))
    return EvaluatedCandidates(
        candidates=candidates,
        costs=np.array(costs, float),
        of_run=np.array(of_run),
        of_mean=np.array(of_mean),
        holds=np.array(holds),
        mean_holds=np.array(mean_holds),
        fastest=fastest,
    )


def choose(evaluated: EvaluatedCandidates, confidence: float) -> int | None:
    """Return the cheapest candidate that satisfies the limits with the confidence, if any."""
    return _cheapest(evaluated, np.flatnonzero(_allowed(evaluated, confidence)))


def choose_clear(evaluated: EvaluatedCandidates, confidence: float) -> int | None:
    """Return the choice of ``choose``, excluding candidates slower without a clear gain."""
    allowed = _allowed(evaluated, confidence)
    if not allowed[evaluated.fastest]:
        return choose(evaluated, confidence)
    for index in np.flatnonzero(allowed).tolist():
        slowdown = share_added(evaluated.time_ratio(index))
        allowed[index] = not is_unclear_gain_for_time(evaluated.gain(index), slowdown)
    return _cheapest(evaluated, np.flatnonzero(allowed))


def next_run(evaluated: EvaluatedCandidates) -> tuple[int, float]:
    """Return the most informative candidate to run, and the share of cost it may save."""
    most_probable = float(evaluated.probabilities[evaluated.advisable].max())
    fallback = choose(evaluated, min(SAFE, most_probable)) or 0
    costs = costs_with_fallback(evaluated.of_mean, evaluated.mean_holds, fallback)
    observed = [_observed(c) for c in evaluated.candidates]
    saved = expected_savings(costs, observed, evaluated.advisable)
    best = int(np.argmax(saved))
    return best, float(saved[best])


def _allowed(evaluated: EvaluatedCandidates, confidence: float) -> Array:
    found: Array = (evaluated.probabilities >= confidence) & evaluated.advisable
    return found


def _cheapest(evaluated: EvaluatedCandidates, allowed: Array) -> int | None:
    return int(allowed[np.argmin(evaluated.costs[allowed])]) if len(allowed) else None


def _observed(candidate: Candidate) -> list[Array]:
    # what a run of the candidate would measure
    if candidate.power is None or candidate.is_measured:
        return [candidate.of_run]
    return [candidate.of_run, candidate.power.draws]


def _value(
    candidate: Candidate, name: str, prices: Prices, log_t: ArrayLike | None = None
) -> Array:
    # the middle, or draws for draws of ln time
    log_power: ArrayLike = 0.0
    if candidate.power is not None:
        log_power = candidate.power.middle if log_t is None else candidate.power.draws
    seconds = clipped_exp(candidate.log_t if log_t is None else log_t)
    joules = candidate.devices * seconds * clipped_exp(log_power)
    if name == COST:
        return prices.cost(candidate.devices * seconds, joules)
    values = {TIME: seconds, DEVICE_TIME: candidate.devices * seconds, GPU_ENERGY: joules}
    found: Array = values[name]
    return found


def _holds(
    candidate: Candidate,
    log_t: Array,
    fastest_log_t: Array,
    max_slowdown: float | None,
    limits: Mapping[str, float],
    prices: Prices,
) -> Array:
    found = np.ones(len(log_t), bool)
    for name, most in limits.items():
        found &= _value(candidate, name, prices, log_t) <= most
    if max_slowdown is not None:
        found &= log_t <= fastest_log_t + np.log1p(max_slowdown)
    return found


def _knows(candidate: Candidate, names: Sequence[str], prices: Prices) -> bool:
    if candidate.power is not None:
        return True
    return GPU_ENERGY not in names and not (COST in names and prices.per_kwh)


def _objective(group: Group, candidates: Sequence[Candidate], minimise: str | None) -> str | None:
    # the law of a device's power predicts GPU energy; with another meter, only settings that were
    # run can be compared
    if minimise is not None:
        name = _gpu_energy_for(minimise)
        return name if name in KNOWN else None
    if candidates and all(c.power is not None for c in candidates):
        return GPU_ENERGY
    is_metered = all(derive(run, ENERGY).status == "measured" for run in group.runs)
    return None if is_metered else DEVICE_TIME


def _gpu_energy_for(name: str) -> str:
    return GPU_ENERGY if name == ENERGY else name


def _with_gpu_energy(constraint: Constraint) -> Constraint:
    name = _gpu_energy_for(constraint.quantity)
    return constraint._replace(limit=constraint.limit._replace(quantity=name))


def _advice(
    group: Group,
    evaluated: EvaluatedCandidates,
    chosen: int,
    objective: str,
    request: AdviceRequest,
    notes: Sequence[Note],
) -> Advice:
    best, fastest = evaluated.candidates[chosen], evaluated.candidates[evaluated.fastest]
    cost_ratio, time_ratio = evaluated.cost_ratio(chosen), evaluated.time_ratio(chosen)
    for ratio in (cost_ratio, time_ratio):
        if (ratio.high or math.inf) > WIDEST_SANE * (ratio.low or math.inf):
            raise FitError(
                "some runs are outliers, so no setting can be recommended; inspect them with "
                "`wattlaw runs show`"
            )
    limits = request.limits_as_text()
    probability = float(evaluated.probabilities[chosen]) if limits else None
    following, saves = next_run(evaluated)
    noise = float(run_noise(group.runs).scale[0])
    comparison = AdviceComparison(
        objective=objective,
        gain=share_saved(cost_ratio),
        slowdown=share_added(time_ratio),
        limits=tuple(limits),
        probability=probability,
        baseline_satisfies_limits=float(evaluated.probabilities[evaluated.fastest]) >= 0.5,
    )
    next_candidate = evaluated.candidates[following]
    words = advice_on_devices(
        group.key,
        best,
        fastest,
        evaluated.candidates,
        comparison,
        NextRun(next_candidate, saves, noise),
    )
    names = dict.fromkeys((TIME, DEVICE_TIME, objective))
    warnings = [*notes]
    for candidate in (best, fastest):
        for run in candidate.basis:
            warnings += run.warnings
    return Advice(
        group=group.key,
        minimise=objective,
        setting=best.run.setting,
        baseline=fastest.run.setting,
        predicted={name: _predicted(best, name, request.prices) for name in names},
        gain=comparison.gain,
        slowdown=comparison.slowdown,
        probability_bound_holds=probability,
        is_measured=best.is_measured,
        extrapolated=BEYOND_RUNS if best.is_beyond else "",
        next_run=next_candidate.run.setting if saves > noise else None,
        next_run_saves=saves,
        words=words,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _predicted(candidate: Candidate, name: str, prices: Prices) -> Interval:
    middle = float(_value(candidate, name, prices))
    return draws_interval(middle, _value(candidate, name, prices, candidate.of_run))
