"""Ends the processes of a trial if the runner that started them dies, also by SIGKILL.

`python -m wattlaw.launchers.keeper` reads session ids from standard input, one per line. At the
word "done" it exits; if its input closes without it, the runner was killed: it ends the sessions.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable
from types import TracebackType

from wattlaw.core.helper_process import helper_command, helper_environment
from wattlaw.launchers.sessions import end


class Keeper:
    """A keeper process for the sessions of one trial; use it as a context."""

    def __enter__(self) -> Keeper:
        self._process = subprocess.Popen(
            helper_command("wattlaw.launchers.keeper"),
            stdin=subprocess.PIPE,
            env=helper_environment(),
            start_new_session=True,  # Ctrl-C reaches the runner only
        )
        return self

    def keep(self, sessions: Iterable[int]) -> None:
        """Have it end these sessions if this process dies."""
        assert self._process.stdin is not None
        for session in sessions:
            self._process.stdin.write(b"%d\n" % session)
        self._process.stdin.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate(b"done\n")


def main() -> None:
    """Read session ids, wait, and end the sessions if the runner dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sessions = []
    for line in sys.stdin:
        if line.strip() == "done":
            return
        sessions.append(int(line))
    end(sessions)


if __name__ == "__main__":
    main()
