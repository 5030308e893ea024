"""Whether a compiled model has the gradients of the plain one: looked at once, on one batch, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from wattlaw.core.reading import Note
from wattlaw.runner.worker.strategy import Replicated, Strategy

BOUND = 0.05
"""Gradients of both that differ by more than this share of their norm are not one within rounding, in fp32."""

LOST, SMALL = 0.01, 1e-3
"""A gradient is lost where its norm is below this share of the plain one's, unless that is small among all."""

_SCALE = {"fp16": 1024.0}


def gradient_notes(
    strategy: Strategy, loss: Callable[[nn.Module, Any], Tensor], batch: Any
) -> list[Note]:
    """Return a warning where the compiled model's gradients are not the plain one's; weights and generators stay.

    Where the model draws random numbers, of which a compiler draws others, and in half precision, where it rounds
    otherwise, only gradients that vanish are found. Sharded models, and those without the memory, are not looked at.
    """
    if not isinstance(strategy, Replicated):
        return []
    try:
        plain, is_drawn = _gradients(strategy, lambda: loss(strategy.bare, batch))
        compiled, _ = _gradients(strategy, lambda: strategy.calculate(loss, batch))
    except torch.OutOfMemoryError:
        return []
    finally:
        strategy.bare.zero_grad(set_to_none=True)
    message = _difference(plain, compiled, is_drawn or strategy.precision not in ("fp32", "tf32"))
    return [Note("compiled_gradients", message)] if message else []


def _gradients(strategy: Strategy, loss: Callable[[], Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return the gradients of a loss by parameter, and whether random numbers were drawn."""
    device, bare = strategy.device, strategy.bare
    buffers = {name: buffer.clone() for name, buffer in bare.named_buffers()}
    bare.zero_grad(set_to_none=True)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        before = _generator(device)
        with strategy.quiet(True), strategy.cast():
            found = loss()
            (found * _SCALE.get(strategy.precision, 1.0)).backward()
        is_drawn = not torch.equal(before, _generator(device))
    with torch.no_grad():
        for name, buffer in bare.named_buffers():
            buffer.copy_(buffers[name])
    return {n: p.grad for n, p in bare.named_parameters() if p.grad is not None}, is_drawn


def _generator(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _difference(plain: dict[str, Tensor], compiled: dict[str, Tensor], is_rough: bool) -> str:
    norms = {name: float(g.float().norm()) for name, g in plain.items()}
    whole = sum(n**2 for n in norms.values()) ** 0.5
    if not 0 < whole < float("inf"):
        return ""
    got = {name: compiled.get(name, torch.zeros_like(g)) for name, g in plain.items()}
    lost = [
        n
        for n, g in got.items()
        if norms[n] > SMALL * whole and float(g.float().norm()) < LOST * norms[n]
    ]
    if lost:
        return f"compiled, {len(lost)} of {len(plain)} parameters get no gradient that they get plain, such as {lost[0]}"
    apart = (
        sum(float((got[n].float() - g.float()).norm()) ** 2 for n, g in plain.items()) ** 0.5
        / whole
    )
    return (
        ""
        if is_rough or apart <= BOUND
        else f"compiled, one batch's gradients are {apart:.0%} off the plain ones"
    )
