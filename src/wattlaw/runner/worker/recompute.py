"""Activation checkpointing: a block keeps its inputs alone and is calculated again in the backward pass."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(blocks: Sequence[nn.Module]) -> None:
    """Make each block keep no more than its inputs between the forward and the backward pass.

    The gradients stay the same: random numbers are drawn again from the same state, and batch statistics
    take each batch once.
    """
    for block in blocks:
        norms = [m for m in block.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        again: dict[str, Any] = {"context_fn": functools.partial(_contexts, norms)} if norms else {}
        # names of parameters stay as they are, which a wrapping module would change
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False, **again)


def _contexts(
    norms: Sequence[nn.modules.batchnorm._BatchNorm],
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    return contextlib.nullcontext(), _without_statistics(norms)


@contextlib.contextmanager
def _without_statistics(norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    # a momentum of 0 leaves the running statistics, and keeps the same tensors as the first pass
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    seen = [count.clone() for count in counts]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for count, before in zip(counts, seen, strict=True):
            count.copy_(before)
