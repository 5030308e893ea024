"""How many steps a trial takes: by count, by epochs, by the clock."""

from __future__ import annotations

import math

from wattlaw.core.setting import Stop

_ASK_S = 1.0


def most_steps(stop: Stop, batches_an_epoch: int, accumulation: int) -> int | None:
    """Return the most measured steps that a stop allows, the earlier of steps and epochs; None without either."""
    wanted = []
    if stop.steps is not None:
        wanted.append(stop.steps)
    if stop.epochs is not None:
        wanted.append(max(1, math.ceil(stop.epochs * batches_an_epoch / accumulation)))
    return min(wanted) if wanted else None


def steps_to_take(asked: list[tuple[int, float]], most: int | None, seconds: float) -> int:
    """Return how many steps to take before the clock is asked again; 0 where the time is up.

    ``asked`` has the steps done and the time, s, of each earlier look at the clock. It is looked at after 1,
    2, 4, … steps, at last once a second, so a steady pace ends within half a step of ``seconds``.
    """
    (_, start), (before, then), (done, now) = asked[0], asked[-2], asked[-1]
    # the slower of the pace so far and the latest: too few steps are mended at the next look, too many never
    each = max((now - start) / done, (now - then) / (done - before), 1e-9)
    left = seconds - (now - start)
    if left < each / 2:
        return 0
    more = max(1, min(done, int(min(left, _ASK_S) / each)))
    return more if most is None else min(more, most - done)
