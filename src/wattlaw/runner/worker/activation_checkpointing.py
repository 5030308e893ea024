"""Activation checkpointing: a block keeps only its inputs; the backward pass recomputes it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_blocks(blocks: Sequence[nn.Module]) -> None:
    """Make each block keep only its inputs between the forward and the backward pass.

    Gradients stay the same: random numbers are drawn again from the same state, and batch norm
    updates its statistics once per batch.
    """
    for block in blocks:
        norms = [m for m in block.modules() if isinstance(m, _BatchNorm)]
        again = functools.partial(checkpoint, block.forward, use_reentrant=False)
        if norms:
            again = functools.partial(again, context_fn=functools.partial(_contexts, norms))
        # a wrapping module would change the names of the parameters
        block.forward = again


def _contexts(
    norms: Sequence[_BatchNorm],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return contextlib.nullcontext(), _without_statistics(norms)


@contextlib.contextmanager
def _without_statistics(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    # a momentum of 0 leaves the running statistics, and keeps the same tensors as the first pass
    momenta = [norm.momentum for norm in norms]
    counts = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    values = [count.clone() for count in counts]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for count, value in zip(counts, values, strict=True):
            count.copy_(value)
