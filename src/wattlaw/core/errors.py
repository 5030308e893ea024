"""Every error that wattlaw raises on purpose.

WattlawError
├── UsageError             the request is wrong; the message says what would be valid (exit code 2)
│   ├── UnknownNameError       an unknown name
│   └── SettingError           a setting that cannot be carried out
├── MissingPartError       an optional package or program is not installed
├── BrokenPluginError      a plug-in of another package cannot be imported
├── RecordError            a run folder cannot be read or written
│   ├── DamagedRunError        a file of it is broken or half-written
│   └── NewerFormatError       it was written by a newer wattlaw
├── DataError              a file of the user or of another program is wrong
│   └── UntrustedError         loading it would run code that the caller has not allowed
├── DeviceError            a meter or control failed
│   └── PermissionDeniedError  the system forbids it; the message says how to get it
├── FitError               no law can be fitted to these points
└── TrialError             a trial failed; carries the first failing rank's traceback
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class WattlawError(Exception):
    """Base of all errors that wattlaw raises on purpose. Its text is one line a user can act on."""

    exit_code = 1


class UsageError(WattlawError):
    """The request is wrong; the message says what would be valid."""

    exit_code = 2


class UnknownNameError(UsageError):
    """An unknown name; the message suggests the nearest valid ones."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; {nearest(name, known)}")


class SettingError(UsageError):
    """A setting that cannot be carried out, such as a batch of 0 or more devices than there are."""


class MissingPartError(WattlawError):
    """An optional package or program is not installed."""


class BrokenPluginError(WattlawError):
    """A plug-in of another package cannot be imported; the message names the package."""


class RecordError(WattlawError):
    """A run folder cannot be read or written."""


class DamagedRunError(RecordError):
    """A file of a run folder is broken or half-written."""


class NewerFormatError(RecordError):
    """A run folder was written by a newer wattlaw."""


class DataError(WattlawError):
    """A file of the user or of another program is wrong; the message names the place."""


class UntrustedError(DataError):
    """Loading a file would run code that it names; the message says how to allow that."""


class DeviceError(WattlawError):
    """A meter or control failed."""


class PermissionDeniedError(DeviceError):
    """The system forbids a reading or a control; the message says how to get it."""


class FitError(WattlawError):
    """No law can be fitted to these points; the message says what is missing."""


class TrialError(WattlawError):
    """A trial failed; the message is the first failing rank's traceback."""


_RAISED = re.compile(r"[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b")
_OUTPUT = "; the end of its output:"


def reason(error: str) -> str:
    """Return what a recorded error says happened, in one line; empty if nothing was recorded.

    That is the exception of a traceback ("RuntimeError: no good"), else the first line, to which a
    command adds its last words.
    """
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines:
        return ""
    first, last = lines[0].removesuffix(_OUTPUT), lines[-1]
    if traced := any(line.startswith("Traceback") for line in lines):
        last = next((line for line in reversed(lines) if _RAISED.match(line)), last)
    if lines[0] != first:
        return f"{first}: {last}" if lines[1:] else first
    return last if traced else first


def described(error: BaseException) -> str:
    """Return an error as one line, with its type unless wattlaw or the system raised it."""
    text = " ".join(str(error).split())
    if text and isinstance(error, WattlawError | OSError):
        return text
    return f"{type(error).__name__}: {text}".removesuffix(": ")


def nearest(name: str, known: Iterable[str], most: int = 12) -> str:
    """Return "did you mean …?" for a misspelt name, or the valid names when none is near."""
    names = sorted(set(known))
    if not names:
        return "none is known here"
    by_lower = {n.lower(): n for n in reversed(names)}
    likeness = {n: _likeness(name.lower(), n) for n in by_lower}
    ordered = sorted(likeness, key=lambda n: (-likeness[n], n[:1] != name[:1].lower(), n))
    near = [n for n in ordered if likeness[n] >= 0.6][:3]
    if near:
        return "did you mean " + " or ".join(repr(by_lower[n]) for n in near) + "?"
    if len(names) <= most:
        return "valid: " + ", ".join(names)
    some = sorted(by_lower[n] for n in ordered[:most])
    return f"valid: {', '.join(some)}, … ({len(names) - most} more)"


def _likeness(name: str, known: str) -> float:
    """Return the similarity of two names, as a whole or by parts: "h100" is in "nvidia-h100"."""

    def ratio(one: str, other: str) -> float:
        return difflib.SequenceMatcher(None, one, other).ratio()

    best = []
    for part in _parts(name):
        best.append(max((ratio(part, other) for other in _parts(known)), default=0.0))
    worst = min(best, default=0.0)
    of_parts = 0.9 * worst if worst >= 0.75 else 0.0
    return max(ratio(name, known), of_parts)


def _parts(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name)
