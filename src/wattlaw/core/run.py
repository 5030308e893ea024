"""The immutable record of one trial, or of an imported measurement."""

from __future__ import annotations

from typing import Literal

import msgspec

from wattlaw.core.errors import DamagedRunError, NewerFormatError
from wattlaw.core.reading import Note, Reading, missing
from wattlaw.core.setting import Setting

FORMAT = 1
"""Version of summary.json that this wattlaw writes. It reads this one and every older one."""

NOT_RECORDED = missing("not recorded")

State = Literal["done", "failed"]


class Machine(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a trial ran, as far as figures need it; environment.json has the rest.

    ``device_type`` and ``device_name`` are those of the devices that trained; ``cores`` is how many
    CPU cores the job could use on one host.
    """

    device_type: str = ""
    device_name: str = ""
    hosts: int = 1
    cores: int | None = None
    cpu_name: str = ""


class Run(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One run: raw totals with their status. ``derive`` computes the derived quantities."""

    setting: Setting
    trial: str
    sweep: str = ""
    format: int = FORMAT
    wattlaw: str = ""
    workload_version: int = 1
    repeat: int = 0
    attempt: int = 1
    state: State = "done"
    source: str = "wattlaw"
    started: str = ""
    machine: Machine = Machine()
    labels: dict[str, str] = {}
    quantities: dict[str, Reading] = {}
    warnings: tuple[Note, ...] = ()
    error: str = ""

    def reading(self, name: str) -> Reading:
        """Return a recorded quantity; a missing reading if the record has none."""
        return self.quantities.get(name) or NOT_RECORDED


class _Version(msgspec.Struct):
    format: int = 1
    wattlaw: str = ""


_BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decoder = msgspec.json.Decoder(Run)
_version = msgspec.json.Decoder(_Version)


def encode_run(run: Run) -> bytes:
    """Return the bytes of summary.json; its format comes first, other defaults are left out."""
    values = {"format": FORMAT} | msgspec.to_builtins(msgspec.structs.replace(run, format=FORMAT))
    return msgspec.json.format(msgspec.json.encode(values), indent=1) + b"\n"


def decode_run(data: bytes, where: str) -> Run:
    """Read a summary. ``where`` names it in errors.

    Raises NewerFormatError for a newer format, DamagedRunError for anything that is not a summary.
    """
    try:
        run = _decoder.decode(data)
    except _BROKEN as error:
        raise _unreadable(data, where, str(error)) from None
    if run.format > FORMAT:
        raise _unreadable(data, where, "")
    return run


def _unreadable(data: bytes, where: str, reason: str) -> DamagedRunError | NewerFormatError:
    # a newer format may fail to decode for its new fields: look at its version before calling it
    # damaged
    try:
        version = _version.decode(data)
    except _BROKEN:
        return DamagedRunError(f"{where} is damaged: {reason or 'not a summary'}")
    if version.format > FORMAT:
        writer = f"wattlaw {version.wattlaw or 'of a later version'}"
        return NewerFormatError(
            f"{where} has format {version.format}, written by {writer}; this version reads up to "
            f"{FORMAT}: upgrade with `pip install -U wattlaw`"
        )
    return DamagedRunError(f"{where} is damaged: {reason}")
