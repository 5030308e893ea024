"""Runs trials on this machine, one after another, in this process.

Several processes may work on one sweep, on this machine or on others that see its folder: each
claims the next trial that no other carries out. At the end each waits for the trials of the others,
and takes over those whose process has died, so that the sweep is complete when any of them returns.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from wattlaw.core.errors import NewerFormatError, RecordError, UsageError
from wattlaw.core.polling import wait_until
from wattlaw.core.run import Run
from wattlaw.executors.claims import Claims, Runner, joined, runners
from wattlaw.executors.executor import Executor, TrialSpec, is_left, result_of

NAMES = {"local": "LocalExecutor"}

_FIRST_LOOK_S, _LAST_LOOK_S = 0.25, 5.0
_CANCEL_S = 20.0


class LocalExecutor(Executor):
    """This machine."""

    def submit(self, specs: Sequence[TrialSpec]) -> list[Run]:
        runs: list[Run] = []
        left, look_s = list(specs), _FIRST_LOOK_S
        with joined(self.folder) as claims:
            while left:
                left = [spec for spec in left if not self._has_ended(spec, claims, runs)]
                if left:
                    claims.show_idle()
                    self.watcher.wait(claims.alive())
                    time.sleep(look_s)
                    look_s = min(2 * look_s, _LAST_LOOK_S)
        return runs

    def _has_ended(self, spec: TrialSpec, claims: Claims, runs: list[Run]) -> bool:
        """Carry out a trial unless another process does; return whether it has a result."""
        attempt = claims.claim(spec.trial_folder, lambda: is_left(spec))
        if attempt is not None:
            try:
                run = self._carry_out(spec, attempt, is_first=not runs)
            finally:
                claims.release(attempt)
            if run is not None:
                runs.append(run)
                return True
        if is_left(spec):
            return False
        with contextlib.suppress(NewerFormatError):
            if (other := result_of(spec)) is not None:
                self.watcher.end_elsewhere(spec.trial, other)
        return True

    def _carry_out(self, spec: TrialSpec, attempt: Path, *, is_first: bool) -> Run | None:
        if spec.cooldown_s and not is_first:
            time.sleep(spec.cooldown_s)
        self.watcher.begin(spec.trial)
        run = self.work(spec, attempt)
        if run is not None:
            self.watcher.end(spec.trial, run)
        return run

    def status(self) -> list[Runner]:
        return runners(self.folder)

    def cancel(self) -> list[Runner]:
        found = runners(self.folder)
        here = [runner for runner in found if runner.is_here]
        if not found:
            raise UsageError(f"no process works on the sweep in {self.folder}")
        if not here:
            elsewhere = ", ".join(map(str, found))
            raise UsageError(f"{elsewhere} works on the sweep in {self.folder}; cancel it there")
        for runner in here:
            with contextlib.suppress(ProcessLookupError):
                os.kill(runner.pid, signal.SIGTERM)
        names = {runner.name for runner in here}

        def have_ended() -> bool:
            return names.isdisjoint(runner.name for runner in runners(self.folder))

        if not wait_until(have_ended, _CANCEL_S, every_s=0.1):
            stopped = ", ".join(map(str, here))
            raise RecordError(f"{stopped}: asked to stop {_CANCEL_S:g} s ago, but still running")
        return here
