"""What a study is: a paper's question as a sweep, asked again on whatever machine this is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from wattlaw.runner.node_devices import NodeDevices


class Study(ABC):
    """One question. ``scales`` names the sizes it can be asked at, the smallest first."""

    title: ClassVar[str]
    paper: ClassVar[str]
    question: ClassVar[str]
    scales: ClassVar[tuple[str, ...]] = ("here",)

    @abstractmethod
    def sweep(self, place: NodeDevices, scale: str) -> dict[str, Any]:
        """Return the sweep, as its file would give it, for a machine and a scale."""
