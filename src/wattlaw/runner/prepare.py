"""The first part of a trial: everything that does not depend on the node, as one specification.

The other parts are carry_out.py, on the node, and record_trial.py.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

import msgspec

from wattlaw.core.errors import DamagedRunError, NewerFormatError, TrialError
from wattlaw.core.files import explained, make_folder, write_whole
from wattlaw.core.plugins import WORKLOADS, plugins
from wattlaw.core.setting import Setting
from wattlaw.core.sweepfile import Sweep, Trial
from wattlaw.executors.executor import FORMAT, Code, TrialSpec
from wattlaw.runner.command.template import words_of
from wattlaw.runner.resume import latest_checkpoint
from wattlaw.workloads.inspect_class import file_of

SPECS = ".prepared"
"""Folder of a sweep with the specifications of its trials, for executors that start processes."""

_SCRIPTS = (".py", ".sh")


def prepare(trial: Trial, sweep: Sweep, folder: Path, replaces: int = 0) -> TrialSpec:
    """Return the specification of a trial whose setting has been checked (``plan``).

    ``folder`` is that of the sweep. ``replaces`` is the attempt whose failed result the trial
    replaces, 0 if it has no result. Looks at no device. Raises SettingError for a wrong command.
    """
    checkpoint = latest_checkpoint(folder / trial.id, trial.setting)
    return TrialSpec(
        id=trial.id,
        trial=trial,
        sweep=sweep.name,
        folder=str(folder.absolute()),
        hz=sweep.hz,
        time_limit_s=sweep.time_limit_s,
        cooldown_s=sweep.cooldown_s,
        directory=os.getcwd(),
        code=code_of(trial.setting),
        checkpoint=str(checkpoint.absolute()) if checkpoint else "",
        replaces=replaces,
    )


def code_of(setting: Setting) -> Code:
    """Return what a setting executes: the words of a command, or the class of a workload.

    For the user's own code the source file and its hash are included: the file of the class, or the
    first Python or shell script that the command names.
    """
    if setting.command:
        words = words_of(setting, out="{out}")
        scripts = [p for p in map(Path, words) if p.suffix in _SCRIPTS and p.is_file()]
        file, digest = _identity(scripts[0] if scripts else None)
        return Code(words=tuple(words), file=file, sha256=digest)
    if ":" in setting.workload:
        file, digest = _identity(file_of(setting.workload))
        return Code(name=setting.workload, file=file, sha256=digest)
    plugin = plugins(WORKLOADS)[setting.workload]
    return Code(name=f"{plugin.module}:{plugin.attribute}")


def check_unchanged(code: Code) -> None:
    """Raise TrialError if the source file is missing or has changed."""
    if not code.file:
        return
    if not Path(code.file).is_file():
        raise TrialError(f"{code.file} is not on this machine; the trial was prepared with it")
    if _identity(Path(code.file)) != (code.file, code.sha256):
        raise TrialError(
            f"{code.file} has changed since the trial was prepared; `wattlaw sweep retry` runs the "
            "trial with the present file"
        )


def _identity(path: Path | None) -> tuple[str, str]:
    if path is None:
        return "", ""
    with explained(path, "read"):
        stat = path.stat()
        return str(path.absolute()), _digest(path.absolute(), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=16)
def _digest(path: Path, _changed_ns: int, _bytes: int) -> str:
    # a sweep has many trials of one file
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_trial_spec(spec: TrialSpec) -> Path:
    """Write SPEC.json into the sweep's folder and return its path. Raises RecordError."""
    path = make_folder(Path(spec.folder, SPECS)) / f"{spec.id}.json"
    write_whole(path, msgspec.json.format(msgspec.json.encode(spec), indent=1))
    return path


def read_trial_spec(path: Path) -> TrialSpec:
    """Read SPEC.json. Raises DamagedRunError, NewerFormatError or RecordError."""
    with explained(path, "read"):
        data = path.read_bytes()
    try:
        spec = msgspec.json.decode(data, type=TrialSpec)
    except msgspec.MsgspecError as error:
        raise DamagedRunError(f"{path} is not a prepared trial: {error}") from None
    if spec.format > FORMAT:
        raise NewerFormatError(
            f"{path} has format {spec.format}; this wattlaw reads up to {FORMAT}: upgrade with "
            "`pip install -U wattlaw`"
        )
    return spec
