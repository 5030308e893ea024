"""The role of a launcher: it starts the ranks of one trial and watches them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True):
    """The processes of a trial: one command, started once per rank.

    words       the command; no shell reads it
    ranks       number of processes
    folder      where ``output-<rank>.log`` is written
    variables   added to the environment of every rank
    are_ranks   whether each has RANK, LOCAL_RANK and WORLD_SIZE in its environment; a user's own
                command has not: it may start ranks itself
    nodes       machines over which the ranks are spread evenly
    """

    words: Sequence[str]
    ranks: int
    folder: Path
    variables: Mapping[str, str] = {}
    are_ranks: bool = True
    nodes: int = 1


class Exit(msgspec.Struct, frozen=True):
    """How a rank ended: exit code (negative: the signal), and time on the monotonic clock, s."""

    rank: int
    code: int
    time_s: float


class Launched(ABC):
    """The started processes of a trial."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the ids of those processes that run on this machine."""

    @abstractmethod
    def poll(self) -> list[Exit]:
        """Return the ranks that have ended so far, in the order in which they ended."""

    @abstractmethod
    def stop(self) -> None:
        """End all processes and their children, and wait for it. May be called twice."""


class Launcher(ABC):
    """How the ranks of a trial start."""

    @abstractmethod
    def launch(self, job: Job) -> Launched:
        """Start the ranks of a job. Raises TrialError if the command cannot be started."""
