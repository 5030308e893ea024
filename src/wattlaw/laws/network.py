"""Formulas for the cost of communication and stragglers, which need no runs.

α is the latency of one message, s; B the bandwidth of a link, bytes/s; S the message, bytes (the
gradient). Sources: Thakur, Rabenseifner, Gropp 2005 (ring, tree); Patarasuk, Yuan 2009 (ring's
optimality).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from wattlaw.core.errors import UsageError
from wattlaw.laws.scaling import expected_maximum
from wattlaw.laws.statistics.arrays import Array

MAX_DEVICES = 100_000


def ring_all_reduce(
    devices: ArrayLike, message_bytes: float, latency_s: float, bytes_per_s: float
) -> Array:
    """Return t = 2(n−1)·α + 2(n−1)/n · S/B, s."""
    n = _checked(devices, message_bytes, latency_s, bytes_per_s)
    found: Array = 2 * (n - 1) * latency_s + 2 * (n - 1) / n * message_bytes / bytes_per_s
    return found


def tree_all_reduce(
    devices: ArrayLike, message_bytes: float, latency_s: float, bytes_per_s: float
) -> Array:
    """Return t = 2·⌈log₂n⌉·α + 2(n−1)/n · S/B, s.

    Halving and doubling, or a pipelined double tree.
    """
    n = _checked(devices, message_bytes, latency_s, bytes_per_s)
    found: Array = (
        2 * np.ceil(np.log2(n)) * latency_s + 2 * (n - 1) / n * message_bytes / bytes_per_s
    )
    return found


def hierarchical_all_reduce(
    nodes: ArrayLike,
    devices_per_node: int,
    message_bytes: float,
    within: tuple[float, float],
    between: tuple[float, float],
) -> Array:
    """Return the time, s, of a ring in each node and a tree between nodes.

    ``within`` and ``between`` are (latency s, bytes/s); the link of a node carries the shares of
    all its devices, S in all.
    """
    inner = ring_all_reduce([devices_per_node], message_bytes, *within)[0]
    outer = tree_all_reduce(nodes, message_bytes, *between)
    found: Array = inner + outer
    return found


def nic_bytes(devices: ArrayLike, message_bytes: float) -> Array:
    """Return bytes that each device sends in an all-reduce: 2(n−1)/n · S."""
    n = _checked(devices, message_bytes, 0.0, 1.0)
    found: Array = 2 * (n - 1) / n * message_bytes
    return found


def exposed_communication(
    communication_s: ArrayLike, backward_s: ArrayLike, overlap: float = 1.0
) -> Array:
    """Return the part of an all-reduce that the backward pass does not overlap, s.

    ``overlap`` is the share of the backward pass during which communication can run, 0 to 1.
    """
    if not 0 <= overlap <= 1:
        raise UsageError(f"overlap is {overlap}; give a share from 0 to 1")
    found: Array = np.maximum(
        np.asarray(communication_s, float) - overlap * np.asarray(backward_s, float), 0.0
    )
    return found


def straggler_factor(devices: ArrayLike, spread: float) -> Array:
    """Return the ratio of the step time of the slowest of N devices to the mean.

    Step times are assumed to be normal with relative standard deviation ``spread``.
    """
    n = _checked(devices, 1.0, 0.0, 1.0)
    if not 0 <= spread < 1:
        raise UsageError(
            f"the spread of step times is {spread}; "
            "give a relative standard deviation from 0 to below 1"
        )
    found: Array = 1 + spread * expected_maximum(n)
    return found


def _checked(
    devices: ArrayLike, message_bytes: float, latency_s: float, bytes_per_s: float
) -> Array:
    n = np.atleast_1d(np.asarray(devices, float))
    wrong = n[~((n >= 1) & (n <= MAX_DEVICES))]
    if len(wrong):
        raise UsageError(f"{wrong[0]:g} devices; formulas hold from 1 to {MAX_DEVICES}")
    for name, value in (("message", message_bytes), ("latency", latency_s)):
        if not (np.isfinite(value) and value >= 0):
            raise UsageError(f"the {name} is {value}; give a number of at least 0")
    if not (np.isfinite(bytes_per_s) and bytes_per_s > 0):
        raise UsageError(
            f"the bandwidth is {bytes_per_s}; give a positive number of bytes per second"
        )
    return n
