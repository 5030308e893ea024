"""Displays the progress of a sweep on stderr: a bar on a terminal, otherwise a line per trial."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from wattlaw.core.errors import reason
from wattlaw.core.quantities import derive
from wattlaw.core.run import Run
from wattlaw.core.setting import Setting
from wattlaw.core.sweepfile import Trial
from wattlaw.core.units import counted, show, show_time
from wattlaw.executors.claims import Runner
from wattlaw.runner.plan import SweepPlan

if TYPE_CHECKING:
    from tqdm import tqdm


class Display:
    """Displays events on stderr. The time left comes from the plan, corrected as trials end."""

    def __init__(self, plan: SweepPlan, todo: list[Trial]) -> None:
        self._plan, self._varied = plan, list(plan.sweep.over)
        self._left = {t.id: plan.seconds[t.id] for t in todo}
        self._number = len(plan.trials) - len(todo)
        self._took = self._estimated = 0.0
        self._start = time.monotonic()
        self._waited_for: set[str] = set()
        self._bar: tqdm | None = None

    def __enter__(self) -> Display:
        if sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(
                total=len(self._plan.trials),
                initial=self._number,
                bar_format="{bar:30} {n_fmt}/{total_fmt} {desc}",
                dynamic_ncols=True,
                leave=False,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, trial: Trial) -> None:
        self._start, self._trial, self._shown = time.monotonic(), trial, 0.0
        self._update(self._words(trial))

    def tick(self, attempt: Path) -> None:
        now = time.monotonic()
        if self._bar is not None and now - self._shown > 0.5:
            self._shown = now
            self._update(f"{self._words(self._trial)} · {_steps_done(attempt)} steps")

    def end(self, trial: Trial, run: Run) -> None:
        self._took += time.monotonic() - self._start
        self._estimated += self._left.get(trial.id, 0.0)
        self._show_result(trial, outcome(run))

    def end_elsewhere(self, trial: Trial, run: Run) -> None:
        self._show_result(trial, f"{outcome(run)} (in another process)")

    def wait(self, runners: Sequence[Runner]) -> None:
        waited_for = [str(runner) for runner in runners if runner.name not in self._waited_for]
        self._waited_for |= {runner.name for runner in runners}
        if waited_for:
            trials = counted(len(self._left), "trial")
            self._print(
                f"waiting for {trials} of {', '.join(waited_for)}; Ctrl-C leaves them running"
            )

    def _show_result(self, trial: Trial, words: str) -> None:
        self._number += 1
        self._left.pop(trial.id, None)
        line = f"[{self._number}/{len(self._plan.trials)}] {self._words(trial)}: {words}"
        if self._bar is None and self._left:
            line = f"{line}; {self._time_left()}"
        self._print(line)
        if self._bar is not None:
            self._bar.update(1)
            self._update("")

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def _update(self, words: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(f"{self._time_left()} · {words}")

    def _time_left(self) -> str:
        pace = self._took / self._estimated if self._estimated > 0 else 1.0
        return f"about {show_time(sum(self._left.values()) * pace)} left"

    def _words(self, trial: Trial) -> str:
        return f"{name(trial.setting, self._varied)}, repeat {trial.repeat + 1}"


def outcome(run: Run) -> str:
    """Return the result of a trial in a few words."""
    if run.state == "failed":
        return f"failed: {reason(run.error) or 'no error was recorded'}"
    step, rate = derive(run, "step_time_s"), derive(run, "samples_per_s")
    if step.value is None or rate.value is None:
        took = run.reading("trial_s").value
        if took is None:
            return "done"
        return f"done in {show_time(took)}"
    return f"{show(step.value, 's')} per step, {show(rate.value)} samples/s"


def name(setting: Setting, varied: list[str]) -> str:
    """Return the workload and the varied fields of a setting, which identify it in its sweep."""
    words = [setting.workload]
    for field in varied:
        value = getattr(setting, field, setting.options.get(field))
        if field not in ("workload", "seed") and value is not None:
            words.append(f"{field.replace('_', ' ')} {value}")
    return ", ".join(words)


def _steps_done(attempt: Path) -> int:
    try:
        with open(attempt / "steps-0.csv", "rb") as file:
            return max(0, file.read().count(b"\n") - 1)
    except OSError:
        return 0
