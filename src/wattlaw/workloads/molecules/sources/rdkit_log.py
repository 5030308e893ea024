"""What RDKit logs, kept from stderr and read as text."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator

from wattlaw.core.plugins import need

_AROUND = re.compile(
    r"^(\[[\d:]+\] )?(SMILES Parse Error: |ERROR: |WARNING: )?|(while parsing|for input): .*$"
)
"""What surrounds a message: its time, its rank, and the SMILES."""

_PLAIN = (
    (re.compile(r"Element '(.*)' not found"), r"unknown element \1"),
    (re.compile(r"attempt to add self-bond"), "a bond of an atom with itself"),
    (re.compile(r"bond_pin->get\w+\(\)"), "a bond to an atom that does not exist"),
)
"""RDKit's messages about its own code, and what they mean for a file."""


class RdkitLog(logging.Handler):
    """The lines that RDKit logged since they were last taken."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def take(self) -> list[str]:
        """Return the lines without their times and ranks, and forget them."""
        text = "\n".join(self.lines)
        self.lines.clear()
        for pattern, meaning in _PLAIN:
            found = pattern.search(text)
            if found:
                return [found.expand(meaning)]
        lines = [_AROUND.sub("", line).strip() for line in text.splitlines()]
        return [line for line in lines if line and not line.startswith("*")]


@contextlib.contextmanager
def captured_rdkit_log() -> Iterator[RdkitLog]:
    """Collect what RDKit logs meanwhile; its own settings are restored afterwards.

    Raises MissingPartError if RDKit is not installed.
    """
    base = need("rdkit.rdBase", "SMILES and SDF")
    switches = need("rdkit.RDLogger", "SMILES and SDF")
    logger = logging.getLogger("rdkit")
    before = (logger.handlers, logger.propagate)
    disabled = [line.split(":")[0] for line in base.LogStatus().split() if "disabled" in line]
    log = RdkitLog()
    logger.handlers, logger.propagate = [log], False
    base.LogToPythonLogger()
    try:
        yield log
    finally:
        base.LogToCppStreams()
        for channel in disabled:
            switches.DisableLog(channel)
        logger.handlers, logger.propagate = before
