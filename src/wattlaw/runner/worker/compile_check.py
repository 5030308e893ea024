"""Compares the gradients of a compiled model with the plain one's, on one batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from wattlaw.core.reading import Note
from wattlaw.runner.worker.strategy import Replicated, Strategy

BOUND = 0.05
"""Share of the norm by which fp32 gradients may differ through rounding."""

LOST, SMALL = 0.01, 1e-3
"""A gradient is lost if its norm is below the share LOST of the plain one's; it is ignored if that
is below the share SMALL of the norm of all gradients."""

_LOSS_SCALE = {"fp16": 1024.0}

Gradients = dict[str, Tensor]
"""Gradients by the name of their parameter, each of its shape."""


def gradient_notes(
    strategy: Strategy, loss: Callable[[nn.Module, object], Tensor], batch: object
) -> list[Note]:
    """Return a warning if the compiled model's gradients differ; weights and generators are kept.

    If the model draws random numbers, which the compiler draws differently, and in half precision,
    which it rounds differently, only gradients that vanish are found. Sharded models are not
    checked, nor are models for which the memory does not suffice.
    """
    if not isinstance(strategy, Replicated):
        return []
    try:
        plain, is_random = _gradients(strategy, lambda: loss(strategy.bare, batch))
        compiled, _ = _gradients(strategy, lambda: strategy.calculate(loss, batch))
    except torch.OutOfMemoryError:
        return []
    finally:
        strategy.bare.zero_grad(set_to_none=True)
    is_half = strategy.precision not in ("fp32", "tf32")
    message = _lost(plain, compiled)
    if not message and not (is_random or is_half):
        message = _difference(plain, compiled)
    return [Note("compiled_gradients", message)] if message else []


def _gradients(strategy: Strategy, loss: Callable[[], Tensor]) -> tuple[Gradients, bool]:
    """Return the gradients of a loss, and whether random numbers were drawn."""
    device, bare = strategy.device, strategy.bare
    buffers = {name: buffer.clone() for name, buffer in bare.named_buffers()}
    bare.zero_grad(set_to_none=True)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        before = _generator_state(device)
        with strategy.no_sync(True), strategy.cast():
            scaled = loss() * _LOSS_SCALE.get(strategy.precision, 1.0)
            scaled.backward()
        is_random = not torch.equal(before, _generator_state(device))
    with torch.no_grad():
        for name, buffer in bare.named_buffers():
            buffer.copy_(buffers[name])
    found = {name: p.grad for name, p in bare.named_parameters() if p.grad is not None}
    return found, is_random


def _generator_state(device: torch.device) -> Tensor:
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.get_rng_state()


def _norm(gradient: Tensor) -> float:
    return float(gradient.float().norm())


def _norm_of_all(gradients: Gradients) -> float:
    squares = sum(_norm(gradient) ** 2 for gradient in gradients.values())
    return float(squares**0.5)


def _is_usable(norm: float) -> bool:
    return 0 < norm < float("inf")


def _lost(plain: Gradients, compiled: Gradients) -> str:
    """Return which gradients vanish when compiled; "" if none does."""
    whole = _norm_of_all(plain)
    if not _is_usable(whole):
        return ""
    lost = []
    for name, gradient in plain.items():
        norm = _norm(gradient)
        found = _norm(compiled[name]) if name in compiled else 0.0
        if norm > SMALL * whole and found < LOST * norm:
            lost.append(name)
    if not lost:
        return ""
    return (
        f"compiled, {len(lost)} of {len(plain)} parameters get no gradient although they do "
        f"without compiling, such as {lost[0]}"
    )


def _difference(plain: Gradients, compiled: Gradients) -> str:
    """Return by how much the gradients differ; "" if by no more than rounding."""
    whole = _norm_of_all(plain)
    if not _is_usable(whole):
        return ""
    differences = {}
    for name, gradient in plain.items():
        other = compiled.get(name, torch.zeros_like(gradient))
        differences[name] = other.float() - gradient.float()
    share = _norm_of_all(differences) / whole
    if share <= BOUND:
        return ""
    return f"compiled, the gradients of one batch differ by {share:.0%} from the plain ones"
