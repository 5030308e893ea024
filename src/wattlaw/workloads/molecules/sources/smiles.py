"""Molecules written as SMILES, read into atoms and bonds (the OpenSMILES grammar without stereochemistry).

Stereo marks (/, \\, @) are passed over. Hydrogens that are not atoms of their own are counted.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from wattlaw.core.errors import DataError

_TOKEN = re.compile(
    r"(?P<bracket>\[[^\]]*\])|(?P<atom>Cl|Br|[BCNOPSFI]|[bcnops])|(?P<bond>[-=#:$/\\])|(?P<ring>%\d\d|\d)|(?P<other>[().])"
)
_BRACKET = re.compile(
    r"\[(?P<isotope>\d+)?(?P<symbol>[A-Z][a-z]?|[bcnops]|se|as)(?P<chiral>@{0,2}[A-Z0-9]*?)?"
    r"(?:H(?P<hydrogens>\d?))?(?P<charge>[+-]+\d?|[+-]\d+)?(?::\d+)?\]"
)
_ORDERS = {"-": 1.0, "=": 2.0, "#": 3.0, "$": 4.0, ":": 1.5, "/": 1.0, "\\": 1.0}
ORDER_CODES = {1.0: 1, 2.0: 2, 3.0: 3, 1.5: 4, 4.0: 3}
"""The kind of a bond by its order: single, double, triple (and more), aromatic."""

_VALENCES = {"B": (3,), "C": (4,), "N": (3, 5), "O": (2,), "P": (3, 5), "S": (2, 4, 6)}


class Atom(NamedTuple):
    """An atom: symbol, whether it is aromatic, its charge, and hydrogens named in brackets (None: as valence asks)."""

    symbol: str
    aromatic: bool
    charge: int
    hydrogens: int | None


class Formula(NamedTuple):
    """A molecule's atoms and its bonds (first, second, order); an aromatic bond has order 1.5."""

    atoms: tuple[Atom, ...]
    bonds: tuple[tuple[int, int, float], ...]

    def hydrogens(self) -> list[int]:
        """Return how many hydrogens each atom holds that are not atoms of their own."""
        sums = [0.0] * len(self.atoms)
        rings = [0] * len(self.atoms)
        for first, second, order in self.bonds:
            for atom in (first, second):
                sums[atom] += 1.0 if order == 1.5 else order
                rings[atom] += order == 1.5
        # an aromatic atom gives one more electron to its ring
        return [_implied(a, s + (r > 0)) for a, s, r in zip(self.atoms, sums, rings, strict=True)]


def read_smiles(text: str) -> Formula:
    """Return a SMILES as atoms and bonds. Raises DataError naming the sign that cannot be read."""
    atoms: list[Atom] = []
    bonds: list[tuple[int, int, float]] = []
    open_rings: dict[str, tuple[int, str]] = {}
    branches: list[int] = []
    last, bond, at = -1, "", 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise DataError(f"SMILES {text!r}: {text[at]!r} at sign {at + 1} cannot be read")
        at = match.end()
        sign = match[0]
        if match["bond"]:
            bond = sign
        elif match["ring"] and last < 0:
            raise DataError(f"SMILES {text!r}: the ring {sign} at sign {at} stands at no atom")
        elif match["ring"]:
            if sign in open_rings:
                other, other_bond = open_rings.pop(sign)
                if other == last:
                    raise DataError(
                        f"SMILES {text!r}: the ring {sign} at sign {at} binds an atom to itself"
                    )
                bonds.append((other, last, _order(atoms, other, last, bond or other_bond)))
            else:
                open_rings[sign] = (last, bond)
            bond = ""
        elif sign == "(":
            branches.append(last)
        elif sign == ")":
            if not branches:
                raise DataError(f"SMILES {text!r}: ')' at sign {at} closes nothing")
            last = branches.pop()
        elif sign == ".":
            last = -1
        else:
            atoms.append(_atom(text, sign, bool(match["bracket"])))
            if last >= 0:
                bonds.append((last, len(atoms) - 1, _order(atoms, last, len(atoms) - 1, bond)))
            last, bond = len(atoms) - 1, ""
    if open_rings or branches:
        raise DataError(f"SMILES {text!r}: it ends inside {'a ring' if open_rings else 'a branch'}")
    if not atoms:
        raise DataError(f"SMILES {text!r}: no atoms")
    return Formula(tuple(atoms), tuple(bonds))


def _atom(text: str, sign: str, bracket: bool) -> Atom:
    if not bracket:
        return Atom(sign.capitalize(), sign.islower(), 0, None)
    match = _BRACKET.fullmatch(sign)
    if match is None:
        raise DataError(f"SMILES {text!r}: no atom can be read from {sign}")
    symbol = match["symbol"]
    hydrogens = 0 if match["hydrogens"] is None else int(match["hydrogens"] or 1)
    return Atom(symbol.capitalize(), symbol.islower(), _charge(match["charge"] or ""), hydrogens)


def _charge(sign: str) -> int:
    if not sign:
        return 0
    digits = sign.lstrip("+-")
    size = int(digits) if digits else len(sign)
    return size if sign[0] == "+" else -size


def _order(atoms: list[Atom], first: int, second: int, bond: str) -> float:
    if bond:
        return _ORDERS[bond]
    return 1.5 if atoms[first].aromatic and atoms[second].aromatic else 1.0


def _implied(atom: Atom, bound: float) -> int:
    if atom.hydrogens is not None:
        return atom.hydrogens
    for valence in _VALENCES.get(atom.symbol, (1,)):
        if bound <= valence:
            return int(valence - bound)
    return 0
