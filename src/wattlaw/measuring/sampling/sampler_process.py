"""One process on each host that reads the meters, outside of the training's interpreter lock.

`python -m wattlaw.measuring.sampling.sampler_process SPEC.json` reads one word per line from
standard input and answers each word when it is done: "edge" takes readings now, "flush" writes all
rows to disk, "stop" ends. The process also ends when its standard input closes or its parent ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import msgspec

from wattlaw.core.errors import DeviceError, SettingError
from wattlaw.core.files import make_folder, write_whole
from wattlaw.core.helper_process import helper_command, helper_environment
from wattlaw.devices.meter import Scope
from wattlaw.measuring.files.host_files import Host, host_name, read_host
from wattlaw.measuring.limits.limits import DeviceLimit, set_limits, write_limits
from wattlaw.measuring.limits.node_guard import guard_of_this_process
from wattlaw.measuring.sampling.clock_offsets import compare_clock
from wattlaw.measuring.sampling.host_sampler import (
    FLUSH_S,
    SAMPLER_VARIABLE,
    HostSampler,
    check_rate,
    sampler_mark,
)

MODULE = "wattlaw.measuring.sampling.sampler_process"

REPLAY = "WATTLAW_REPLAY"
"""Names a trace to replay instead of the devices."""

REFUSED = b"refused "
"""Begins the line with which a sampler reports a refused limit before it ends."""

_START_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 5.0


class SamplerSpec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The task of a sampler process.

    folder, hz, gpus, root_pid, slurm_job  as in HostSampler and Scope
    meters      names of the meters; None is all
    parent      the process that it must not outlive; 0 if that is on another host, so that only
                the end of standard input ends it
    measurer    host and processes of the wattlaw that measures a whole allocation; not of the job
    limits      set before anything is read; the guard, whose child it is, restores them
    is_root_excluded  whether only the descendants of ``root_pid`` are of the job
    """

    folder: str
    root_pid: int
    parent: int
    hz: float = 10.0
    gpus: tuple[str, ...] | None = None
    meters: Sequence[str] | None = None
    replay: str = ""
    is_root_excluded: bool = False
    slurm_job: str = ""
    limits: dict[str, float] = {}
    measurer: tuple[str, tuple[int, ...]] | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a node refused: its name, the class of the error, and the message."""

    host: str
    control: str
    kind: str
    text: str


class Sampler:
    """A running sampler process. ``edge`` reads now; ``stop``, or leaving its context, ends it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self.owner = os.getpid()
        self._talking = threading.Lock()
        self._variable_before = os.environ.get(SAMPLER_VARIABLE)
        os.environ[SAMPLER_VARIABLE] = sampler_mark(process.pid, folder)

    def edge(self) -> float:
        """Read all fast quantities now; return the time, s on the monotonic clock."""
        now = time.monotonic()
        self._request("edge")
        return now

    def flush(self) -> None:
        """Write every reading so far to disk."""
        self._request("flush")

    def stop(self) -> Host | None:
        """Take the last readings and end; return the host, None if the sampler was killed."""
        if os.getpid() != self.owner:
            return None  # a forked child has the same object; the sampler is its parent's
        if self.process.poll() is None:
            self._request("stop")
            self._end()
        self._close()
        with contextlib.suppress(FileNotFoundError):
            return read_host(self.folder / f"host-{host_name()}.json")
        return None

    def __enter__(self) -> Sampler:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _request(self, word: str) -> bool:
        """Send a word and wait for its answer; return whether one came.

        None comes if the sampler was killed; the summary then has a warning.
        """
        if os.getpid() != self.owner:
            return False  # a forked child would take its parent's answers
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        with self._talking:
            if stdin.closed:
                return False
            # skip a late answer to an earlier word
            while select.select([stdout], [], [], 0)[0] and os.read(stdout.fileno(), 4096):
                continue
            try:
                os.write(stdin.fileno(), word.encode() + b"\n")
            except BrokenPipeError:
                return False
            return read_answer(stdout.fileno(), _ANSWER_TIMEOUT_S) != b""

    def _end(self) -> None:
        for force in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(_ANSWER_TIMEOUT_S)
                return
            except subprocess.TimeoutExpired:
                force()
        self.process.wait()

    def _close(self) -> None:
        _close_pipes(self.process)
        if os.environ.get(SAMPLER_VARIABLE) != sampler_mark(self.process.pid, self.folder):
            return
        if self._variable_before is None:
            del os.environ[SAMPLER_VARIABLE]
        else:
            os.environ[SAMPLER_VARIABLE] = self._variable_before


def start_sampler(
    folder: Path | str,
    *,
    hz: float = 10.0,
    root_pid: int | None = None,
    gpus: Sequence[int | str] | None = None,
    meters: tuple[str, ...] | None = None,
    replay: str | None = None,
    is_root_excluded: bool = False,
) -> Sampler:
    """Start this host's sampler; return it when its first readings are taken.

    It writes telemetry-<host>.csv and host-<host>.json into ``folder``.

    hz             readings per second, 0.1 to 100
    root_pid       root of the job's processes, by default this process
    is_root_excluded  whether only the descendants of ``root_pid`` are of the job
    gpus           indices or UUIDs of the job's GPUs; None: all that CUDA_VISIBLE_DEVICES allows
    meters         names of the meters; None: all
    replay         a trace to replay; None: $WATTLAW_REPLAY

    Raises UsageError, RecordError, or DeviceError if the process does not start.
    """
    check_rate(hz)
    if replay is None:
        replay = os.environ.get(REPLAY, "")
    where = make_folder(Path(folder)).absolute()
    spec = SamplerSpec(
        folder=str(where),
        root_pid=root_pid or os.getpid(),
        parent=os.getpid(),
        hz=hz,
        gpus=None if gpus is None else tuple(map(str, gpus)),
        meters=meters,
        replay=replay,
        is_root_excluded=is_root_excluded,
    )
    path = where / f".sampler-{host_name()}.json"
    write_whole(path, msgspec.json.encode(spec))
    words = helper_command(MODULE, str(path))
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=helper_environment(),
        start_new_session=True,  # Ctrl-C on the terminal must not end the sampler before the job
    )
    assert process.stdout is not None
    if read_answer(process.stdout.fileno(), _START_TIMEOUT_S) != b"ready":
        process.kill()
        process.wait()
        _close_pipes(process)
        raise DeviceError(f"the sampler did not start; try `{shlex.join(words)}`")
    path.unlink(missing_ok=True)
    return Sampler(where, process)


def read_answer(file: int, timeout_s: float) -> bytes:
    """Return the next line of a pipe without its newline; what there is when the time is over."""
    text = b""
    deadline = time.monotonic() + timeout_s
    while not text.endswith(b"\n"):
        if not select.select([file], [], [], max(0.0, deadline - time.monotonic()))[0]:
            break
        piece = os.read(file, 1)
        if not piece:
            break
        text += piece
    return text.strip()


def main(arguments: list[str]) -> int:
    """Sample as a spec file says, until "stop", SIGTERM, or the end of the parent."""
    spec = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=SamplerSpec)
    signals: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = _reserve_stdout()
    scope = Scope(
        root_pid=spec.root_pid,
        gpus=spec.gpus,
        replay=spec.replay,
        excluded=_excluded_processes(spec),
        slurm_job=spec.slurm_job,
        mark=f"{SAMPLER_VARIABLE}={sampler_mark(os.getpid(), Path(spec.folder))}",
    )
    sampler = HostSampler(Path(spec.folder), scope, spec.hz, spec.meters, compare_clock)
    with contextlib.ExitStack() as stack:
        refusal = _set_limits(spec, stack)
        if refusal:
            _answer(answers, (REFUSED + msgspec.json.encode(refusal)).decode())
            return 1
        _serve(sampler, spec, signals, answers)
    return 0


def _excluded_processes(spec: SamplerSpec) -> tuple[int, ...]:
    """Return the processes that are not part of the job although they descend from its root."""
    excluded = [os.getpid()]
    if spec.is_root_excluded:
        excluded.append(spec.root_pid)
    if spec.measurer:
        excluded.append(os.getppid())  # the guard of this node
        host, processes = spec.measurer
        if host == host_name():
            excluded += processes
    return tuple(excluded)


def _serve(sampler: HostSampler, spec: SamplerSpec, signals: list[int], answers: int) -> None:
    """Sample, and carry out every word that is read, until the end."""
    sampler.start()
    _answer(answers, "ready")
    while not signals and spec.parent in (0, os.getppid()):
        if not select.select([0], [], [], FLUSH_S / 2)[0]:
            continue
        words = os.read(0, 4096).decode().split()
        if not words or "stop" in words:
            break
        for word in words:
            if word == "edge":
                sampler.edge()
            else:
                sampler.flush()
            _answer(answers, word)
    sampler.stop()
    _answer(answers, "stopped")


def _set_limits(spec: SamplerSpec, stack: contextlib.ExitStack) -> Refusal | None:
    """Set the limits of a spec, one kind after another; return the first refusal."""
    guard = guard_of_this_process()
    limits: list[DeviceLimit] = []
    for name, value in spec.limits.items():
        try:
            if guard is None:
                raise DeviceError("there is no guard to restore a limit; nothing was set")
            limits += set_limits({name: value}, spec.gpus, guard, stack)
        except (DeviceError, SettingError) as error:
            kind = type(error).__name__
            return Refusal(host=host_name(), control=name, kind=kind, text=str(error))
    if limits:
        write_limits(Path(spec.folder), host_name(), limits)
    return None


def _reserve_stdout() -> int:
    """Return a copy of standard output for answers; what libraries print goes to standard error."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _answer(answers: int, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(answers, text.encode() + b"\n")


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
