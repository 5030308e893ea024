"""Elements by atomic number: symbols and masses."""

from __future__ import annotations

_SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y "
    "Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os "
    "Ir Pt Au Hg Tl Pb Bi Po At Rn"
)
_MASSES = (
    "0 1.008 4.003 6.94 9.012 10.81 12.011 14.007 15.999 18.998 20.18 22.99 24.305 26.982 28.085 30.974 32.06 "
    "35.45 39.948 39.098 40.078 44.956 47.867 50.941 51.996 54.938 55.845 58.933 58.693 63.546 65.38 69.723 72.63 "
    "74.922 78.971 79.904 83.798 85.468 87.62 88.906 91.224 92.906 95.95 97.907 101.07 102.906 106.42 107.868 "
    "112.414 114.818 118.71 121.76 127.6 126.904 131.293 132.905 137.327 138.905 140.116 140.908 144.242 144.913 "
    "150.36 151.964 157.25 158.925 162.5 164.93 167.259 168.934 173.054 174.967 178.49 180.948 183.84 186.207 "
    "190.23 192.217 195.084 196.967 200.592 204.38 207.2 208.98 208.982 209.987 222.018"
)

SYMBOLS = _SYMBOLS.split()
"""Elements by atomic number, to radon; 0 is none."""

NUMBERS = {symbol: z for z, symbol in enumerate(SYMBOLS) if z}
"""Atomic numbers by symbol."""

MASSES = [float(mass) for mass in _MASSES.split()]
"""Standard atomic weights, atomic mass units (IUPAC 2021, abridged), by atomic number; 0 is none."""

RADII = {
    1: 0.31, 5: 0.84, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 14: 1.11, 15: 1.07, 16: 1.05, 17: 1.02, 35: 1.20, 53: 1.39,
}  # fmt: skip
"""Covalent radii by atomic number, Å (Cordero et al., Dalton Transactions 2008, 2832)."""
