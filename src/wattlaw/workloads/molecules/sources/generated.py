"""Molecules drawn at random with the sizes, neighbours and bonds of QM9's: for throughput, not for learning.

Sizes are drawn from QM9's own, so that batches have as many atoms and pairs as real ones. They need no package.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from wattlaw.workloads.molecules.sources.smiles import Atom, Formula

Array = np.ndarray[Any, Any]

SIZES = {
    1: (3, (1, 1, 1)),
    2: (3, (1, 2, 0, 1, 0, 1)),
    3: (6, (2, 3, 0, 3, 0, 1)),
    4: (4, (1, 2, 3, 1, 5, 3, 8, 1, 5, 0, 2)),
    5: (5, (2, 2, 5, 15, 15, 14, 24, 10, 23, 2, 12, 0, 3)),
    6: (6, (4, 9, 16, 27, 59, 81, 99, 72, 106, 26, 72, 6, 26, 0, 5)),
    7: (7, (2, 14, 52, 122, 180, 276, 423, 438, 526, 299, 436, 72, 215, 13, 61, 0, 9)),
    8: (8, (14, 53, 161, 336, 683, 1188, 1745, 2137, 2744, 2271, 2708, 1096, 1703, 204, 648, 25, 145, 0, 18)),
    9: (9, (19, 119, 430, 1116, 2321, 4465, 7515, 10709, 14253, 14636, 16835, 10682, 12901, 3780, 6328, 567, 1923, 41,
            356, 0, 35)),
}  # fmt: skip
"""How many molecules of QM9 have so many heavy atoms, and from so many atoms in all on."""

RINGS = {8: (35, 221, 533, 84, 23), 9: (829, 2550, 2520, 1109, 236, 52)}
"""How many of 8,192 molecules of QM9 have so many heavy atoms, and 0, 1, 2, … rings."""

ELEMENTS, SHARES = np.array([6, 7, 8, 9]), np.array([0.7230, 0.1151, 0.1593, 0.0026])
"""Heavy elements of QM9 and how often each is met."""

HEAVY_BOND, LIGHT_BOND = 1.45, 1.09
"""Usual lengths of bonds between heavy atoms and to hydrogen, Å."""

HEAVY_APART, LIGHT_APART = 2.2, 1.7
"""Atoms that are not bound stand at least so far apart, Å."""

COMPACT = 2
"""Of so many places with room the one nearest to the middle is taken; fitted to QM9's pairs within 5 Å."""


class Drawn(NamedTuple):
    """Molecules one after another: numbers (A,) uint8, positions (A, 3) float32 in Å, atoms (M,) of each."""

    numbers: Array
    positions: Array
    atoms: Array


def drawn(count: int, seed: int = 0) -> Drawn:
    """Return ``count`` molecules whose sizes are QM9's and whose atoms fill space as theirs do."""
    draw = np.random.default_rng(seed)
    sizes = np.array(
        [(heavy, first + k, n) for heavy, (first, row) in SIZES.items() for k, n in enumerate(row)]
    )
    chosen = sizes[draw.choice(len(sizes), count, p=sizes[:, 2] / sizes[:, 2].sum()), :2]
    numbers, places = [], []
    for heavy, total in chosen.tolist():
        numbers.append(
            np.concatenate([draw.choice(ELEMENTS, heavy, p=SHARES), np.ones(total - heavy, int)])
        )
        places.append(_placed(heavy, total, draw))
    return Drawn(
        np.concatenate(numbers).astype(np.uint8),
        np.concatenate(places).astype(np.float32),
        chosen[:, 1],
    )


def _placed(heavy: int, total: int, draw: np.random.Generator) -> Array:
    """Return places (total, 3), each atom bound to one before it and clear of all others."""
    places = np.zeros((total, 3))
    free = np.full(heavy, 4)
    for k in range(1, total):
        is_heavy = k < heavy
        known = min(k, heavy)
        length, apart = (HEAVY_BOND, HEAVY_APART) if is_heavy else (LIGHT_BOND, LIGHT_APART)
        open_to = np.flatnonzero(free[:known] > 0)
        owners = draw.choice(open_to if len(open_to) else np.arange(known), 24)
        ways = draw.normal(size=(24, 3))
        tries = places[owners] + length * ways / np.linalg.norm(ways, axis=1, keepdims=True)
        gaps = np.linalg.norm(tries[:, None] - places[None, :k], axis=-1)
        gaps[np.arange(24), owners] = np.inf
        room = gaps.min(1, initial=np.inf)
        fit = np.flatnonzero(room >= apart)
        # of those with room the one nearest to the middle: QM9's molecules are compact, with rings
        middle = places[:k].mean(0)
        one = (
            fit[np.linalg.norm(tries[fit[:COMPACT]] - middle, axis=1).argmin()]
            if len(fit)
            else room.argmax()
        )
        places[k] = tries[one]
        free[owners[one]] -= 1
        if is_heavy:
            free[k] -= 1
    return places


def drawn_formulas(count: int, seed: int = 0) -> list[Formula]:
    """Return ``count`` molecules of heavy atoms whose numbers of atoms and of rings are QM9's."""
    draw = np.random.default_rng(seed)
    shapes = np.array(
        [(heavy, rings, n) for heavy, row in RINGS.items() for rings, n in enumerate(row)]
    )
    chosen = shapes[draw.choice(len(shapes), count, p=shapes[:, 2] / shapes[:, 2].sum()), :2]
    return [_formula(heavy, rings, draw) for heavy, rings in chosen.tolist()]


def _formula(heavy: int, rings: int, draw: np.random.Generator) -> Formula:
    symbols = draw.choice(np.array(["C", "N", "O", "F"]), heavy, p=SHARES)
    degree = np.zeros(heavy)
    bonds: list[tuple[int, int, float]] = []
    for b in range(1, heavy):
        _bind(bonds, degree, _pick(degree[:b], draw), b)
    for _ in range(rings):
        # a chain's ends close rings more often than its branches
        b = _pick(degree[2:], draw) + 2
        _bind(bonds, degree, _pick(degree[: b - 1], draw), b)
    atoms = tuple(Atom(str(symbol), False, 0, None) for symbol in symbols)
    return Formula(atoms, tuple({(a, b): (a, b, 1.0) for a, b, _ in bonds}.values()))


def _bind(bonds: list[tuple[int, int, float]], degree: Array, a: int, b: int) -> None:
    bonds.append((a, b, 1.0))
    degree[[a, b]] += 1


def _pick(degree: Array, draw: np.random.Generator) -> int:
    weight = np.maximum(4 - degree, 0.01) ** 2
    return int(draw.choice(len(degree), p=weight / weight.sum()))
