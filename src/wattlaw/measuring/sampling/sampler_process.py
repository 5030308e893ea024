"""One process a host that reads the meters, outside the training process's interpreter lock.

`python -m wattlaw.measuring.sampling.sampler_process SPEC.json` reads one word a line from standard input, and answers when
it is carried out: "edge" takes readings at once, "flush" brings all rows to disk, "stop" ends. It also
ends when its standard input closes or its parent is gone.
"""

from __future__ import annotations

import contextlib
import os
import select
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
from wattlaw.devices.meter import Scope
from wattlaw.measuring.files.host_files import Host, host_name, read_host
from wattlaw.measuring.limits.limits import Limit, hold, write_limits
from wattlaw.measuring.limits.node_guard import guard_of_this
from wattlaw.measuring.sampling.host_sampler import FLUSH_S, VARIABLE, Engine, check_rate, telling

REPLAY = "WATTLAW_REPLAY"


_START_WAIT_S = 30.0


_ANSWER_WAIT_S = 5.0


class Spec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a sampler process is to do. ``meters`` None is every meter; ``parent`` is whom it must not outlive.

    Where ``parent`` is 0, as on another node, the end of its standard input alone says that it is not needed any more.
    ``measurer`` is the host and the processes of the wattlaw that measures a whole allocation; no part of the job.
    ``limits`` are set before anything is read; the guard whose child it is puts them back.
    """

    folder: str
    root_pid: int
    parent: int
    hz: float = 10.0
    gpus: tuple[str, ...] | None = None
    meters: tuple[str, ...] | None = None
    replay: str = ""
    is_root_apart: bool = False
    slurm_job: str = ""
    limits: dict[str, float] = {}
    measurer: tuple[str, tuple[int, ...]] | None = None


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a node refused: which, with which error of core/errors.py, and why."""

    host: str
    control: str
    kind: str
    text: str


REFUSED = b"refused "
"""Begins the line in which a sampler says so, and then ends."""


class Sampler:
    """A running sampler process. ``edge`` reads at once; ``stop`` ends it, as leaving its context does."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self.owner = os.getpid()
        self._asking = threading.Lock()
        self.before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = telling(process.pid, folder)

    def edge(self) -> float:
        """Have every fast quantity read now; return this moment, s on the monotonic clock."""
        now = time.monotonic()
        self._ask("edge")
        return now

    def flush(self) -> None:
        """Have every row read so far brought to disk."""
        self._ask("flush")

    def stop(self) -> Host | None:
        """Take the last readings and end; returns the host file, None where the sampler was killed before."""
        if os.getpid() != self.owner:
            return None  # a forked child holds the same object; the sampler is its parent's
        if self.process.poll() is None:
            self._ask("stop")
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

    def _ask(self, word: str) -> bool:
        """Send a word and wait for its answer; a sampler that was killed is silently gone, its rows say so.

        False where none came. A forked child asks nothing: the answer would be its parent's.
        """
        if os.getpid() != self.owner:
            return False
        with self._asking:  # windows of several threads
            return self._ask_alone(word)

    def _ask_alone(self, word: str) -> bool:
        stdin, stdout = self.process.stdin, self.process.stdout
        if stdin is None or stdout is None or stdin.closed:
            return False
        while select.select([stdout], [], [], 0)[0] and os.read(stdout.fileno(), 4096):
            continue  # a late answer to an earlier word
        try:
            os.write(stdin.fileno(), word.encode() + b"\n")
        except BrokenPipeError:
            return False
        return answer_line(stdout.fileno(), _ANSWER_WAIT_S) != b""

    def _end(self) -> None:
        for ask in (self.process.terminate, self.process.kill):
            try:
                self.process.wait(_ANSWER_WAIT_S)
                return
            except subprocess.TimeoutExpired:
                ask()
        self.process.wait()

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        if os.environ.get(VARIABLE, "").split(":")[1:2] == [str(self.process.pid)]:
            if self.before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = self.before


def start_sampler(
    folder: Path | str,
    *,
    hz: float = 10.0,
    root_pid: int | None = None,
    gpus: Sequence[int | str] | None = None,
    meters: Sequence[str] | None = None,
    replay: str | None = None,
    is_root_apart: bool = False,
) -> Sampler:
    """Start this host's sampler and return it once its first readings are taken.

    It writes telemetry-<host>.csv and host-<host>.json into ``folder``. ``root_pid`` is the root of the
    job's processes (this one by default; with ``is_root_apart`` only its descendants count), ``gpus`` the
    indices or UUIDs of its GPUs (None: all that CUDA_VISIBLE_DEVICES leaves; an empty list: none), ``hz``
    readings a second, 0.1 to 100.
    Raises UsageError, RecordError, or DeviceError where the process does not start.
    """
    check_rate(hz)
    where = make_folder(Path(folder)).absolute()
    spec = Spec(
        folder=str(where),
        root_pid=os.getpid() if root_pid is None else root_pid,
        parent=os.getpid(),
        hz=hz,
        gpus=None if gpus is None else tuple(str(g) for g in gpus),
        meters=None if meters is None else tuple(meters),
        replay=os.environ.get(REPLAY, "") if replay is None else replay,
        is_root_apart=is_root_apart,
    )
    path = where / f".sampler-{host_name()}.json"
    write_whole(path, msgspec.json.encode(spec))
    process = subprocess.Popen(
        [sys.executable, "-m", "wattlaw.measuring.sampling.sampler_process", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment_of_sampler(),
        start_new_session=True,  # Ctrl-C on the terminal is for the job; the sampler sees it end
    )
    assert process.stdout is not None
    if answer_line(process.stdout.fileno(), _START_WAIT_S) != b"ready":
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        raise DeviceError(
            f"the sampler did not start; try `{sys.executable} -m wattlaw.measuring.sampling.sampler_process {path}`"
        )
    path.unlink(missing_ok=True)
    return Sampler(where, process)


def main(arguments: list[str]) -> int:
    """Sample as a spec file says until told to stop."""
    spec = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Spec)
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    apart = (os.getpid(), spec.root_pid) if spec.is_root_apart else (os.getpid(),)
    if spec.measurer:  # the guard of this node is a process of the job's too
        apart = (
            *apart,
            os.getppid(),
            *(spec.measurer[1] if spec.measurer[0] == host_name() else ()),
        )
    scope = Scope(root_pid=spec.root_pid, gpus=spec.gpus, replay=spec.replay, apart=apart, slurm_job=spec.slurm_job,
                  mark=f"{VARIABLE}={telling(os.getpid(), Path(spec.folder))}")  # fmt: skip
    engine = Engine(Path(spec.folder), scope, spec.hz, spec.meters)
    with contextlib.ExitStack() as kept:
        if refusal := _hold(spec, kept):
            _answer((REFUSED + msgspec.json.encode(refusal)).decode())
            return 1
        _serve(engine, spec, told)
    return 0


def _serve(engine: Engine, spec: Spec, told: list[int]) -> None:
    """Sample until told to stop, and do each word that is read."""
    engine.start()
    _answer("ready")
    while not told and spec.parent in (0, os.getppid()):
        if not select.select([0], [], [], FLUSH_S / 2)[0]:
            continue
        words = os.read(0, 4096).decode().split()
        if not words or "stop" in words:
            break
        for word in words:
            engine.edge() if word == "edge" else engine.flush()
            _answer(word)
    engine.stop()
    _answer("stopped")


def _hold(spec: Spec, kept: contextlib.ExitStack) -> Refusal | None:
    """Set the limits of a spec, one kind after the other; return the first that is refused."""
    guard = guard_of_this()
    held: list[Limit] = []
    for name, value in spec.limits.items():
        try:
            if guard is None:
                raise DeviceError("no guard is there to put a limit back; nothing was set")
            held += hold({name: value}, spec.gpus, None, guard, kept)
        except (DeviceError, SettingError) as error:
            return Refusal(
                host=host_name(), control=name, kind=type(error).__name__, text=str(error)
            )
    if held:
        write_limits(Path(spec.folder), host_name(), held)
    return None


def _answer(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(1, text.encode() + b"\n")


def answer_line(file: int, timeout_s: float) -> bytes:
    """Return the next line from a pipe, without its end; what there is when the time is over or the pipe closes."""
    text = b""
    until = time.monotonic() + timeout_s
    while not text.endswith(b"\n"):
        if not select.select([file], [], [], max(0.0, until - time.monotonic()))[0]:
            break
        piece = os.read(file, 1)
        if not piece:
            break
        text += piece
    return text.strip()


def environment_of_sampler() -> dict[str, str]:
    """Return the environment in which a sampler process finds this very wattlaw."""
    # the sampler must find this very wattlaw, however the parent found it
    here = str(Path(__file__).parents[2])
    paths = [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(p for p in paths if p))}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
