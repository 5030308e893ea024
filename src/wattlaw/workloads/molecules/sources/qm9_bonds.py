"""Bonds of QM9's molecules, from the SMILES that QM9 gives beside each geometry.

The heavy atoms of a geometry are in the order of its SMILES, and its hydrogens follow. A molecule
for which this does not hold is left without bonds: about 2 in 1,000, where atoms moved while the
geometry was optimised.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from wattlaw.core.plugins import need
from wattlaw.workloads.cache import Array, cached
from wattlaw.workloads.molecules.sources.qm9 import qm9, qm9_smiles
from wattlaw.workloads.molecules.sources.smiles import SINGLE, MolecularGraph, read_smiles

LONGEST_BOND = 1.3
"""Bonded atoms are within this many times the sum of their covalent radii."""


def qm9_graphs(count: int | None = None) -> list[MolecularGraph]:
    """Return the molecules of ``qm9_smiles(count)`` as graphs; those of all of QM9 are cached."""
    if count is not None:
        return read_smiles(*qm9_smiles(count)[0])
    arrays = cached("qm9-graphs-1", lambda: _flat(read_smiles(*qm9_smiles()[0])))
    atom_ends, bond_ends = np.cumsum(arrays["atoms"])[:-1], np.cumsum(arrays["bond_counts"])[:-1]
    parts = [np.split(arrays[name], atom_ends) for name in ("numbers", "aromatic", "hydrogens")]
    bonds = np.split(arrays["bonds"], bond_ends)
    return [MolecularGraph(*fields) for fields in zip(*parts, bonds, strict=True)]


def _flat(graphs: Sequence[MolecularGraph]) -> dict[str, Array]:
    return {
        "atoms": np.array([len(graph.numbers) for graph in graphs]),
        "numbers": np.concatenate([graph.numbers for graph in graphs]),
        "aromatic": np.concatenate([graph.aromatic for graph in graphs]),
        "hydrogens": np.concatenate([graph.hydrogens for graph in graphs]).astype(np.uint8),
        "bond_counts": np.array([len(graph.bonds) for graph in graphs]),
        "bonds": np.concatenate([graph.bonds for graph in graphs]).astype(np.uint8),
    }


def qm9_bonds(count: int | None = None) -> list[Array | None]:
    """Return the bonds (K, 3) of each molecule of ``qm9(count)``; None if they are unknown."""
    if count is None:
        arrays = cached("qm9-bonds-2", lambda: _bond_arrays(None))
    else:
        arrays = _bond_arrays(count)
    ends = np.cumsum(arrays["counts"])
    found: list[Array | None] = []
    for begin, end, known in zip(ends - arrays["counts"], ends, arrays["known"], strict=True):
        found.append(arrays["bonds"][begin:end] if known else None)
    return found


def _bond_arrays(count: int | None) -> dict[str, Array]:
    table, graphs = qm9(count), qm9_graphs(count)
    starts = np.concatenate([[0], np.cumsum(table.atoms)])
    known, counts, bonds = [], [], [np.zeros((0, 3), np.uint8)]
    for graph, (begin, end) in zip(graphs, itertools.pairwise(starts), strict=True):
        found = bonds_of_geometry(graph, table.numbers[begin:end], table.positions[begin:end])
        known.append(found is not None)
        counts.append(0 if found is None else len(found))
        if found is not None:
            bonds.append(found)
    return {
        "bonds": np.concatenate(bonds),
        "counts": np.array(counts, np.int64),
        "known": np.array(known),
    }


def bonds_of_geometry(graph: MolecularGraph, numbers: Array, positions: Array) -> Array | None:
    """Return the bonds (K, 3) uint8 of a geometry, also those of its hydrogens.

    None if the geometry is not that of the graph, atom by atom.
    """
    heavy = graph.numbers.astype(int)
    size = len(heavy)
    if 1 in heavy or not np.array_equal(numbers[:size], heavy) or (numbers[size:] != 1).any():
        return None
    distances = np.linalg.norm(positions[:, None] - positions[None, :size], axis=-1)
    owners = distances[size:].argmin(1)
    if not np.array_equal(np.bincount(owners, minlength=size), graph.hydrogens):
        return None
    radii = need("ase.data", "bonds of QM9").covalent_radii[heavy]
    first, second = graph.bonds[:, 0], graph.bonds[:, 1]
    if (distances[first, second] > LONGEST_BOND * (radii[first] + radii[second])).any():
        return None
    to_hydrogens = [(owner, size + k, SINGLE) for k, owner in enumerate(owners)]
    hydrogens = np.array(to_hydrogens, np.uint8).reshape(-1, 3)
    return np.concatenate([graph.bonds.astype(np.uint8), hydrogens])
