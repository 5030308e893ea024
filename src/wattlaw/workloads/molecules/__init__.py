"""Molecules: graph networks that learn energies and other properties from atoms in space."""
