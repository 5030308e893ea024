"""Batches of molecules as one graph: pairs of atoms, bonds, triplets, and sums over them."""
