"""The role of a study, and what its analysis receives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from wattlaw.core.run import Run
from wattlaw.runner.node_devices import NodeDevices
from wattlaw.studies.result import StudyResult

SCALES = ("tiny", "laptop", "node", "cluster")
"""tiny: at most a minute. laptop: at most 10 minutes on 2 cores. node: one machine with GPUs.
cluster: several.
"""

SweepValues = Mapping[str, object]
"""A sweep as the values of its file."""


@dataclass(frozen=True)
class StudyInputs:
    """What the analysis of a study receives.

    scale   the scale at which the study ran
    runs    the records of its sweep; empty if it has none at this scale
    folder  the study's folder, where other work leaves its files
    """

    scale: str
    runs: tuple[Run, ...]
    folder: Path


class Study(ABC):
    """The question of a paper: what runs, how it is analysed, and what the paper published.

    name        public name, equal to the one in the file's ``NAMES``
    title       title of the page
    paper       citation of the paper
    question    the question, in one sentence
    scales      the sizes at which it runs, smallest first, out of ``SCALES``
    has_report  whether its page also shows the report of all runs, with advice
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    question: ClassVar[str]
    scales: ClassVar[tuple[str, ...]]
    has_report: ClassVar[bool] = False

    def sweep(self, node: NodeDevices, scale: str) -> SweepValues | None:
        """Return the sweep for a node and a scale; None if nothing is trained. Its name is the
        study's name.
        """
        return None

    def other_work(self, folder: Path, scale: str) -> None:
        """Do work other than a sweep, such as generating data; files go into ``folder``.

        It is called again when the study resumes, and skips what is already there.
        """
        return

    def other_work_s(self, scale: str) -> float:
        """Return the estimated time of other work and analysis, s."""
        return 5.0

    @abstractmethod
    def analyse(self, inputs: StudyInputs) -> StudyResult:
        """Return the findings, figures and tables, with the published values that they compare
        with.
        """
