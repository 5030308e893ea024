"""The role of a law: a model that is fitted to the runs of one group.

A new law is one file in this package, or in a package that provides the entry point
``wattlaw.laws``. The file declares ``NAMES = {"public-name": "Class"}``; ``wattlaw list laws`` and
``wattlaw fit --law`` find it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from wattlaw.core.errors import FitError
from wattlaw.core.findings import Interval
from wattlaw.core.reading import Note
from wattlaw.laws.statistics.arrays import Array

GRID_POINTS = 50


@dataclass(frozen=True, eq=False)
class Observations:
    """The runs of one group as arrays of one length, one element per run.

    over, target   names of the explanatory quantity and of the explained one
    x, y           their values (n,); a prediction ignores ``y``
    covariates     further quantities (n,) that the law needs, by name
    task           the workload, for priors
    """

    over: str
    target: str
    x: Array
    y: Array
    covariates: Mapping[str, Array] = field(default_factory=dict)
    task: str = ""

    def at(self, keep: Array) -> Observations:
        """Return the observations selected by a mask or by indices."""
        covariates = {name: values[keep] for name, values in self.covariates.items()}
        return replace(self, x=self.x[keep], y=self.y[keep], covariates=covariates)

    def with_x(self, x: Array) -> Observations:
        """Return points with other values of ``over``, otherwise like the first run."""
        covariates = {name: np.full(len(x), values[0]) for name, values in self.covariates.items()}
        return replace(self, x=x, y=np.full(len(x), np.nan), covariates=covariates)


class Law(ABC):
    """A law fitted to one group of runs.

    Class attributes say where the law applies:

    over         explanatory quantities; () for any
    targets      explained quantities; () for any
    covariates   names of the further quantities that ``fit`` needs, by target
    varied       factors that may differ within a group, instead of only ``over``
    auto_order   place among the laws that ``--law auto`` tries, simple laws first: a later law must
                 have a clearly smaller held-out error. 0: taken wherever it applies. None: never
                 tried
    notes        warnings that accompany every fit
    example      typical observations without noise, from which the contract test makes its data
    """

    over: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ()
    covariates: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    varied: ClassVar[tuple[str, ...]] = ()
    auto_order: ClassVar[int | None] = None
    notes: ClassVar[tuple[Note, ...]] = ()
    example: ClassVar[Observations]

    @classmethod
    @abstractmethod
    def fit(cls, observations: Observations) -> Self:
        """Fit the law.

        Raises FitError, in one line, if the observations are too few or invalid.
        """

    @abstractmethod
    def parameters(self) -> dict[str, Interval]:
        """Return the parameters by name with 90 % intervals."""

    @abstractmethod
    def predict(self, points: Observations) -> Array:
        """Return the target (n,) at points."""

    @abstractmethod
    def interval(self, points: Observations, of_a_run: bool = False) -> list[Interval]:
        """Return the target at points with 90 % intervals: of the law, or of one more run."""

    @classmethod
    @abstractmethod
    def held_out_error(cls, observations: Observations) -> float | None:
        """Return the median relative error of values of ``over`` predicted from the others.

        None if there are too few of them.
        """

    def grid(self, observations: Observations) -> Observations:
        """Return the points at which the law is drawn."""
        x = observations.x
        return observations.with_x(np.geomspace(x.min(), x.max(), GRID_POINTS))


def applies(law: type[Law], over: str, target: str) -> bool:
    """Return whether a law explains a target over a quantity."""
    explains_over = not law.over or over in law.over
    return explains_over and (not law.targets or target in law.targets)


def leave_one_out(law: type[Law], observations: Observations, least: int) -> float | None:
    """Return the median error of interior values of ``over``, predicted from the others.

    An error is that of the geometric mean of the runs. Returns None below ``least`` distinct
    values.
    """
    sizes = np.unique(observations.x)
    errors = []
    for size in sizes[1:-1] if len(sizes) >= least else ():
        is_hidden = observations.x == size
        hidden = observations.at(is_hidden)
        expected = law.fit(observations.at(~is_hidden)).predict(hidden)[0]
        measured = np.exp(np.log(hidden.y).mean())
        errors.append(abs(float(expected) / float(measured) - 1))
    return float(np.median(errors)) if errors else None


def geometric_means(observations: Observations) -> Observations:
    """Return one observation per value of ``over``: geometric means of the runs there.

    Raises FitError if there is no observation.
    """
    if not len(observations.x):
        raise FitError(f"no run has both {observations.over} and {observations.target}")
    sizes = np.unique(observations.x)
    places = [observations.x == size for size in sizes]
    y = np.array([np.exp(np.log(observations.y[place]).mean()) for place in places])
    covariates = {}
    for name, values in observations.covariates.items():
        covariates[name] = np.array([np.exp(np.log(values[place]).mean()) for place in places])
    return replace(observations, x=sizes, y=y, covariates=covariates)
