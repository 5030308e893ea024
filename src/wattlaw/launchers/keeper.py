"""The small process that ends a trial's processes when the one that started them is gone, however it went.

`python -m wattlaw.launchers.keeper` reads session numbers, one a line, from standard input. The word
"done" lets it go; an input that closes without it means that the runner was killed.
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
    """A keeper for the sessions of one trial; use it as a context."""

    def __enter__(self) -> Keeper:
        self._process = subprocess.Popen(
            helper_command("wattlaw.launchers.keeper"),
            stdin=subprocess.PIPE,
            env=helper_environment(),
            start_new_session=True,  # Ctrl-C on the terminal is for the runner, which tells the keeper
        )
        return self

    def keep(self, sessions: Iterable[int]) -> None:
        """Tell it which sessions it is to end."""
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
    """Read, wait, and end what was not let go."""
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
