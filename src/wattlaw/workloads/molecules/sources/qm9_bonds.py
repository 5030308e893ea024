"""The bonds of QM9's molecules with their orders, from the SMILES that stands beside each geometry.

The heavy atoms of a geometry stand in the order of its SMILES and its hydrogens after them. A molecule for which
this does not hold (about 2 in 1,000: atoms moved while the geometry was optimised) is left without.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wattlaw.workloads.cache import cached
from wattlaw.workloads.molecules.sources.elements import NUMBERS, RADII
from wattlaw.workloads.molecules.sources.qm9 import qm9, qm9_smiles
from wattlaw.workloads.molecules.sources.smiles import ORDER_CODES, Formula, read_smiles

Array = np.ndarray[Any, Any]

FARTHEST = 1.3
"""Bound atoms lie within so many times the sum of their radii."""


def qm9_bonds(count: int | None = None) -> list[Array | None]:
    """Return the bonds (K, 3) of each molecule that ``qm9(count)`` returns; None where they are not known."""
    arrays = cached("qm9-bonds-1", _all) if count is None else _found(count)
    ends = np.cumsum(arrays["counts"])
    parts = zip(ends - arrays["counts"], ends, arrays["known"], strict=True)
    return [arrays["bonds"][begin:end] if known else None for begin, end, known in parts]


def _all() -> dict[str, Array]:
    return _found(None)


def _found(count: int | None) -> dict[str, Array]:
    table, (texts, _) = qm9(count), qm9_smiles(count)
    ends = np.cumsum(table.atoms)
    found = [
        bonds_of(
            read_smiles(text), table.numbers[end - size : end], table.positions[end - size : end]
        )
        for text, end, size in zip(texts, ends, table.atoms, strict=True)
    ]
    none = np.zeros((0, 3), np.uint8)
    return {
        "bonds": np.concatenate([none if b is None else b for b in found]),
        "counts": np.array([0 if b is None else len(b) for b in found], np.int64),
        "known": np.array([b is not None for b in found]),
    }


def bonds_of(formula: Formula, numbers: Array, positions: Array) -> Array | None:
    """Return the bonds (K, 3) uint8 of a geometry, hydrogens' included: two atoms and the order, 4 for aromatic.

    None where the geometry is not that of the formula, atom by atom.
    """
    heavy = [NUMBERS.get(atom.symbol, 0) for atom in formula.atoms]
    size = len(heavy)
    if 1 in heavy or numbers[:size].tolist() != heavy or (numbers[size:] != 1).any():
        return None
    apart = np.linalg.norm(positions[:, None] - positions[None, :size], axis=-1)
    owners = apart[size:].argmin(1)
    if np.bincount(owners, minlength=size).tolist() != formula.hydrogens():
        return None
    joined = [(a, b, ORDER_CODES[order]) for a, b, order in formula.bonds]
    if any(apart[a, b] > FARTHEST * (RADII[heavy[a]] + RADII[heavy[b]]) for a, b, _ in joined):
        return None
    return np.array(
        joined + [(int(a), size + k, 1) for k, a in enumerate(owners)], np.uint8
    ).reshape(-1, 3)
