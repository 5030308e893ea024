"""Runs trials and sweeps: prepare, carry out on a node, record."""
