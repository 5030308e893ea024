"""What a launcher is: it starts the processes of one trial and watches them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec


class Job(msgspec.Struct, frozen=True):
    """The processes to start: one command, started once per rank.

    words       the command, never given to a shell
    ranks       processes to start
    are_ranks   whether each finds RANK, LOCAL_RANK and WORLD_SIZE in its environment; a user's own command
                does not: it may start ranks itself, or none
    folder      where ``output-<rank>.log`` is written
    variables   added to the environment of every rank
    nodes       machines over which the ranks are spread evenly
    """

    words: Sequence[str]
    ranks: int
    folder: Path
    variables: Mapping[str, str] = {}
    are_ranks: bool = True
    nodes: int = 1


class Exit(msgspec.Struct, frozen=True):
    """How a rank ended: its exit code (negative: the signal), and when on the monotonic clock, s."""

    rank: int
    code: int
    time_s: float


class Launched(ABC):
    """Processes that were started."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Return the process ids that run on this machine."""

    @abstractmethod
    def poll(self) -> list[Exit]:
        """Return the ranks that have ended so far, in the order in which they ended."""

    @abstractmethod
    def stop(self) -> None:
        """End all processes and their children; returns when they are gone. May be called twice."""


class Launcher(ABC):
    """Where the processes of a trial are started."""

    @abstractmethod
    def launch(self, job: Job) -> Launched:
        """Start a job's ranks. Raises TrialError where the command cannot be started."""
