"""Random molecules with the sizes, neighbours and bonds of QM9's: for throughput, not for learning.

Sizes follow the distribution of QM9, so that batches have as many atoms and pairs as real ones. No
package is needed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wattlaw.workloads.cache import Array
from wattlaw.workloads.molecules.sources.smiles import SINGLE, MolecularGraph

SIZES = {
    1: (3, (1, 1, 1)),
    2: (3, (1, 2, 0, 1, 0, 1)),
    3: (6, (2, 3, 0, 3, 0, 1)),
    4: (4, (1, 2, 3, 1, 5, 3, 8, 1, 5, 0, 2)),
    5: (5, (2, 2, 5, 15, 15, 14, 24, 10, 23, 2, 12, 0, 3)),
    6: (6, (4, 9, 16, 27, 59, 81, 99, 72, 106, 26, 72, 6, 26, 0, 5)),
    7: (7, (2, 14, 52, 122, 180, 276, 423, 438, 526, 299, 436, 72, 215, 13, 61, 0, 9)),
    8: (8, (14, 53, 161, 336, 683, 1188, 1745, 2137, 2744, 2271, 2708, 1096, 1703, 204, 648, 25,
            145, 0, 18)),
    9: (9, (19, 119, 430, 1116, 2321, 4465, 7515, 10709, 14253, 14636, 16835, 10682, 12901, 3780,
            6328, 567, 1923, 41, 356, 0, 35)),
}  # fmt: skip
"""Molecules of QM9 by heavy atoms: the least number of atoms, and how many molecules have that
number and each following one.
"""

RINGS = {8: (35, 221, 533, 84, 23), 9: (829, 2550, 2520, 1109, 236, 52)}
"""Of 8,192 molecules of QM9 with so many heavy atoms, how many have 0, 1, 2, … rings."""

ELEMENTS, SHARES = np.array([6, 7, 8, 9]), np.array([0.7230, 0.1151, 0.1593, 0.0026])
"""Heavy elements of QM9 and the share of each."""

HEAVY_BOND, LIGHT_BOND = 1.45, 1.09
"""Usual lengths of bonds between heavy atoms and to hydrogen, Å."""

HEAVY_APART, LIGHT_APART = 2.2, 1.7
"""Least distance of atoms that are not bonded, Å."""

COMPACT = 2
"""The position closest to the centre is taken of so many that are free; fitted to QM9's pairs
within 5 Å.
"""


class RandomMolecules(NamedTuple):
    """Molecules one after another: numbers (A,) uint8, positions (A, 3) float32 in Å, the number of
    atoms of each molecule (M,), and the bonds (K, 3) of each, all single.
    """

    numbers: Array
    positions: Array
    atoms: Array
    bonds: list[Array]


def random_molecules(count: int, seed: int = 0) -> RandomMolecules:
    """Return ``count`` molecules as large and as compact as QM9's."""
    generator = np.random.default_rng(seed)
    chosen = _choose(
        [
            (heavy, least + more, molecules)
            for heavy, (least, row) in SIZES.items()
            for more, molecules in enumerate(row)
        ],
        count,
        generator,
    )
    numbers, positions, bonds = [], [], []
    for heavy, total in chosen.tolist():
        numbers.append(generator.choice(ELEMENTS, heavy, p=SHARES))
        numbers.append(np.ones(total - heavy, int))
        placed, owners = _place_atoms(heavy, total, generator)
        positions.append(placed)
        bonds.append(np.array([(owner, k, SINGLE) for k, owner in enumerate(owners, 1)]))
    return RandomMolecules(
        np.concatenate(numbers).astype(np.uint8),
        np.concatenate(positions).astype(np.float32),
        chosen[:, 1],
        bonds,
    )


def _choose(table: list[tuple[int, int, int]], count: int, generator: np.random.Generator) -> Array:
    """Return ``count`` pairs (count, 2) of a table of (first, second, weight)."""
    rows = np.array(table)
    shares = rows[:, 2] / rows[:, 2].sum()
    chosen: Array = rows[generator.choice(len(rows), count, p=shares), :2]
    return chosen


def _place_atoms(heavy: int, total: int, generator: np.random.Generator) -> tuple[Array, list[int]]:
    """Return positions (total, 3), and the earlier atom to which each but the first is bonded."""
    positions = np.zeros((total, 3))
    free_valences = np.full(heavy, 4)
    owners_of_all = []
    for k in range(1, total):
        is_heavy = k < heavy
        known = min(k, heavy)
        length, apart = (HEAVY_BOND, HEAVY_APART) if is_heavy else (LIGHT_BOND, LIGHT_APART)
        open_atoms = np.flatnonzero(free_valences[:known] > 0)
        owners = generator.choice(open_atoms if len(open_atoms) else np.arange(known), 24)
        directions = generator.normal(size=(24, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        tries = positions[owners] + length * directions
        gaps = np.linalg.norm(tries[:, None] - positions[None, :k], axis=-1)
        gaps[np.arange(24), owners] = np.inf
        room = gaps.min(1, initial=np.inf)
        free = np.flatnonzero(room >= apart)[:COMPACT]
        if len(free):
            # the one closest to the centre: QM9's molecules are compact, with rings
            centre = positions[:k].mean(0)
            best = free[np.linalg.norm(tries[free] - centre, axis=1).argmin()]
        else:
            best = room.argmax()
        positions[k] = tries[best]
        owners_of_all.append(int(owners[best]))
        free_valences[owners[best]] -= 1
        if is_heavy:
            free_valences[k] -= 1
    return positions, owners_of_all


def random_graphs(count: int, seed: int = 0) -> list[MolecularGraph]:
    """Return ``count`` molecules of heavy atoms with as many atoms and rings as QM9's."""
    generator = np.random.default_rng(seed)
    chosen = _choose(
        [
            (heavy, rings, molecules)
            for heavy, row in RINGS.items()
            for rings, molecules in enumerate(row)
        ],
        count,
        generator,
    )
    return [_random_graph(heavy, rings, generator) for heavy, rings in chosen.tolist()]


def _random_graph(heavy: int, rings: int, generator: np.random.Generator) -> MolecularGraph:
    numbers = generator.choice(ELEMENTS, heavy, p=SHARES).astype(np.uint8)
    degrees = np.zeros(heavy)
    bonds = []
    for second in range(1, heavy):
        first = _open_atom(degrees[:second], generator)
        bonds.append((first, second))
        degrees[[first, second]] += 1
    for _ in range(rings):
        # the ends of a chain close rings more often than its branches
        second = _open_atom(degrees[2:], generator) + 2
        first = _open_atom(degrees[: second - 1], generator)
        bonds.append((first, second))
        degrees[[first, second]] += 1
    unique = [(*ends, SINGLE) for ends in dict.fromkeys(bonds)]
    return MolecularGraph(
        numbers=numbers,
        aromatic=np.zeros(heavy, bool),
        hydrogens=np.zeros(heavy, np.uint8),
        bonds=np.array(unique, np.int64).reshape(-1, 3),
    )


def _open_atom(degrees: Array, generator: np.random.Generator) -> int:
    """Return an atom, more often one with few bonds."""
    weights = np.maximum(4 - degrees, 0.01) ** 2
    return int(generator.choice(len(degrees), p=weights / weights.sum()))
